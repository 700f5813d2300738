"""What is allowed but hardly meant: data and radii that suggest a forgotten scale, another normalisation, or other labels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from distverify.data.dataset import Dataset
from distverify.network.graph import Network

# So many samples tell; a forward pass of thousands through a large network would take longer than it is worth.
_LOOKED_AT = 200
_LEAST_LABELLED = 10
# Standard deviations above guessing within which an accuracy is no better than guessing.
_CHANCE = 2.0
_EIGHT_BITS = 255
_WHOLE = 1e-6


def find_implausible(network: Network, data: Dataset, eps: tuple[float, ...], scale: float | None) -> tuple[str, ...]:
    """Warnings, each a sentence that says what was seen and what may be meant.

    Parameters
    ----------
    network : Network
        Of the data's own units.
    data : Dataset
    eps : tuple of float
        Radii, in the same units.
    scale : float or None
        What the values were divided by already.
    """
    rows = np.unique(np.linspace(0, data.size - 1, min(data.size, _LOOKED_AT)).astype(np.int64))
    inputs, labels = data.inputs[rows], data.labels[rows]
    return tuple(w for w in (_accuracy(network, inputs, labels, scale), _resolution(inputs, eps)) if w)


def _accuracy(
    network: Network, inputs: NDArray[np.float64], labels: NDArray[np.int64], scale: float | None
) -> str | None:
    labelled = labels >= 0
    count, classes = int(labelled.sum()), network.output_size
    if count < _LEAST_LABELLED or classes < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        right = int((network(inputs[labelled]).argmax(axis=1) == labels[labelled]).sum())
    guessed = count / classes
    at_chance = right <= guessed + _CHANCE * math.sqrt(guessed * (1.0 - 1.0 / classes))
    largest = float(np.abs(inputs).max())
    if at_chance and largest > 2.0 and scale is None:
        return (
            f"data: the model classifies {right} of {count} samples right, as by guessing, and values reach {largest:g}; if it "
            f"was trained on values up to 1, divide them (scale {largest:g})"
        )
    if right == 0:
        return (
            f"data: the model classifies 0 of {count} samples right; check that labels, scale, layout and normalisation are "
            "those that it was trained with"
        )
    return None


def _resolution(inputs: NDArray[np.float64], eps: tuple[float, ...]) -> str | None:
    """Balls that are smaller than half a step of the values hold no other sample of the same kind."""
    largest = float(np.abs(inputs).max(initial=0.0))
    if not eps or largest == 0.0 or np.unique(inputs).size < 3:
        return None
    step = next((s for s in (1.0, 1.0 / _EIGHT_BITS) if largest >= 8 * s and _multiples(inputs, s)), None)
    if step is None or max(eps) >= 0.5 * step:
        return None
    told = "1" if step == 1.0 else f"1/{_EIGHT_BITS}"
    return (
        f"eps: the largest is {max(eps):g}, and values of the data are multiples of {told}, so no other data lie within; check "
        "that radii and data have the same units"
    )


def _multiples(values: NDArray[np.float64], step: float) -> bool:
    scaled = values / step
    return bool((np.abs(scaled - np.round(scaled)) <= _WHOLE).all())
