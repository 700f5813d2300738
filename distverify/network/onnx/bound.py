"""Several ONNX models in one network: their inputs are parts of one vector, and what is asked of them are its outputs.

Models are bound to what a caller declares of them: inputs and outputs by position, inner tensors by name. Unlike
:func:`distverify.network.onnx.importer.load_onnx` nothing is left off at the end, axes have the lengths that are declared, and no axis
counts samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from distverify.errors import ModelError
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.linear.sparse import selection
from distverify.network.nodes import Term
from distverify.network.onnx.file import TensorReader, read_model
from distverify.network.onnx.operation import Signal
from distverify.network.onnx.translation import Translation

# ONNX element types by their names in its IR specification.
ELEMENT_NAMES: Mapping[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    **{number: name.lower() for name, number in TensorProto.DataType.items() if name not in ("FLOAT", "DOUBLE", "UNDEFINED")},
}  # fmt: skip
# Entries of a matrix that is no sparse one.
_SMALL = 1024


@dataclass(frozen=True)
class Port:
    """An input, an output or an inner tensor of a model.

    Attributes
    ----------
    name : str
    element : str or None
        Its element type, where it is declared or can be inferred.
    shape : tuple of int or None, or None
        None for a length that is open, or for an unknown shape.
    """

    name: str
    element: str | None
    shape: tuple[int | None, ...] | None

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether its shape may be ``shape``."""
        return self.shape is None or (
            len(self.shape) == len(shape) and all(m in (None, s) for m, s in zip(self.shape, shape, strict=True))
        )


@dataclass(frozen=True, eq=False)
class Model:
    """An ONNX model that was opened.

    Attributes
    ----------
    path : Path
    proto : onnx.ModelProto
        Without its external data.
    inputs, outputs : tuple of Port
    """

    path: Path
    proto: onnx.ModelProto
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    _inner: dict[str, Port] = field(default_factory=dict)

    @property
    def element_types(self) -> frozenset[str]:
        """Those of its inputs, outputs and stored tensors."""
        stored = {ELEMENT_NAMES.get(t.data_type) for t in self.proto.graph.initializer}
        return frozenset(e for e in stored | {p.element for p in (*self.inputs, *self.outputs)} if e is not None)

    def inner(self, name: str) -> Port:
        """The tensor called ``name``, or the first output of the node of that name.

        Raises
        ------
        ModelError
        """
        nodes = self.proto.graph.node
        found = any(name in node.output for node in nodes)
        tensor = name
        if not found:
            named = [node for node in nodes if node.name == name and node.output]
            if not named:
                raise ModelError(
                    f"{self.path}: has no node or tensor {name!r}; give the name of one of its {len(nodes)} nodes"
                )
            if len(named) > 1:
                raise ModelError(
                    f"{self.path}: has {len(named)} nodes {name!r}; give the name of an output of the one that is meant"
                )
            tensor = named[0].output[0]
        if not self._inner:
            self._inner.update({p.name: p for p in (*self.inputs, *self.outputs)})
            self._inner.update(_inferred(self.proto))
        return self._inner.get(tensor, Port(tensor, None, None))


def open_model(path: str | Path) -> Model:
    """Open an ONNX file, plain or gzipped.

    Raises
    ------
    ModelError
    """
    proto = read_model(path)
    initialised = {t.name for t in proto.graph.initializer}
    inputs = tuple(_port(i) for i in proto.graph.input if i.name not in initialised)
    return Model(Path(path), proto, inputs, tuple(map(_port, proto.graph.output)))


def _port(info: onnx.ValueInfoProto) -> Port:
    tensor = info.type.tensor_type
    if info.type.WhichOneof("value") != "tensor_type":
        return Port(info.name, None, None)
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(int(d.dim_value) if d.dim_value > 0 else None for d in tensor.shape.dim)
    return Port(info.name, ELEMENT_NAMES.get(tensor.elem_type), shape)


def _inferred(proto: onnx.ModelProto) -> dict[str, Port]:
    try:
        inferred = onnx.shape_inference.infer_shapes(proto)
    except Exception:  # what it raises on models that make no sense to it is not documented
        return {}
    return {info.name: _port(info) for info in inferred.graph.value_info}


class _Part(Translation):
    """One model on its way into a builder that others share."""

    def __init__(self, model: Model, builder: NetworkBuilder, inputs: Mapping[str, Signal]) -> None:
        self._shared, self._inputs = builder, inputs
        super().__init__(model.proto, TensorReader(model.path.parent.resolve()))

    def _open(self, batch_axis: bool | None) -> None:
        self.builder = self._shared
        self.values.update(self._inputs)

    def tensors(self, names: Sequence[str]) -> dict[str, Signal | NDArray[np.float64]]:
        """What ``names`` are: signals, or constants."""
        producer = self._producers()
        needed = self._needed(names, producer)
        for i, node in enumerate(self.graph.node):
            if i in needed:
                self._take(node, self._translate(node, node.name or node.op_type))
        found: dict[str, Signal | NDArray[np.float64]] = {}
        for name in names:
            value = self._value(name, f"tensor {name!r}")
            found[name] = value if isinstance(value, Signal) else np.asarray(value, dtype=np.float64)
        return found


@dataclass(frozen=True)
class Wanted:
    """What is asked of one model.

    Attributes
    ----------
    model : Model
    inputs : sequence of (name, shape, places)
        Of each input, where its elements lie in the one vector: int64 [elements].
    tensors : sequence of (name, shape)
    """

    model: Model
    inputs: Sequence[tuple[str, tuple[int, ...], NDArray[np.int64]]]
    tensors: Sequence[tuple[str, tuple[int, ...]]]


def bind(size: int, parts: Sequence[Wanted]) -> tuple[NetworkBuilder, list[list[int]]]:
    """One builder with all models, whose input has ``size`` values; the nodes of each one's tensors.

    Raises
    ------
    ModelError
        Something in a model that is not supported; a tensor of another shape than is asked for.
    """
    builder = NetworkBuilder((size,))
    nodes: list[list[int]] = []
    with np.errstate(all="ignore"):
        for part in parts:
            inputs = {}
            for name, shape, places in part.inputs:
                whole = places.size == size and bool((places == np.arange(size)).all())
                node = 0 if whole else builder.linear(name, [Term(0, _chosen(places, size))])
                inputs[name] = Signal(node, shape)
            made = _Part(part.model, builder, inputs).tensors([name for name, _ in part.tensors])
            own = []
            for name, shape in part.tensors:
                value = made[name]
                if value.shape != shape:
                    raise ModelError(
                        f"{part.model.path}: {name!r} has shape {list(value.shape)}; {list(shape)} is declared"
                    )
                own.append(value.node if isinstance(value, Signal) else _constant(builder, name, value))
            nodes.append(own)
    return builder, nodes


def _chosen(places: NDArray[np.int64], size: int) -> LinearOperator:
    """The operator that takes ``places`` [n] of ``size`` values, and 0 for -1.

    A small one is a full matrix: importing sparse ones takes longer than answering a small query.
    """
    if places.size == size and bool((places == np.arange(size)).all()):
        return Identity(size)
    if places.size * size > _SMALL:
        return selection(places, size)
    return Dense((places[:, None] == np.arange(size)).astype(np.float64))


def _constant(builder: NetworkBuilder, name: str, value: NDArray[np.float64]) -> int:
    """A node of constants: no input has a weight."""
    nowhere = np.full(max(1, value.size), -1, dtype=np.int64)
    return builder.linear(name, [Term(0, _chosen(nowhere, builder.size(0)))], value.reshape(-1))


def joined(builder: NetworkBuilder, chosen: Sequence[tuple[int, NDArray[np.int64]]], name: str = "joined") -> int:
    """The node that holds, one after the other, the chosen elements of some nodes (node, elements)."""
    total = sum(elements.size for _, elements in chosen)
    terms: dict[int, NDArray[np.int64]] = {}
    first = 0
    for node, elements in chosen:
        places = terms.setdefault(node, np.full(total, -1, dtype=np.int64))
        places[first : first + elements.size] = elements
        first += elements.size
    return builder.linear(name, [Term(node, _chosen(places, builder.size(node))) for node, places in terms.items()])
