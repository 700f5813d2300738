"""The digest by which result files know a network: its graph, and every number in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from distverify.network.linear.operator import Array
from distverify.network.nodes import InputNode, LinearNode, Node

# Arrays follow each other in multiples of so many float64 values: what the digest's text counts their places by.
_ALIGN = 8


def network_digest(nodes: Sequence[Node], output: int, input_shape: tuple[int, ...]) -> str:
    """SHA-256 of a text of the graph and of the bytes of all parameters, as hexadecimal digits.

    The text and the order are fixed: a run is continued, and a result is read, by the digest that an earlier version made.
    """
    layout = _Layout()
    texts = [_node_text(node, layout) for node in nodes]
    sha = hashlib.sha256(f"({_tuple_text(texts)}, {output}, {input_shape})".encode())
    for array in layout.arrays:
        values = np.ascontiguousarray(array, dtype=np.float64)
        sha.update(values.tobytes())
        sha.update(bytes(8 * (-values.size % _ALIGN)))
    return sha.hexdigest()


class _Layout:
    """Arrays in the order in which they are hashed, and the text that stands for each."""

    def __init__(self) -> None:
        self.arrays: list[Array] = []
        self._offset = 0

    def text(self, array: Array) -> str:
        text = f"BufferSlice(offset={self._offset}, shape={array.shape})"
        self.arrays.append(array)
        self._offset += array.size + -array.size % _ALIGN
        return text


def _node_text(node: Node, layout: _Layout) -> str:
    head = f"name={node.name!r}, size={node.size}"
    if isinstance(node, InputNode):
        return f"InputNode({head})"
    if isinstance(node, LinearNode):
        terms = []
        for source, operator in node.terms:
            places = _tuple_text([layout.text(a) for a in operator.arrays])
            terms.append(
                f"({source}, OperatorSpec(kind={operator.kind!r}, parameters={places}, attributes={operator.sizes}"
                f"{f', roundings={operator.roundings}' if operator.roundings else ''}))"
            )
        bias = layout.text(node.bias)
        error = "" if node.bias_error is None else f", bias_error={layout.text(node.bias_error)}"
        return f"_LinearSpec({head}, terms={_tuple_text(terms)}, bias={bias}{error})"
    place = layout.text(node.parameters)
    return f"_ActivationSpec({head}, source={node.source}, kind={node.kind!r}, parameters={place})"


def _tuple_text(texts: list[str]) -> str:
    return f"({texts[0]},)" if len(texts) == 1 else f"({', '.join(texts)})"
