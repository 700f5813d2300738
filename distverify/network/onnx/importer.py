"""ONNX models as networks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from distverify.errors import ModelError
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.onnx.activations import ACTIVATION_OPERATORS
from distverify.network.onnx.constant_folding import FOLDED_OPERATORS, ConstantFolder
from distverify.network.onnx.convolution import CONVOLUTION_OPERATORS
from distverify.network.onnx.file import FLOAT_TYPES, Constant, TensorReader, read_model
from distverify.network.onnx.indexing import INDEX_OPERATORS
from distverify.network.onnx.linear import LINEAR_OPERATORS
from distverify.network.onnx.operation import MAX_SIGNAL_VALUES, Handler, Operation, Signal, Value
from distverify.network.onnx.pooling import POOLING_OPERATORS
from distverify.network.onnx.shapes import SHAPE_OPERATORS
from distverify.network.simplify import simplify

_HANDLERS: Mapping[str, Handler] = {
    **LINEAR_OPERATORS,
    **CONVOLUTION_OPERATORS,
    **POOLING_OPERATORS,
    **SHAPE_OPERATORS,
    **INDEX_OPERATORS,
    **ACTIVATION_OPERATORS,
}
SUPPORTED_OPERATORS = tuple(sorted(_HANDLERS))
_CONSTANT_OPERATORS = frozenset({*FOLDED_OPERATORS, "Constant", "ConstantOfShape"})
_STANDARD_DOMAINS = ("", "ai.onnx")
# Before operator set 7 these take attributes that say how the second operand is repeated.
_LEGACY_BROADCAST = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub")


def load_onnx(path: str | os.PathLike[str]) -> Network:
    """Read a network from an ONNX file.

    The network is the model as it evaluates one sample (a batch of one), in float64: weights are converted
    exactly, and constant, elementwise linear operations are folded into the dense layers and convolutions next to them.

    Parameters
    ----------
    path : str or path
        An ``.onnx`` file. External data is read from its folder only.

    Raises
    ------
    ModelError
        A file that cannot be read or is damaged; an operator, type or graph form that is not supported.
    """
    model = read_model(path)
    translation = _Translation(model, TensorReader(Path(path).parent.resolve()))
    output = translation.run()
    simplify(translation.builder, output)
    return translation.builder.build(output)


class _Translation:
    """Walks a model's graph once, in its own order, and fills a builder."""

    def __init__(self, model: onnx.ModelProto, reader: TensorReader) -> None:
        self.graph = model.graph
        self.reader = reader
        self.opset = _opset(model)
        self.folder = ConstantFolder(self.opset)
        if self.graph.sparse_initializer:
            raise ModelError("the model holds sparse initialisers, which are not supported; use dense ones")
        self.initialisers = {t.name: t for t in self.graph.initializer}
        if len(self.graph.output) != 1:
            names = ", ".join(o.name for o in self.graph.output)
            raise ModelError(f"the model has {len(self.graph.output)} outputs ({names}); give one with one output")
        source = _single_input(self.graph, set(self.initialisers))
        shape, sample_shape = _input_shapes(source, self.graph.output[0])
        if math.prod(shape) > MAX_SIGNAL_VALUES:
            raise ModelError(f"input {source.name!r}: shape {shape} has more than {MAX_SIGNAL_VALUES} values")
        self.builder = NetworkBuilder(sample_shape, source.name)
        self.values: dict[str, Value] = {source.name: Signal(0, shape)}

    def run(self) -> int:
        """Translate what the output depends on; the node of the output."""
        name = self.graph.output[0].name
        needed = self._needed(name)
        for i, node in enumerate(self.graph.node):
            if i in needed:
                self.values[node.output[0]] = self._translate(node, _label(node))
        output = self._value(name, "the model's output")
        if not isinstance(output, Signal):
            raise ModelError(f"output {name!r} does not depend on the input; there is nothing to verify")
        return output.node

    def _needed(self, output: str) -> set[int]:
        """Indices of the nodes that ``output`` depends on."""
        producer: dict[str, int] = {}
        for i, node in enumerate(self.graph.node):
            for name in filter(None, node.output):
                if name in producer or name in self.values or name in self.initialisers:
                    raise ModelError(f"{_label(node)}: {name!r} is defined twice; the model is damaged")
                producer[name] = i
        needed: set[int] = set()
        pending = [output]
        while pending:
            i = producer.get(pending.pop(), -1)
            if i >= 0 and i not in needed:
                needed.add(i)
                pending.extend(self.graph.node[i].input)
        return needed

    def _value(self, name: str, reader: str) -> Value:
        if name not in self.values:
            if name not in self.initialisers:
                raise ModelError(f"{reader} reads {name!r}, which no supported node before it produces")
            self.values[name] = self.reader.read(self.initialisers[name], f"initialiser {name!r}")
        return self.values[name]

    def _translate(self, node: onnx.NodeProto, label: str) -> Value:
        known = node.op_type in _HANDLERS or node.op_type in _CONSTANT_OPERATORS
        if node.domain not in _STANDARD_DOMAINS or not known:
            raise _unsupported(node, label)
        attributes = _attributes(node, self.opset, label)
        operands = [self._value(name, label) if name else None for name in node.input]
        if self.opset < 7 and node.op_type in _LEGACY_BROADCAST:
            operands[1] = _align(operands, attributes, label)
        inputs = tuple(operands)
        if node.op_type == "Shape" and isinstance(inputs[0], Signal):
            dims = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
            return np.array(dims, dtype=np.int64)
        if not any(isinstance(value, Signal) for value in inputs):
            return self._fold(node, inputs, attributes, label)  # type: ignore[arg-type]
        if node.op_type not in _HANDLERS:
            raise _unsupported(node, label)
        name = node.name or node.output[0]
        return _HANDLERS[node.op_type](Operation(label, name, inputs, attributes, self.opset, self.builder))

    def _fold(
        self,
        node: onnx.NodeProto,
        operands: tuple[Constant | None, ...],
        attributes: dict[str, Any],
        label: str,
    ) -> Constant:
        if node.op_type == "Constant":
            return self._constant(attributes, label)
        if node.op_type == "ConstantOfShape":
            value = attributes.get("value")
            fill = np.zeros(1, np.float32) if value is None else self.reader.read(value, f"{label}: value")
            assert operands[0] is not None
            return self.folder.fill(operands[0], fill, label)
        if self.opset < 7 and node.op_type in _LEGACY_BROADCAST:
            # The operands are aligned already; the reference implementation knows today's rules only.
            node = onnx.helper.make_node(node.op_type, node.input, node.output)
        return self.folder.fold(node, operands, attributes, label)

    def _constant(self, attributes: dict[str, Any], label: str) -> Constant:
        if len(attributes) != 1:
            raise ModelError(f"{label}: has {len(attributes)} values; a constant must have exactly one")
        (kind, value), *_ = attributes.items()
        if kind == "value":
            return self.reader.read(value, label)
        if kind in ("value_float", "value_floats"):
            return np.array(value, dtype=np.float32)
        if kind in ("value_int", "value_ints"):
            return np.array(value, dtype=np.int64)
        raise ModelError(f"{label}: a constant given as {kind} is not supported; give a dense tensor")


def _label(node: onnx.NodeProto) -> str:
    if node.name:
        return f"node {node.name!r} ({node.op_type})"
    return f"the {node.op_type} node that produces {', '.join(map(repr, node.output))}"


def _unsupported(node: onnx.NodeProto, label: str) -> ModelError:
    domain = "" if node.domain in _STANDARD_DOMAINS else f" of domain {node.domain!r}"
    supported = ", ".join(SUPPORTED_OPERATORS)
    return ModelError(f"{label}: operator {node.op_type}{domain} is not supported; supported are {supported}")


def _opset(model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if o.domain in _STANDARD_DOMAINS]
    # Files older than IR version 3 name no operator set; they use the first.
    opset = max(versions, default=1)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise ModelError(
            f"the model uses operator set {opset}, but the installed onnx knows 1 to {newest}; "
            "upgrade onnx, or export the model for an older operator set"
        )
    return opset


def _single_input(graph: onnx.GraphProto, initialisers: set[str]) -> onnx.ValueInfoProto:
    inputs = [i for i in graph.input if i.name not in initialisers]
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise ModelError(f"the model has {len(inputs)} inputs ({names}); give one with a single input")
    return inputs[0]


def _input_shapes(source: onnx.ValueInfoProto, output: onnx.ValueInfoProto) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The input's shape for a batch of one, and the shape of one sample (without a batch axis)."""
    label = f"input {source.name!r}"
    kind = source.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(f"{label}: is a {kind or 'value without a type'}; only tensors are supported")
    tensor = source.type.tensor_type
    if tensor.elem_type not in FLOAT_TYPES:
        name = onnx.helper.tensor_dtype_to_string(tensor.elem_type)
        raise ModelError(f"{label}: has type {name}; a network to verify takes floating-point values")
    if not tensor.HasField("shape") or not tensor.shape.dim:
        raise ModelError(f"{label}: declares no shape; export the model with one, such as [1, 784]")
    dims = [_dimension(d) for d in tensor.shape.dim]
    rest = tuple(d for d in dims[1:] if d is not None)
    if len(rest) < len(dims) - 1 or dims == [None]:
        shown = ", ".join("?" if d is None else str(d) for d in dims)
        raise ModelError(f"{label}: shape [{shown}] is open beyond the batch axis; export it with a fixed shape")
    declared = [_dimension(d) for d in output.type.tensor_type.shape.dim]
    first = dims[0]
    if rest and (first in (None, 1) or first in declared[:1]):
        return (1, *rest), rest
    assert first is not None
    return (first, *rest), (first, *rest)


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    """A fixed length, or None for a symbol or nothing (which old exporters write as 0 or -1)."""
    return int(dim.dim_value) if dim.dim_value > 0 else None


def _attributes(node: onnx.NodeProto, opset: int, label: str) -> dict[str, Any]:
    """The node's attributes with the operator set's defaults, checked against the operator's definition."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        raise ModelError(f"{label}: operator {node.op_type} does not exist in operator set {opset}") from None
    if not (schema.min_input <= len(node.input) <= schema.max_input and node.output):
        counts = f"{len(node.input)} inputs and {len(node.output)} outputs"
        raise ModelError(f"{label}: has {counts}, which its operator does not take; the model is damaged")
    missing = [i for i, name in enumerate(node.input) if not name and i < schema.min_input]
    if missing:
        raise ModelError(f"{label}: input {missing[0]} is left out, but needed; the model is damaged")
    values = {
        name: onnx.helper.get_attribute_value(a.default_value)
        for name, a in schema.attributes.items()
        if a.default_value.name
    }
    for attribute in node.attribute:
        expected = schema.attributes.get(attribute.name)
        if expected is None or attribute.type != expected.type.value:
            raise ModelError(f"{label}: attribute {attribute.name!r} is unknown in operator set {opset}")
        values[attribute.name] = onnx.helper.get_attribute_value(attribute)
    required = [name for name, a in schema.attributes.items() if a.required and name not in values]
    if required:
        raise ModelError(f"{label}: attribute {required[0]!r} is missing; the model is damaged")
    return values


def _align(operands: list[Value | None], attributes: dict[str, Any], label: str) -> Value:
    """The second operand as it was read before operator set 7: it starts at the first's ``axis``."""
    first, second = operands
    assert first is not None
    assert second is not None
    if "axis" not in attributes:
        return second
    trailing = len(first.shape) - attributes["axis"] - len(second.shape)
    if attributes["axis"] < 0 or trailing < 0:
        axis = attributes["axis"]
        raise ModelError(f"{label}: axis {axis} does not fit shapes {first.shape} and {second.shape}")
    shape = second.shape + (1,) * trailing
    return Signal(second.node, shape) if isinstance(second, Signal) else second.reshape(shape)
