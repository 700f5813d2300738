"""The walk over an ONNX graph that makes a network of it, operator after operator."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx

from distverify.errors import ModelError
from distverify.kernels.rounding import SOUND
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.sparse import selection
from distverify.network.nodes import Term
from distverify.network.onnx.activations import ACTIVATION_OPERATORS
from distverify.network.onnx.budget import MAX_NODES, Budget
from distverify.network.onnx.constant_folding import FOLDED_OPERATORS, ConstantFolder
from distverify.network.onnx.convolution import CONVOLUTION_OPERATORS
from distverify.network.onnx.declared import STANDARD_DOMAINS, DeclaredInput, declared_inputs, operator_set
from distverify.network.onnx.extremes import EXTREME_OPERATORS
from distverify.network.onnx.file import Constant, TensorReader
from distverify.network.onnx.indexing import INDEX_OPERATORS
from distverify.network.onnx.linear import LINEAR_OPERATORS
from distverify.network.onnx.normalising import NORMALISING_OPERATORS
from distverify.network.onnx.operation import MAX_SIGNAL_VALUES, Comparison, Handler, Operation, Signal, Value
from distverify.network.onnx.pooling import POOLING_OPERATORS
from distverify.network.onnx.probe import Probe
from distverify.network.onnx.products import POWER_OPERATORS
from distverify.network.onnx.shapes import SHAPE_OPERATORS
from distverify.network.onnx.where import WHERE_OPERATORS

_HANDLERS: Mapping[str, Handler] = {
    **LINEAR_OPERATORS,
    **CONVOLUTION_OPERATORS,
    **POOLING_OPERATORS,
    **SHAPE_OPERATORS,
    **INDEX_OPERATORS,
    **ACTIVATION_OPERATORS,
    **EXTREME_OPERATORS,
    **POWER_OPERATORS,
    **NORMALISING_OPERATORS,
    **WHERE_OPERATORS,
}
SUPPORTED_OPERATORS = tuple(sorted(_HANDLERS))
_CONSTANT_OPERATORS = frozenset({*FOLDED_OPERATORS, "Constant", "ConstantOfShape"})
# With those that give constants; some more are taken where all they read is constant.
KNOWN_OPERATORS = tuple(sorted({*SUPPORTED_OPERATORS, "Constant", "ConstantOfShape", "Shape"}))
# Before operator set 7 these take attributes that say how the second operand is repeated.
_LEGACY_BROADCAST = ("Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub")
# The others refuse constants that are not exact.
_ACCOUNT_FOR_ROUNDING = frozenset({"Add", "Conv", "ConvTranspose", "Div", "Gemm", "MatMul", "Mul", "Sub", "Sum"})
# Operators that a comparison of values that depend on the input may go into.
_OF_COMPARISONS = frozenset({"And", "Cast", "Not", "Or", "Where", "Xor"})
_OF_TWO = frozenset({"And", "Or", "Xor"})
# Operators between a last Softmax and the output that only show it in another shape.
_PASSING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
# What reading sizes, axes and types that contradict each other ends in.
_NONSENSE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)


class Translation:
    """Walks a model's graph once, in its own order, and fills a builder."""

    def __init__(self, model: onnx.ModelProto, reader: TensorReader, batch_axis: bool | None = None) -> None:
        self.graph = model.graph
        self.reader = reader
        self.opset = operator_set(model)
        self.budget = Budget(reader.stored_numbers(model))
        self.folder = ConstantFolder(self.opset, self.budget)
        if len(self.graph.node) > MAX_NODES:
            raise ModelError(f"the model has {len(self.graph.node)} nodes, more than {MAX_NODES}; simplify it")
        if self.graph.sparse_initializer:
            raise ModelError("the model holds sparse initialisers, which are not supported; use dense ones")
        self.initialisers = {t.name: t for t in self.graph.initializer}
        if len(self.initialisers) < len(self.graph.initializer):
            name = Counter(t.name for t in self.graph.initializer).most_common(1)[0][0]
            raise ModelError(f"initialiser {name!r} is defined twice; the model is damaged")
        self.remarks: dict[str, str] = {}
        self.values: dict[str, Value] = {}
        self.comparisons: dict[str, Comparison] = {}
        # Constants that are rounded, by the identity of their arrays, which the values keep.
        self.rounded: dict[int, int] = {}
        self._open(batch_axis)
        self.probe = Probe(self.builder)

    def _open(self, batch_axis: bool | None) -> None:
        """Begin a builder with the model's inputs, for its outputs."""
        self.inputs = declared_inputs(self.graph, set(self.initialisers), batch_axis)
        self.outputs = tuple(o.name for o in self.graph.output)
        shapes = [declared.shape for declared in self.inputs]
        if sum(map(math.prod, shapes)) > MAX_SIGNAL_VALUES:
            raise ModelError(
                f"input {self.inputs[0].name!r}: shape {shapes[0]} has more than {MAX_SIGNAL_VALUES} values, "
                "or all inputs together have"
            )
        if len(self.inputs) == 1:
            only = self.inputs[0]
            self.builder = NetworkBuilder(only.sample_shape, only.name)
            self.values[only.name] = Signal(0, only.shape)
        else:
            self.builder = NetworkBuilder((sum(map(math.prod, shapes)),))
            self.values.update(_parts(self.builder, self.inputs))
            told = ", ".join(f"{i.name} {list(i.shape)}" for i in self.inputs)
            self.remarks["inputs"] = f"one after the other: {told}"

    def run(self) -> int:
        """Translate what the output depends on; the node of the output."""
        producer = self._producers()
        names = self.outputs
        if len(names) == 1:
            names = (self._without_softmax(names[0], producer),)
        needed = self._needed(names, producer)
        for i, node in enumerate(self.graph.node):
            if i in needed:
                self._take(node, self._translate(node, _label(node)))
        output = self._joined(names)
        self.remarks["reference"] = self._compare(needed, names)
        return output

    def _joined(self, names: Sequence[str]) -> int:
        """The node that holds all outputs, one after the other; constant ones too, where some output is none."""
        values = [self._value(name, "the model's output") for name in names]
        if len(values) == 1 and isinstance(values[0], Signal):
            return values[0].node
        if len(values) > 1:
            told = ", ".join(f"{name} {list(v.shape)}" for name, v in zip(names, values, strict=True))
            self.remarks["outputs"] = f"one after the other: {told}"
        total = sum(math.prod(v.shape) for v in values)
        bias, error, terms, first = np.zeros(total), np.zeros(total), [], 0
        for value in values:
            size = math.prod(value.shape)
            if isinstance(value, Signal):
                indices = np.full(total, -1)
                indices[first : first + size] = np.arange(size)
                terms.append(Term(value.node, selection(indices, size)))
            else:
                bias[first : first + size] = value.astype(np.float64).reshape(-1)
                if roundings := self.rounded.get(id(value), 0):
                    error[first : first + size] = SOUND.gamma(roundings) * np.abs(value).reshape(-1)
            first += size
        if not terms:
            terms.append(Term(0, selection(np.full(total, -1), self.builder.size(0))))
        self.budget.spend(4 * total, "the model's outputs")
        return self.builder.linear("outputs", terms, bias, error)

    def _compare(self, needed: set[int], outputs: Sequence[str]) -> str:
        """Whether the network agrees with the ONNX reference evaluator; see :func:`check_agreement`."""
        nodes = [node for i, node in enumerate(self.graph.node) if i in needed]
        constants = {
            name: self.values[name]
            for name in {name for node in nodes for name in node.input}
            if name in self.initialisers and name in self.values
        }
        signals = {name: value for name, value in self.values.items() if isinstance(value, Signal)}
        names = [name for name in outputs if name in signals]
        from distverify.network.onnx.agreement import Reference, check_agreement

        make = partial(Reference, nodes, constants, self.inputs, names, self.opset)  # type: ignore[arg-type]
        return check_agreement(make, self.builder, signals, opset=self.opset)

    def _take(self, node: onnx.NodeProto, made: Value | Comparison | tuple[Signal, ...]) -> None:
        if isinstance(made, Comparison):
            self.comparisons[node.output[0]] = made
            return
        values = made if isinstance(made, tuple) else (made,)
        self.values.update((name, value) for name, value in zip(node.output, values, strict=False) if name)

    def _producers(self) -> dict[str, int]:
        """For each tensor the index of the node that gives it."""
        producer: dict[str, int] = {}
        for i, node in enumerate(self.graph.node):
            for name in filter(None, node.output):
                if name in producer or name in self.values or name in self.initialisers:
                    raise ModelError(f"{_label(node)}: {name!r} is defined twice; the model is damaged")
                producer[name] = i
        return producer

    def _without_softmax(self, output: str, producer: Mapping[str, int]) -> str:
        """The tensor of logits, where the model ends in a Softmax: that changes no class, and bounds of logits say more."""
        name = output
        while name in producer:
            node = self.graph.node[producer[name]]
            if node.domain not in STANDARD_DOMAINS or not node.input:
                break
            if node.op_type in ("Softmax", "LogSoftmax"):
                self.remarks["outputs"] = f"the logits: the model's last {node.op_type} is left off"
                return str(node.input[0])
            if node.op_type not in _PASSING:
                break
            name = node.input[0]
        return output

    def _needed(self, outputs: Sequence[str], producer: Mapping[str, int]) -> set[int]:
        """Indices of the nodes that ``outputs`` depend on."""
        needed: set[int] = set()
        pending = list(outputs)
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

    def _translate(self, node: onnx.NodeProto, label: str) -> Value | Comparison | tuple[Signal, ...]:
        known = node.op_type in _HANDLERS or node.op_type in _CONSTANT_OPERATORS
        if node.domain not in STANDARD_DOMAINS or not known:
            raise _unsupported(node, label)
        attributes = _attributes(node, self.opset, label)
        many = 2 if node.op_type in _OF_TWO else int(node.op_type in _OF_COMPARISONS)
        comparisons = tuple(self.comparisons.get(name) if i < many else None for i, name in enumerate(node.input))
        operands = [
            self._value(name, label) if name and comparison is None else None
            for name, comparison in zip(node.input, comparisons, strict=True)
        ]
        if self.opset < 7 and node.op_type in _LEGACY_BROADCAST:
            aligned = _align(operands, attributes, label)
            if roundings := self.rounded.get(id(operands[1])):
                self.rounded[id(aligned)] = roundings
            operands[1] = aligned
        inputs = tuple(operands)
        if node.op_type == "Shape" and isinstance(inputs[0], Signal):
            dims = inputs[0].shape[attributes.get("start", 0) : attributes.get("end")]
            return np.array(dims, dtype=np.int64)
        if not any(comparisons) and not any(isinstance(value, Signal) for value in inputs):
            return self._fold(node, inputs, attributes, label)  # type: ignore[arg-type]
        if node.op_type not in _HANDLERS:
            raise _unsupported(node, label)
        if node.op_type not in _ACCOUNT_FOR_ROUNDING and any(id(value) in self.rounded for value in inputs):
            raise ModelError(
                f"{label}: reads a constant that had to be rounded; run a constant-folding tool on the model"
            )
        name = node.name or node.output[0]
        operation = Operation(
            label,
            name,
            inputs,
            attributes,
            self.opset,
            self.builder,
            len(node.output),
            self.budget,
            self.rounded,
            self.probe,
            comparisons,
        )
        try:
            return _HANDLERS[node.op_type](operation)
        except ModelError:
            raise
        except _NONSENSE as error:
            raise ModelError(
                f"{label}: makes no sense ({type(error).__name__}: {error}); the model is damaged"
            ) from error

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
        inexact = [self.rounded.get(id(value), 0) for value in operands]
        result, roundings = self.folder.fold(node, operands, attributes, inexact, label)
        if roundings:
            self.rounded[id(result)] = roundings
        return result

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


def _parts(builder: NetworkBuilder, inputs: Sequence[DeclaredInput]) -> dict[str, Value]:
    """Each of several inputs, as a part of the network's one."""
    values: dict[str, Value] = {}
    first, total = 0, builder.size(0)
    for declared in inputs:
        size = math.prod(declared.shape)
        part = selection(np.arange(first, first + size), total)
        values[declared.name] = Signal(builder.linear(declared.name, [Term(0, part)]), declared.shape)
        first += size
    return values


def _label(node: onnx.NodeProto) -> str:
    if node.name:
        return f"node {node.name!r} ({node.op_type})"
    return f"the {node.op_type} node that produces {', '.join(map(repr, node.output))}"


def _unsupported(node: onnx.NodeProto, label: str) -> ModelError:
    domain = "" if node.domain in STANDARD_DOMAINS else f" of domain {node.domain!r}"
    supported = ", ".join(SUPPORTED_OPERATORS)
    return ModelError(f"{label}: operator {node.op_type}{domain} is not supported; supported are {supported}")


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
