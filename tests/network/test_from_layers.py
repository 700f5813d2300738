"""Layers given as (W, b) pairs whose matrices lie the wrong way."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.errors import ModelError
from distverify.network.graph import Network


def layers(*shapes: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.ones(shape), np.zeros(outputs)) for shape, outputs in zip(shapes, (5, 3), strict=True)]


def test_transposed_matrices_are_told() -> None:
    assert Network.from_layers(layers((5, 4), (3, 5))).output_size == 3
    with pytest.raises(ModelError, match=r"b: got shape \(5,\), expected \(4,\); transpose W, to \[5, in\]\?"):
        Network.from_layers(layers((4, 5), (5, 3)))
    with pytest.raises(
        ModelError, match=r"W has shape \(5, 3\); expected \[out, 5\] to fit the layer before it; transpose it\?"
    ):
        Network.from_layers(layers((5, 4), (5, 3)))
    with pytest.raises(ModelError, match=r"W has shape \(3, 7\); expected \[out, 5\] to fit the layer before it$"):
        Network.from_layers(layers((5, 4), (3, 7)))
