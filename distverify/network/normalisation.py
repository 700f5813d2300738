"""Networks of raw inputs: the normalisation that a model was trained with becomes part of the model."""

from __future__ import annotations

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
from distverify.network.nodes import ActivationNode, LinearNode, Term
from distverify.network.simplify import simplify


def channel_layout(shape: tuple[int, ...]) -> Literal["chw", "hwc"]:
    """Whether the first or the last axis of an image's shape holds the channels: the shorter one."""
    return "hwc" if len(shape) == 3 and shape[2] < shape[0] else "chw"


def apply_normalisation(
    network: Network, mean: ArrayLike, std: ArrayLike, *, layout: Literal["chw", "hwc"] = "chw"
) -> Network:
    """The network x -> f((x - mean) / std), folded into the layers that read the input.

    Parameters
    ----------
    network : Network
        f.
    mean, std : float or array
        One value for all, one per channel [C], or one per feature [D] (C order of ``network.input_shape``).
    layout : "chw" or "hwc"
        Which axis of a three-dimensional ``network.input_shape`` holds the channels: the first or the last.

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
    # The normalisation takes the input's place, so that every index moves up by one.
    for node in network.nodes[1:]:
        if isinstance(node, LinearNode):
            terms = tuple(Term(t.source + 1, t.operator) for t in node.terms)
            builder.add(replace(node, terms=terms))
        elif isinstance(node, ActivationNode):
            builder.add(replace(node, source=node.source + 1))
    output = network.output + 1
    simplify(builder, output)
    return builder.build(output)


def mean_and_std(
    network: Network, mean: ArrayLike, std: ArrayLike, *, layout: Literal["chw", "hwc"] = "chw"
) -> tuple[Array, Array]:
    """Mean and standard deviation of every feature, float64 [input_size] each; see :func:`apply_normalisation`."""
    means = _per_feature("mean", mean, network, layout)
    deviations = _per_feature("std", std, network, layout)
    if not (deviations > 0).all():
        raise SettingsError(f"std: got {deviations.min():g}; every value must be positive")
    return means, deviations


def _per_feature(what: str, values: ArrayLike, network: Network, layout: str) -> Array:
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
    if layout not in ("chw", "hwc"):
        raise SettingsError(f"layout: got {layout!r}; choose chw or hwc")
    channels = shape[0 if layout == "chw" else -1] if len(shape) == 3 else None
    if array.ndim == 1 and array.size == channels:
        per_channel = array[:, None, None] if layout == "chw" else array
        return np.broadcast_to(per_channel, shape).reshape(-1)
    choices = f"1 value or {size} (one per feature)" if channels is None else f"1 value, {channels} or {size}"
    raise SettingsError(
        f"{what}: got {array.size} values; the network's input has shape {shape} "
        f"({layout if len(shape) == 3 else 'no channels'}), so give {choices}"
    )
