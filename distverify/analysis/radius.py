"""Certified radii: by CROWN margins, and by integrating Jacobian bounds outwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.around import Around, Over
from distverify.analysis.bracket import bracket_radius
from distverify.analysis.march import march_radii
from distverify.analysis.margins import MarginProblem, margin_constants, margins_around, margins_over, pose_margins
from distverify.analysis.search import TOLERANCE, search_smallest
from distverify.arguments import class_of, network_of, whole
from distverify.bounds.jacobian import check_methods
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.bounder import Bounder
from distverify.questions.region import RegionBounds
from distverify.region import Ball, Balls
from distverify.settings import ARITHMETICS, MARCH_EVALUATIONS, MARCH_TOLERANCE
from distverify.status import BY_CROWN, BY_JACOBIAN, NO_VALUE, NOT_VERIFIED
from distverify.work import SampleResult

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CertifiedRadius:
    """No adversarial example lies closer than ``radius``.

    Attributes
    ----------
    radius : float
        The larger of ``crown`` and ``jacobian``, class by class; 0 for a misclassified sample, NaN where there is no target.
    crown, jacobian : float
        By each way.
    targets : float64 [outputs]
        For each target class: no point closer than this is classified so. NaN at the label and at classes that were not
        asked for. For an untargeted search the classes' own radii may be larger: it ends at the smallest.
    predicted : int
    crown_evaluations, jacobian_evaluations : int
        Radii at which margins were bounded by CROWN, and Jacobians (of all margins together).
    attacked : float
        Distance of the nearest counterexample that was found, never below ``radius``; inf: none, or none was looked for.
    counterexample : float64 [D] or None
        That one: in exact arithmetic, some target's output is larger there than the label's.
    nodes : int
        Subproblems that branch and bound looked at.
    """

    radius: float
    crown: float
    jacobian: float
    targets: Floats
    predicted: int
    crown_evaluations: int = 0
    jacobian_evaluations: int = 0
    attacked: float = math.inf
    counterexample: Floats | None = None
    nodes: int = 0


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
    feature_eps: ArrayLike | None = None,
    evaluations: int = MARCH_EVALUATIONS,
    tolerance: float = MARCH_TOLERANCE,
    seed: int | Sequence[int] = 0,
    arithmetic: str = "exact",
    nodes: int = 0,
    attack: bool = False,
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
    feature_eps : array_like [D], optional
        One factor per feature (see :class:`distverify.Ball`); the radius is in the norm that they scale.
    evaluations : int
        Most Jacobian bounds (of all margins together) that may be computed; more give a larger ``jacobian``.
    tolerance : float
        Relative: the march ends where more evaluations cannot raise the radius by more.
    seed : int or sequence of int
        Of the random target.
    arithmetic : "exact" or "float32"
        What the radius holds for: the network in exact arithmetic, or also as it runs in single precision, in any order of
        summation (a little smaller).
    nodes : int
        Subproblems that branch and bound may look at to enlarge ``radius``, and to find nearer counterexamples. The same
        number gives the same result, to the last bit.
    attack : bool
        Look for counterexamples beyond the radius; with ``nodes`` this is done anyhow.

    Raises
    ------
    SettingsError
        A label or target that is not an output of the network, a network with a single output, ``evaluations`` below 1,
        ``nodes`` below 0; ``nodes`` or ``attack`` in single precision.
    """
    check_methods(method, layer_bounds)
    network, label = network_of(network), class_of(label)
    if arithmetic not in ARITHMETICS:
        raise SettingsError(f"arithmetic: got {arithmetic!r}; choose {', '.join(ARITHMETICS)}")
    evaluations = whole("evaluations", evaluations, 1)
    balls = Balls(Ball(x0, 0.0, norm, clip, feature_eps).x0, norm, clip, feature_eps)
    nodes = whole("nodes", nodes, 0)
    problem = pose_margins(Bounder(network, method, layer_bounds), balls, label, targets, seed, arithmetic)
    radius = find_radius(problem, evaluations, tolerance)
    return _with_bracket(problem, radius, nodes, seed) if nodes or attack else radius


def _with_bracket(
    problem: MarginProblem,
    radius: CertifiedRadius,
    nodes: int,
    seed: int | Sequence[int],
    deadline: float | None = None,
) -> CertifiedRadius:
    """The radius with its other side, and by branch and bound; see :mod:`distverify.analysis.bracket`."""
    if not problem.targets:
        return radius
    if problem.misclassified:
        certain = problem.broken_at_centre
        return replace(radius, attacked=0.0, counterexample=problem.balls.x0.copy()) if certain else radius
    with np.errstate(divide="ignore"):
        reach = float((problem.at_centre / _centre_slopes(problem)).min())
    guess = reach if math.isfinite(reach) and reach > 0 else 1.0
    bracket = bracket_radius(problem, radius.radius, nodes, radius.radius or 0.1 * guess, seed, deadline)
    return replace(
        radius, radius=bracket.radius, targets=np.fmax(radius.targets, problem.per_output(bracket.radius)),
        attacked=bracket.attacked, counterexample=bracket.counterexample, nodes=bracket.nodes,
    )  # fmt: skip


def find_radius(problem: MarginProblem, evaluations: int, tolerance: float, *, in_full: bool = True) -> CertifiedRadius:
    """The certified radii of ``problem``; see :func:`certified_radius`.

    Parameters
    ----------
    in_full : bool
        Find ``jacobian`` whatever the CROWN radius is; else only as far as it can still raise ``radius``.
    """
    if not problem.targets or problem.misclassified:
        nothing = 0.0 if problem.predicted != problem.label or problem.targets else math.nan
        return CertifiedRadius(nothing, nothing, nothing, problem.per_output(0.0), problem.predicted)
    balls, at_centre = problem.balls, problem.at_centre
    bounded: list[float] = []

    def margins(eps: float) -> Floats:
        bounded.append(eps)
        return problem.margins(problem.enclose(eps))

    slopes = _centre_slopes(problem)
    with np.errstate(divide="ignore"):
        reach = float((at_centre / slopes).min())  # where the margins would vanish if the network were linear
    reach = reach if math.isfinite(reach) and reach > 0 else 1.0
    by_crown = search_smallest(margins, at_centre, 0.8 * reach, balls.farthest)
    guess = 0.9 * float(by_crown.min()) or 0.5 * reach
    constants = margin_constants(problem)
    enclose = lru_cache(maxsize=1)(problem.enclose)
    by_jacobian, spent = march_radii(
        lambda eps: constants(enclose(eps)), at_centre, guess, balls.farthest,
        slopes=slopes, evaluations=evaluations, tolerance=tolerance, certified=None if in_full else by_crown,
        losses=_losses(problem, enclose),
    )  # fmt: skip
    per_class = np.maximum(by_crown, by_jacobian)
    return CertifiedRadius(
        float(per_class.min()), float(by_crown.min()), float(by_jacobian.min()), problem.per_output(per_class),
        problem.predicted, len(bounded), spent,
    )  # fmt: skip


def verify_at(
    problem: MarginProblem, eps: float, evaluations: int, over: Over | None = None,
    found: CertifiedRadius | None = None,
) -> int:  # fmt: skip
    """Whether no point of the ball of radius ``eps`` is classified as a target: BY_CROWN, BY_JACOBIAN or NOT_VERIFIED.

    BY_JACOBIAN: at least one class took Jacobian bounds, the others may have been settled by CROWN. NO_VALUE: no target.

    Parameters
    ----------
    problem : MarginProblem
    evaluations : see :func:`certified_radius`
    over : Over, optional
        That ball, whose node bounds others may share.
    found : CertifiedRadius, optional
        The radii of ``problem``: where they decide, nothing is computed.
    """
    if not problem.targets:
        return NO_VALUE if problem.predicted == problem.label else NOT_VERIFIED
    if problem.misclassified:
        return NOT_VERIFIED
    if found is not None:
        if found.crown >= eps:
            return BY_CROWN
        if found.radius >= eps:
            return BY_JACOBIAN
        if eps > found.crown * (1.0 + 2.0 * TOLERANCE):
            return NOT_VERIFIED
    known = problem.enclose(eps) if over is None else over.known
    margins = problem.margins(known) if over is None else margins_over(over)
    open_ = np.flatnonzero(~(margins > 0))
    if open_.size == 0:
        return BY_CROWN
    if found is not None:
        return NOT_VERIFIED
    constants = margin_constants(problem, open_)
    enclose = lru_cache(maxsize=1)(lambda radius: known if radius == eps else problem.enclose(radius))
    by_jacobian, _ = march_radii(
        lambda radius: constants(enclose(radius)), problem.at_centre[open_], eps, eps,
        slopes=_centre_slopes(problem)[open_], evaluations=evaluations, tolerance=0.0, goal=eps,
        losses=_losses(problem, enclose, open_),
    )  # fmt: skip
    return BY_JACOBIAN if bool((by_jacobian >= eps).all()) else NOT_VERIFIED


def _losses(
    problem: MarginProblem, enclose: Callable[[float], RegionBounds], which: NDArray[np.int64] | None = None
) -> Callable[[float], Floats] | None:
    """What evaluation may take off the margins (or those of ``which``) over balls; None in exact arithmetic."""
    if problem.arithmetic == "exact":
        return None
    chosen = slice(None) if which is None else which
    return lambda eps: problem.losses(enclose(eps))[chosen]


def _centre_slopes(problem: MarginProblem) -> Floats:
    """Dual norms of the margins' gradients at the sample, about: float64 [targets]. Choices of radii only rest on them."""
    balls = problem.balls
    return problem.bounder.gradient_norms(balls.x0, problem.rows, balls.norm, balls.weights)


def certified(around: Around) -> CertifiedRadius:
    """The certified radii of a run's sample; that by Jacobian bounds in full where it was asked for."""
    settings = around.settings
    in_full = any(quantity.name == "radius_jacobian" for quantity in around.quantities)
    return find_radius(
        around.once(margins_around), settings.march_evaluations, settings.march_tolerance, in_full=in_full
    )


def bracketed(around: Around) -> CertifiedRadius:
    """The same with its other side, and by branch and bound, where a run asks for them."""
    settings, radii = around.settings, around.once(certified)
    if not settings.nodes and "attack" not in settings.compute:
        return radii
    seed = settings.seed, around.sample.index
    return _with_bracket(around.once(margins_around), radii, settings.nodes, seed, around.deadline)


def radii_of(around: Around) -> SampleResult:
    """The quantity "radius"."""
    radii = around.once(bracketed)
    return {
        "radius": radii.radius,
        "radius_crown": radii.crown,
        "radius_jacobian": radii.jacobian,
        "radius_target": radii.targets,
        "crown_evaluations": radii.crown_evaluations,
        "jacobian_evaluations": radii.jacobian_evaluations,
    }


def verdict_by_bounds(over: Over) -> int:
    """What bounds alone say of one ball, from the sample's radii where they are known; see :func:`verify_at`."""
    around = over.around
    verdicts = around.once(_verdicts)
    if over.eps not in verdicts:
        verdicts[over.eps] = verify_at(
            around.once(margins_around), over.eps, around.settings.march_evaluations, over, around.made(certified)
        )
    return verdicts[over.eps]


def _verdicts(around: Around) -> dict[float, int]:
    """By radius: the quantities "radius" and "verified" both tell them."""
    return {}
