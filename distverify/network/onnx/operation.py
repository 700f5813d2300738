"""One ONNX node on its way into a builder: its operands, its attributes, and what every operator's rule needs.

Tensors have the shapes that the model gives them for a batch of one; a value that depends on the input is a
:class:`Signal`, everything else is an array that is already known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ModelError
from distverify.kernels.activations import PARAMETER_ROWS
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.operator import Array
from distverify.network.linear.sparse import selection
from distverify.network.nodes import Term
from distverify.network.onnx.budget import Budget
from distverify.network.onnx.file import Constant
from distverify.network.onnx.probe import Probe

# A declared shape costs the file nothing, but every operation on it a vector of that size.
MAX_SIGNAL_VALUES = 2**22


@dataclass(frozen=True)
class Signal:
    """A tensor that depends on the network's input: the builder's ``node``, seen in ``shape``.

    ``unpadded`` is the tensor without the zeros that a Pad put around it, and their numbers before and after each axis.
    """

    node: int
    shape: tuple[int, ...]
    unpadded: tuple[Signal, tuple[tuple[int, int], ...]] | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Comparison:
    """Where ``signal`` is greater than ``limit``; where it is not, if ``negated``."""

    signal: Signal
    limit: float
    negated: bool = False


Value = Signal | Constant


@dataclass(frozen=True)
class Operation:
    """One ONNX node, with its operands looked up.

    Attributes
    ----------
    label : str
        Names the node and its operator in errors.
    name : str
        Name for the builder's node.
    inputs : tuple of Signal, array, or None for an optional input that is left out
    attributes : dict
        With the operator set's defaults filled in.
    opset : int
    builder : NetworkBuilder
        Where new nodes go.
    outputs : int
        How many values the ONNX node gives.
    budget : Budget
        What may still be made.
    rounded : dict
        How many roundings constants are off by, by the identity of their arrays.
    probe : Probe
        How much values vary.
    comparisons : tuple of Comparison or None
        Inputs that are comparisons.
    """

    label: str
    name: str
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    opset: int
    builder: NetworkBuilder
    outputs: int
    budget: Budget
    rounded: Mapping[int, int]
    probe: Probe
    comparisons: tuple[Comparison | None, ...] = ()

    @property
    def comparison(self) -> Comparison | None:
        """Input 0, if it is one."""
        return self.comparisons[0] if self.comparisons else None

    def error(self, message: str) -> NoReturn:
        raise ModelError(f"{self.label}: {message}")

    def input(self, i: int) -> Value | None:
        return self.inputs[i] if i < len(self.inputs) else None

    def signal(self, i: int = 0) -> Signal:
        """Input ``i``, which must depend on the network's input."""
        value = self.input(i)
        if not isinstance(value, Signal):
            self.error(f"input {i} must depend on the network's input, but is a constant")
        return value

    def constant(self, i: int) -> Constant:
        """Input ``i``, which must be known without the network's input."""
        value = self.input(i)
        if value is None or isinstance(value, Signal):
            found = "is missing" if value is None else "depends on the network's input"
            self.error(f"input {i} must be a constant, but {found}")
        return value

    def roundings(self, array: Value | None) -> int:
        """How many roundings the operand ``array`` is off by."""
        return self.rounded.get(id(array), 0)

    def integers(self, i: int) -> tuple[int, ...]:
        """Constant input ``i`` as whole numbers."""
        return tuple(int(v) for v in self.constant(i).reshape(-1))

    def numbers(self, array: Constant) -> Array:
        """``array`` as float64, exactly."""
        if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
            self.error(f"a constant of type {array.dtype} is no real number")
        return array.astype(np.float64)

    def spread(self, array: Constant, shape: tuple[int, ...]) -> Array:
        """``array`` as float64, broadcast to ``shape`` and flattened."""
        try:
            return np.broadcast_to(self.numbers(array), shape).reshape(-1)
        except ValueError:
            self.error(f"a constant of shape {array.shape} does not fit values of shape {shape}")

    def common_shape(self, *values: Value) -> tuple[int, ...]:
        """The shape of ``values`` broadcast together."""
        try:
            shape = np.broadcast_shapes(*(v.shape for v in values))
        except ValueError:
            self.error(f"shapes {', '.join(str(v.shape) for v in values)} do not fit together")
        self.check_shape(shape)
        return shape

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Refuse a result that is empty, or so large that only a damaged file asks for it."""
        if any(d < 1 for d in shape):
            self.error(f"its result of shape {shape} holds no values")
        if math.prod(shape) > MAX_SIGNAL_VALUES:
            self.error(f"its result of shape {shape} has more than {MAX_SIGNAL_VALUES} values")

    def taken(self, signal: Signal, indices: NDArray[np.int64], fill: float = 0.0) -> Signal:
        """The values of ``signal`` at the flat ``indices``, in their shape; ``fill`` where an index is -1."""
        shape = indices.shape
        self.check_shape(shape)
        flat = indices.reshape(-1)
        if flat.size == signal.size and (flat == np.arange(flat.size)).all():
            return Signal(signal.node, shape)
        bias = np.where(flat < 0, fill, 0.0) if fill != 0.0 and (flat < 0).any() else None
        return self.linear(shape, [Term(signal.node, selection(flat, signal.size))], bias)

    def expanded(self, signal: Signal, shape: tuple[int, ...]) -> Signal:
        """``signal`` repeated to ``shape``."""
        return self.taken(signal, np.broadcast_to(places(signal), shape))

    def scaled(self, signal: Signal, factor: float) -> Term:
        """``factor`` times ``signal``."""
        if factor == 1.0:
            return self.builder.skip(signal.node)
        return Term(signal.node, Diagonal(np.full(signal.size, factor)))

    def constantly(self, signal: Signal, value: float) -> Signal:
        """``value`` in the shape of ``signal``."""
        nothing = Term(signal.node, Diagonal(np.zeros(signal.size)))
        return self.linear(signal.shape, [nothing], np.full(signal.size, value))

    def linear(
        self, shape: tuple[int, ...], terms: list[Term], bias: Array | None = None, bias_error: Array | None = None
    ) -> Signal:
        self.check_shape(shape)
        self.budget.spend(2 * math.prod(shape) + sum(t.operator.stored for t in terms), self.label)
        return Signal(self.builder.linear(self.name, terms, bias, bias_error), shape)

    def activation(self, kind: str, parameters: Mapping[str, Array | float]) -> Signal:
        x = self.signal()
        self.budget.spend(PARAMETER_ROWS * x.size, self.label)
        return Signal(self.builder.activation(self.name, x.node, kind, parameters), x.shape)


def places(signal: Signal) -> NDArray[np.int64]:
    """The flat index of each value, in the signal's shape: what moves values is applied to it."""
    return np.arange(signal.size).reshape(signal.shape)


Handler = Callable[[Operation], Value | Comparison | tuple[Signal, ...]]
