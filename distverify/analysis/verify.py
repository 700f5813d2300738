"""Verdicts: do bounds on rows of a network's outputs hold all over a region? Certified, or broken by a counterexample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from distverify.analysis.attack import Attacker
from distverify.analysis.branching.boxes import Bisection, suits_bisection
from distverify.analysis.branching.polytopes import Target, pose
from distverify.analysis.branching.tree import Tree, Trial
from distverify.bounds.enclosure import enclose
from distverify.bounds.jacobian import margin_rows
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.region import Ball

VERIFIED, FALSIFIED, UNKNOWN = "verified", "falsified", "unknown"
# Dual minimisers get a short descent now and then; a look at the point itself costs next to nothing.
_DESCENT_EVERY = 16


@dataclass(frozen=True, eq=False)
class Verdict:
    """Whether ``rows @ f > bounds`` all over the region.

    Attributes
    ----------
    status : "verified", "falsified" or "unknown"
    bound : float64 [K]
        Sound lower bounds of ``rows @ f - bounds`` over the region. A row that branch and bound proved positive has the
        smallest positive number: by how much was not asked.
    counterexample : float64 [D] or None
        A point of the region at which some row is at most its bound, in exact arithmetic; where the status is "falsified".
    nodes : int
        Subproblems that were bounded.
    """

    status: str
    bound: Floats
    counterexample: Floats | None
    nodes: int


def verify(
    network: Network,
    region: Ball,
    label: int | None = None,
    rows: ArrayLike | None = None,
    bounds: ArrayLike | None = None,
    nodes: int = 10_000,
    time_limit: float | None = None,
    *,
    seed: int | Sequence[int] = 0,
) -> Verdict:
    """Decide whether ``rows @ f(x) > bounds`` for every x of ``region``.

    An attack looks for a counterexample, then branch and bound settles what it can: the search is complete for
    piecewise linear networks and norm inf, given nodes enough.

    Parameters
    ----------
    region : Ball or Box
    label : int, optional
        Rows are the margins of this class over all others; by default of the class predicted at the region's centre.
    rows : array_like [K, outputs], optional
        Instead of a label.
    bounds : array_like [K], optional
        Of the rows; 0 by default.
    nodes : int
        Subproblems to bound at most. The same number gives the same result, to the last bit.
    time_limit : float, optional
        Seconds; what is proved by then is returned.
    seed : int or sequence of int
        Of the attack's starting points.

    Raises
    ------
    SettingsError
        Both or neither of what says the rows, sizes that do not fit the network, an unbounded region, a budget below 1.
    """
    targets = _targets(network, region, label, rows, bounds)
    if nodes < 1:
        raise SettingsError(f"nodes: got {nodes}; give a whole number of at least 1")
    if time_limit is not None and not time_limit > 0:
        raise SettingsError(f"time_limit: got {time_limit}; give a number of seconds above 0")
    deadline = None if time_limit is None else time.monotonic() + time_limit
    return decide(network, region, targets, nodes, deadline, seed)


def decide(
    network: Network, region: Ball, targets: Sequence[Target], nodes: int, deadline: float | None = None,
    seed: int | Sequence[int] = 0,
) -> Verdict:  # fmt: skip
    """Whether no point of ``region`` has outputs in one of ``targets``; ``bound`` [targets], see :class:`Tree`."""
    enclosure = enclose(network, region, fold=True)
    tree = Tree(pose(enclosure, targets))
    tree.plant()
    if bool((tree.bounds > 0.0).all()):
        return Verdict(VERIFIED, tree.bounds, None, tree.nodes)
    attacker = Attacker(network, region, targets, seed)
    open_ = np.flatnonzero(~(tree.bounds > 0.0))
    hardest_first = open_[np.argsort(tree.bounds[open_], kind="stable")]
    found = attacker.search([int(k) for k in hardest_first])
    looked = 0

    def trial(target: int, points: Floats) -> Floats | None:
        nonlocal looked
        looked += 1
        steps = 10 if looked % _DESCENT_EVERY == 1 else 0
        return attacker.from_points(target, tree.problem.packed.point(points), steps)

    if found is None and nodes > tree.nodes:
        if suits_bisection(tree.problem):
            found = _bisect(tree, [int(k) for k in open_], nodes, trial, deadline)
        else:
            tree.refine()
            tree.grow(nodes, trial=trial, deadline=deadline)
            found = tree.counterexample
    if found is not None:
        return Verdict(FALSIFIED, tree.bounds, found, tree.nodes)
    status = VERIFIED if bool((tree.bounds > 0.0).all()) else UNKNOWN
    return Verdict(status, tree.bounds, None, tree.nodes)


def _bisect(tree: Tree, which: list[int], nodes: int, trial: Trial, deadline: float | None) -> Floats | None:
    """Settle the targets by bisecting the input, one after the other, with an equal share of the nodes that are left."""
    for position, k in enumerate(which):
        bisection = Bisection(tree.problem, k)
        bisection.grow((nodes - tree.nodes) // (len(which) - position), trial, deadline)
        tree.nodes += bisection.nodes
        tree.bounds[k] = max(tree.bounds[k], min(bisection.bound, np.nextafter(0.0, 1.0)))
        if bisection.counterexample is not None:
            return bisection.counterexample
    return None


def _targets(
    network: Network, region: Ball, label: int | None, rows: ArrayLike | None, bounds: ArrayLike | None
) -> list[Target]:
    if region.unbounded:
        raise SettingsError("region: is unbounded; verify takes a bounded one")
    if rows is not None and label is not None:
        raise SettingsError(f"rows, label: got both (label {label}); give the label, or rows of your own")
    outputs = network.output_size
    if rows is None:
        if outputs < 2:
            raise SettingsError(f"network: has {outputs} output, and margins take at least two classes; give rows")
        label = int(np.argmax(network(region.x0)[0])) if label is None else int(label)
        if not 0 <= label < outputs:
            raise SettingsError(f"label: got {label}; the network has classes 0 to {outputs - 1}")
        weights = margin_rows(outputs, label)
    else:
        weights = np.atleast_2d(np.asarray(rows, dtype=np.float64))
        if weights.ndim != 2 or weights.shape[1] != outputs or not np.isfinite(weights).all():
            raise SettingsError(f"rows: got shape {np.shape(rows)}; give finite numbers [K, {outputs}]")
    least = np.zeros(weights.shape[0]) if bounds is None else np.asarray(bounds, dtype=np.float64).reshape(-1)
    if least.size != weights.shape[0] or not np.isfinite(least).all():
        raise SettingsError(
            f"bounds: got {least.size} values for {weights.shape[0]} rows; give a finite number per row"
        )
    nothing = np.zeros(1)
    return [Target(np.ascontiguousarray(row[None]), least[k : k + 1], nothing) for k, row in enumerate(weights)]
