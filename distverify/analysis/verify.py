"""Verdicts: do bounds on rows of a network's outputs hold all over a region? Certified, or broken by a counterexample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distverify.analysis.branching.boxes import Boxes
from distverify.analysis.branching.counterexamples import BoxCounterexamples, Counterexamples, Hunt, Opened, Opening
from distverify.analysis.branching.polytopes import Target
from distverify.analysis.branching.refining import Neurons
from distverify.analysis.branching.step import Effort
from distverify.analysis.branching.subproblem import Subproblem
from distverify.analysis.branching.tree import Tree
from distverify.arguments import class_of, network_of, number, numbers, whole
from distverify.bounds.jacobian import margin_rows
from distverify.bounds.reduced import Floats
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.questions.askers import Alone
from distverify.questions.question import Asker
from distverify.region import Ball, region_of

# When neurons' bounds are refined: after so many nodes of the search, by so many nodes for each row. One of the search bounds every open
# neuron twice, a node of a row's about five times, so that each time costs about as much as the search did so far.
_REFINEMENTS = ((40, 30), (600, 100), (3000, 400))

VERIFIED, FALSIFIED, UNKNOWN = "verified", "falsified", "unknown"


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
    network, region, label = network_of(network), region_of(region), class_of(label)
    targets = _targets(network, region, label, rows, bounds)
    nodes = whole("nodes", nodes, 1)
    if time_limit is not None and not number("time_limit", time_limit, "a number of seconds above 0") > 0:
        raise SettingsError(f"time_limit: got {time_limit}; give a number of seconds above 0")
    deadline = None if time_limit is None else time.monotonic() + time_limit
    return decide(network, region, targets, nodes, deadline, seed)


def decide(
    network: Network, region: Ball, targets: Sequence[Target], nodes: int, deadline: float | None = None,
    seed: int | Sequence[int] = 0, asker: Asker | None = None,
) -> Verdict:  # fmt: skip
    """Whether no point of ``region`` has outputs in one of ``targets``; ``bound`` [targets]: see :class:`Verdict`.

    Parameters
    ----------
    asker : Asker, optional
        Who computes; by default all is computed here.
    """
    return pursue(network, Hunt.of(region, targets, seed), nodes, deadline, asker)


def pursue(
    network: Network, hunt: Hunt, nodes: int, deadline: float | None = None, asker: Asker | None = None
) -> Verdict:
    """The verdict on a hunt; see :func:`decide`."""
    asker = asker or Alone(network)
    opened = asker.ask(Opening(hunt, nodes > len(hunt.targets)))
    bounds, spent = opened.bounds, len(hunt.targets)
    if opened.found is not None:
        return Verdict(FALSIFIED, bounds, opened.found, spent)
    if not opened.roots:
        return Verdict(VERIFIED, bounds, None, spent)
    by = _by_boxes if opened.bisects else _by_neurons
    tree = by(asker, hunt, opened, nodes, deadline)
    bounds = _bounds_now(bounds, tree.left)
    if tree.found:
        return Verdict(FALSIFIED, bounds, tree.found[0], tree.nodes)
    status = VERIFIED if bool((bounds > 0.0).all()) else UNKNOWN
    return Verdict(status, bounds, None, tree.nodes)


def _by_boxes(asker: Asker, hunt: Hunt, opened: Opened, nodes: int, deadline: float | None) -> Tree[Any]:
    """The tree of a search that bisects the input."""
    tree = Tree(asker, BoxCounterexamples(hunt), len(hunt.targets))
    tree.push(BoxCounterexamples.whole(hunt.region, root.polytope) for root in opened.roots)
    tree.grow(nodes, deadline)
    return tree


def _by_neurons(asker: Asker, hunt: Hunt, opened: Opened, nodes: int, deadline: float | None) -> Tree[Any]:
    """The tree of a search that splits neurons: where it grows large, neurons' bounds are refined now and then."""
    neurons = Neurons(opened.lower, opened.upper, opened.alpha, opened.groups, opened.splits)
    tree = Tree(asker, _splitting(hunt, neurons), len(hunt.targets))
    tree.push(opened.roots)
    for until, each in _REFINEMENTS:
        tree.grow(min(nodes, until), deadline)
        if not tree.goes_on(nodes, deadline):
            return tree
        neurons = neurons.refined(asker, hunt, each, deadline)
        tree.objective = _splitting(hunt, neurons)
    tree.grow(nodes, deadline)
    return tree


def _splitting(hunt: Hunt, neurons: Neurons) -> Counterexamples:
    return Counterexamples(hunt, neurons.lower, neurons.upper, neurons.alpha, Effort())


def _bounds_now(bounds: Floats, left: Sequence[Subproblem | Boxes]) -> Floats:
    """The targets' bounds, given what is left of the search: where nothing is, no more than 0 is claimed."""
    open_ = np.full(bounds.size, np.inf)
    for sub in left:
        open_[sub.polytope] = min(open_[sub.polytope], sub.bound)
    proved = np.nextafter(0.0, 1.0)
    return np.where(bounds > 0.0, bounds, np.maximum(bounds, np.minimum(open_, proved)))


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
        weights = np.atleast_2d(numbers("rows", rows, f"finite numbers [K, {outputs}]"))
        if weights.ndim != 2 or weights.shape[1] != outputs or not np.isfinite(weights).all():
            raise SettingsError(f"rows: got shape {np.shape(rows)}; give finite numbers [K, {outputs}]")
    least = (
        np.zeros(weights.shape[0])
        if bounds is None
        else numbers("bounds", bounds, "a finite number per row").reshape(-1)
    )
    if least.size != weights.shape[0] or not np.isfinite(least).all():
        raise SettingsError(
            f"bounds: got {least.size} values for {weights.shape[0]} rows; give a finite number per row"
        )
    nothing = np.zeros(1)
    return [Target(np.ascontiguousarray(row[None]), least[k : k + 1], nothing) for k, row in enumerate(weights)]
