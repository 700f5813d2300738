"""One ONNX node on its way into a draft: its operands, its attributes, and what every operator's rule needs.

Tensors have the shapes that the model gives them for a batch of one; a value that depends on the input is a
:class:`Signal`, everything else is an array that is already known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from distverify.errors import ModelError
from distverify.network.draft import Draft, DraftActivation, DraftLinear, DraftTerm
from distverify.network.onnx_file import Constant
from distverify.network.operators import Array


@dataclass(frozen=True)
class Signal:
    """A tensor that depends on the network's input: the draft's ``node``, seen in ``shape``."""

    node: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Value = Signal | Constant


@dataclass(frozen=True)
class Operation:
    """One ONNX node, with its operands looked up.

    Attributes
    ----------
    label : str
        Names the node and its operator in errors.
    name : str
        Name for the draft's node.
    inputs : tuple of Signal, array, or None for an optional input that is left out
    attributes : dict
        With the operator set's defaults filled in.
    opset : int
    draft : Draft
        Where new nodes go.
    """

    label: str
    name: str
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    opset: int
    draft: Draft

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
        """The shape of ``values`` broadcast together; none that depends on the input may be repeated."""
        shapes = ", ".join(str(v.shape) for v in values)
        try:
            shape = np.broadcast_shapes(*(v.shape for v in values))
        except ValueError:
            self.error(f"shapes {shapes} do not fit together")
        if any(isinstance(v, Signal) and v.size != math.prod(shape) for v in values):
            self.error(
                f"shapes {shapes} would repeat values that depend on the input, which is not supported"
            )
        return shape

    def scaled(self, signal: Signal, factor: float) -> DraftTerm:
        """``factor`` times ``signal``."""
        if factor == 1.0:
            return DraftTerm(signal.node, "identity")
        return DraftTerm(signal.node, "diagonal", np.full(signal.size, factor))

    def linear(self, shape: tuple[int, ...], terms: list[DraftTerm], bias: Array | None = None) -> Signal:
        node = self.draft.add(DraftLinear(self.name, math.prod(shape), tuple(terms), bias))
        return Signal(node, shape)

    def activation(self, kind: str, parameters: Mapping[str, Array | float]) -> Signal:
        x = self.signal()
        return Signal(self.draft.add(DraftActivation(self.name, x.size, x.node, kind, parameters)), x.shape)


Handler = Callable[[Operation], Signal]
