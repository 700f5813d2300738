"""Networks of raw inputs: the normalisation that a model was trained with becomes part of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from distverify.errors import SettingsError
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.diagonal import division
from distverify.network.linear.exactness import roundings_of_products
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, LinearNode, Node, Term, Unfolded
from distverify.network.simplify import simplify

# Grey, colour, colour with opacity.
_CHANNELS = (1, 3, 4)


def channel_layout(shape: tuple[int, ...], told: str | None = None) -> Literal["chw", "hwc"]:
    """Whether the first or the last axis of an image's shape holds the channels.

    Sizes tell where one of the two is 1, 3 or 4 and smaller than both other axes. Shapes that are no image have no channels:
    their values are in one order.

    Parameters
    ----------
    told : "chw" or "hwc", optional
        What somebody says of the model; it counts before the sizes.

    Raises
    ------
    SettingsError
        Sizes do not tell, or ``told`` is neither.
    """
    if told is not None:
        if told not in ("chw", "hwc"):
            raise SettingsError(f"model_layout: got {told!r}; choose chw or hwc")
        if len(shape) != 3:
            raise SettingsError(
                f"model_layout: got {told!r}, but the model takes values of shape {shape}, no image; leave it out"
            )
        return "chw" if told == "chw" else "hwc"
    if len(shape) != 3:
        return "chw"
    first, _, last = shape
    if first in _CHANNELS and first < min(shape[1:]):
        return "chw"
    if last in _CHANNELS and last < min(shape[:2]):
        return "hwc"
    raise SettingsError(
        f"model_layout: is needed, for the sizes of the model's input {shape} do not tell which axis holds the channels; "
        "say chw (the first) or hwc (the last)"
    )


def apply_normalisation(network: Network, mean: ArrayLike, std: ArrayLike, *, layout: str | None = None) -> Network:
    """The network x -> f((x - mean) / std), folded into the layers that read the input.

    Parameters
    ----------
    network : Network
        f.
    mean, std : float or array
        One value for all, one per channel [C], or one per feature [D] (C order of ``network.input_shape``).
    layout : "chw" or "hwc", optional
        Which axis of a three-dimensional ``network.input_shape`` holds the channels, the first or the last: see
        :func:`channel_layout`. Only asked for with one value per channel.

    Raises
    ------
    SettingsError
        Values that are not finite, a std that is not positive, a number of values that does not fit.
    """
    means, deviations = mean_and_std(network, mean, std, layout=layout)
    scale = division(deviations)
    with np.errstate(over="ignore"):
        shift = -means / deviations
    if scale is None or not np.isfinite(shift).all():
        raise SettingsError(f"std: got {deviations.min():g} to {deviations.max():g}, too small or large to divide by")
    error = None
    if roundings_of_products(means, scale.scale) != 0 or scale.roundings:
        error = SOUND.gamma(1) * np.abs(shift) + SOUND.eta * (means != 0.0)
    builder = NetworkBuilder(network.input_shape, network.nodes[0].name)
    builder.linear("normalisation", [Term(0, scale)], shift, error)
    first = list(builder.nodes)
    builder.nodes += moved_up(network.nodes)
    before = list(builder.nodes)
    output = network.output + 1
    simplify(builder, output)
    normalised = builder.build(output, network.remarks, before)
    if network.unfolded is not None:
        # What had been folded before stays known.
        earlier = NetworkBuilder(network.input_shape)
        earlier.nodes = first + moved_up(network.unfolded.nodes)
        nodes, place = earlier.build(network.unfolded.output + 1).nodes, builder.places(output)
        same = {i + 1: place[k + 1] for i, k in network.unfolded.places.items() if i > 0 and k + 1 in place}
        normalised.unfolded = Unfolded(nodes, network.unfolded.output + 1, {0: 0, **same})
    return normalised


def moved_up(nodes: Sequence[Node]) -> list[Node]:
    """The nodes after the input, where a linear node has taken its place: every index moves up by one."""
    moved: list[Node] = []
    for node in nodes[1:]:
        if isinstance(node, LinearNode):
            moved.append(replace(node, terms=tuple(Term(t.source + 1, t.operator) for t in node.terms)))
        elif isinstance(node, ActivationNode):
            moved.append(replace(node, source=node.source + 1))
    return moved


def mean_and_std(
    network: Network, mean: ArrayLike, std: ArrayLike, *, layout: str | None = None
) -> tuple[Array, Array]:
    """Mean and standard deviation of every feature, float64 [input_size] each; see :func:`apply_normalisation`."""
    means = _per_feature("mean", mean, network, layout)
    deviations = _per_feature("std", std, network, layout)
    if not (deviations > 0).all():
        raise SettingsError(f"std: got {deviations.min():g}; every value must be positive")
    return means, deviations


def _per_feature(what: str, values: ArrayLike, network: Network, layout: str | None) -> Array:
    """``values`` repeated to float64 [input_size]."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingsError(f"{what}: got {values!r}; give a number, or one per channel or feature") from None
    if not np.isfinite(array).all():
        raise SettingsError(f"{what}: got {values!r}; every value must be finite")
    shape, size = network.input_shape, network.input_size
    if array.size == 1 or array.size == size:
        return np.broadcast_to(array.reshape(-1), (size,))
    layout = channel_layout(shape, layout)
    channels = shape[0 if layout == "chw" else -1] if len(shape) == 3 else None
    if array.ndim == 1 and array.size == channels:
        per_channel = array[:, None, None] if layout == "chw" else array
        return np.broadcast_to(per_channel, shape).reshape(-1)
    choices = f"1 value or {size} (one per feature)" if channels is None else f"1 value, {channels} or {size}"
    raise SettingsError(
        f"{what}: got {array.size} values; the network's input has shape {shape} "
        f"({layout if len(shape) == 3 else 'no channels'}), so give {choices}"
    )
