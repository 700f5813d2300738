"""Exact numbers with derivatives, and tensors of them: what :mod:`tests.onnx_exact` computes with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]
Number = Any


class Dual:
    """A number and its derivative with respect to each input that it depends on."""

    def __init__(self, value: Number, gradient: Mapping[int, Number] | None = None) -> None:
        self.value = value
        self.gradient = dict(gradient or {})

    def chained(self, value: Number, slope: Number) -> Dual:
        """A function of this number, by its value and its derivative here."""
        return Dual(value, {k: slope * g for k, g in self.gradient.items()})

    def __add__(self, other: Dual) -> Dual:
        gradient = dict(self.gradient)
        for k, g in other.gradient.items():
            gradient[k] = gradient[k] + g if k in gradient else g
        return Dual(self.value + other.value, gradient)

    def __neg__(self) -> Dual:
        return self.chained(-self.value, -1)

    def __sub__(self, other: Dual) -> Dual:
        return self + -other

    def __mul__(self, other: Dual) -> Dual:
        return self.chained(0, other.value) + other.chained(self.value * other.value, self.value)

    def __truediv__(self, other: Dual) -> Dual:
        return self * other.chained(1 / other.value, -1 / (other.value * other.value))

    def __lt__(self, other: Dual) -> bool:
        return bool(self.value < other.value)

    def __gt__(self, other: Dual) -> bool:
        return bool(self.value > other.value)


def tensor_of(values: Sequence[Any]) -> Tensor:
    """An array of objects."""
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out


def mapped(function: Callable[..., Any], *tensors: Tensor) -> Tensor:
    """``function`` of the tensors' entries, broadcast."""
    joined = np.broadcast_arrays(*tensors)
    flat = [function(*row) for row in zip(*(t.reshape(-1) for t in joined), strict=True)]
    return tensor_of(flat).reshape(joined[0].shape)
