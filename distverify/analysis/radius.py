"""Certified radii: by CROWN margins, and by integrating Jacobian bounds outwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.search import search_smallest
from distverify.bounds import crown
from distverify.bounds.enclosure import enclose
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import check_methods, margin_rows
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import bound_rows
from distverify.errors import SettingsError
from distverify.kernels.rounding import SOUND
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import TARGETS

Floats = NDArray[np.float64]

# Steps of the march to the CROWN radius, and the most that it may take in all.
_STEPS = 15
_MAX_STEPS = 40


@dataclass(frozen=True, eq=False)
class CertifiedRadius:
    """No adversarial example lies closer than ``radius``.

    Attributes
    ----------
    radius : float
        The larger of ``crown`` and ``jacobian``; 0 for a misclassified sample, NaN where there is no target.
    crown, jacobian : float
        By each way.
    targets : float64 [outputs]
        For each target class: no point closer than this is classified so. NaN at the label and at classes that were not
        asked for. For an untargeted search the classes' own radii may be larger: it ends at the smallest.
    predicted : int
    """

    radius: float
    crown: float
    jacobian: float
    targets: Floats
    predicted: int


def certified_radius(
    network: Network,
    x0: ArrayLike,
    label: int | None = None,
    *,
    norm: float = math.inf,
    targets: str | int = "untargeted",
    method: str = "linear",
    layer_bounds: str = "crown",
    clip: tuple[float, float] | None = None,
    seed: int | Sequence[int] = 0,
) -> CertifiedRadius:
    """Radii of balls around ``x0`` in which the network's class is certainly ``label``.

    Parameters
    ----------
    x0 : array_like [D]
    label : int, optional
        The true class; by default the predicted one.
    norm : inf, 2 or 1
    targets : "untargeted", "runner-up", "least-likely", "random" or a class index
        Which classes an attacker wants.
    method, layer_bounds : see :func:`distverify.jacobian_bounds`
    clip : (lo, hi), optional
        Only points in this box count.
    seed : int or sequence of int
        Of the random target.

    Raises
    ------
    SettingsError
        A label or target that is not an output of the network, or a network with a single output.
    """
    check_methods(method, layer_bounds)
    outputs = network.output_size
    if outputs < 2:
        raise SettingsError(f"network: has {outputs} output; a certified radius compares at least two classes")
    centre = Ball(x0, 0.0, norm, clip).x0
    logits = network(centre)[0]
    predicted = int(np.argmax(logits))
    label = predicted if label is None or label < 0 else int(label)
    if label >= outputs:
        raise SettingsError(f"label: got {label}; the network has classes 0 to {outputs - 1}")
    chosen = choose_targets(logits, label, targets, seed)
    per_class = np.full(outputs, np.nan)
    if predicted != label:
        per_class[chosen] = 0.0
        return CertifiedRadius(0.0, 0.0, 0.0, per_class, predicted)
    if not chosen:
        return CertifiedRadius(math.nan, math.nan, math.nan, per_class, predicted)
    rows = margin_rows(outputs, label, chosen)

    def margins(eps: float) -> Floats:
        return crown.row_bounds(enclose(network, Ball(centre, eps, norm, clip), layer_bounds).reduced, rows)[0]

    at_centre = margins(0.0)
    if not (at_centre > 0).all():
        per_class[chosen] = 0.0
        return CertifiedRadius(0.0, 0.0, 0.0, per_class, predicted)
    gradients = jacobian_at(network, centre[None], rows)[0]
    reach = first_order_radius(at_centre, gradients, norm)
    limit = search_limit(centre, norm, clip)
    by_crown = search_smallest(margins, at_centre, 0.8 * reach, limit)

    def constants(eps: float) -> Floats:
        enclosure = enclose(network, Ball(centre, eps, norm, clip), layer_bounds)
        return row_constants(bound_rows(enclosure, rows, method), norm)

    step = by_crown.min() / _STEPS if by_crown.min() > 0 else min(reach, limit) / (2 * _STEPS)
    by_jacobian = march_radii(constants, at_centre, step, limit)
    per_class[chosen] = np.maximum(by_crown, by_jacobian)
    crown_radius, jacobian_radius = float(by_crown.min()), float(by_jacobian.min())
    return CertifiedRadius(float(per_class[chosen].min()), crown_radius, jacobian_radius, per_class, predicted)


def choose_targets(logits: Floats, label: int, targets: str | int, seed: int | Sequence[int]) -> list[int]:
    """The classes that an attack on ``label`` may aim at; none where the one asked for is the label itself."""
    others = [j for j in range(logits.size) if j != label]
    if targets == "untargeted":
        return others
    if targets == "runner-up":
        return [max(others, key=lambda j: float(logits[j]))]
    if targets == "least-likely":
        return [min(others, key=lambda j: float(logits[j]))]
    if targets == "random":
        return [int(np.random.default_rng(seed).choice(others))]
    if isinstance(targets, str):
        raise SettingsError(f"targets: got {targets!r}; choose {', '.join(TARGETS)} or a class index")
    if not 0 <= targets < logits.size:
        raise SettingsError(f"targets: got class {targets}; the network has classes 0 to {logits.size - 1}")
    return [int(targets)] if targets != label else []


def first_order_radius(margins: Floats, gradients: Floats, norm: float) -> float:
    """Where the margins would vanish if the network were linear: a scale for searches, not a bound."""
    dual = {math.inf: 1, 2.0: 2, 1.0: np.inf}[norm]
    sizes = np.linalg.norm(gradients, ord=dual, axis=1)
    with np.errstate(divide="ignore"):
        reach = float((margins / sizes).min())
    return reach if math.isfinite(reach) and reach > 0 else 1.0


def search_limit(centre: Floats, norm: float, clip: tuple[float, float] | None) -> float:
    """A radius past which nothing is searched: the farthest point of the box, or a million times the data's scale."""
    if clip is None:
        return 1e6 * max(1.0, float(np.abs(centre).max()))
    reach = np.maximum(clip[1] - centre, centre - clip[0])
    return float(np.linalg.norm(reach, ord={math.inf: np.inf, 2.0: 2, 1.0: 1}[norm])) * (1 + 1e-9)


def march_radii(constants: Callable[[float], Floats], at_zero: Floats, step: float, limit: float) -> Floats:
    """Certified radii from margin(x) >= margin(x0) - integral of L(r) dr, marching outwards in steps.

    On each step the Lipschitz constant of its outer end holds, since L does not decrease with the radius. The march ends in
    the step in which the first margin is used up, at the exact point.

    Parameters
    ----------
    constants : callable (radius) -> float64 [K]
        Sound Lipschitz constants of the K margins over the ball.
    at_zero : float64 [K]
        Sound lower bounds of the margins at the centre.
    step : float
    limit : float

    Returns
    -------
    float64 [K]
    """
    shrink, grow = 1.0 - 8 * SOUND.unit, 1.0 + 8 * SOUND.unit
    left = at_zero.copy()
    reached = 0.0
    radii = np.zeros(at_zero.size)
    for number in range(1, _MAX_STEPS + 1):
        outer = min(number * step, limit)
        width = (outer - reached) * grow
        slope = constants(outer) * grow
        slope = np.where(np.isnan(slope), np.inf, slope)
        spent = np.where(slope > 0, slope * width, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = reached + np.where(np.isfinite(slope), left / slope, 0.0) * shrink
        radii = np.where(spent < left * shrink, outer, np.fmin(inside * shrink, outer))
        if not (spent < left * shrink).all() or outer >= limit:
            break
        left = (left - spent) * shrink
        reached = outer
    return radii
