"""Stationary points, excluded by search: the radius up to which some derivative keeps its sign, and one at which none does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.attack import Room
from distverify.analysis.bisection import SignSearch
from distverify.analysis.box_tree import pays_to_halve
from distverify.analysis.brackets import ConstantSearch
from distverify.analysis.branching.kept_signs import find_kept_sign
from distverify.analysis.signs import points_of_signs
from distverify.bounds.chain import backward_chain
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.reduced import Floats
from distverify.questions.bounder import Bounder
from distverify.questions.memory import Memory
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question, cut, stacked
from distverify.region import Ball, Balls

_POINTS = 64
# By how much a radius grows that was proved, and to what share of itself its bracket is narrowed.
_GROWTH = 1.5
_NARROW = 0.05
_RADII = 12


@dataclass(frozen=True, eq=False)
class KeptSigns(Question[Arrays]):
    """For each row over its own region: whether some derivative certainly keeps one sign, or none does.

    Attributes
    ----------
    regions : tuple of Ball
        Bounded, one for each row.
    rows : float64 [K, outputs]
    method, layer_bounds : str
    nodes : int
        Subproblems for each row, at most.
    seed : tuple of int
    seconds : float, optional
        For each row.
    """

    regions: tuple[Ball, ...]
    rows: Floats
    method: str
    layer_bounds: str
    nodes: int
    seed: tuple[int, ...]
    seconds: float | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, 1)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "clearest" [block] above 0 where a sign is kept; "lost" [block] 1 where points show that none is; "nodes" [block]."""
        found = [self._of_row(memory, k) for k in range(*block)]
        clearest, lost, nodes = (np.array([f[i] for f in found]) for i in range(3))
        return {"clearest": clearest, "lost": lost, "nodes": nodes}

    def join(self, answers: Sequence[Arrays]) -> Arrays:
        """Of all rows."""
        return {name: stacked(answers, name) for name in answers[0]}

    def _of_row(self, memory: Memory, k: int) -> tuple[float, int, int]:
        network, region, row, seed = memory.network, self.regions[k], self.rows[k : k + 1], (k, *self.seed)
        deadline = None if self.seconds is None else time.monotonic() + self.seconds
        x = Room.of(region).starts(_POINTS, np.random.default_rng(seed))
        gradients = jacobian_at(network, x, row)[:, 0]
        least, most = gradients.min(axis=0), gradients.max(axis=0)
        if not ((least > 0.0) | (most < 0.0)).any():
            everywhere = np.full(network.input_size, np.inf)
            rising, falling, _ = points_of_signs(network, region, row, -everywhere, everywhere, seed)
            return -np.inf, int(((rising >= 0) & (falling >= 0)).all()), 0
        if pays_to_halve(network, region):
            boxes = SignSearch(network, region, row, seed)
            boxes.grow(self.nodes, deadline)
            return float(np.maximum(boxes.lower, -boxes.upper).max()), int(boxes.refuted.all()), boxes.nodes
        search = ConstantSearch(network, region, np.inf, None, self.method, self.layer_bounds)
        found = find_kept_sign(
            search.problem, backward_chain(search.enclosure, row), search.enclosure.rounding, self.method, least, most, self.nodes,
            deadline,
        )  # fmt: skip
        return found.clearest, 0, found.nodes


def widen_stationary_free(
    bounder: Bounder,
    balls: Balls,
    rows: Floats,
    radii: Floats,
    nodes: int,
    seed: tuple[int, ...],
    deadline: float | None = None,
) -> tuple[Floats, Floats]:
    """Radii without stationary points, beyond those of one pass, and what limits them.

    Parameters
    ----------
    radii : float64 [K]
        Proved already; where one is 0, no derivative has a known sign at the sample, and none is looked for.
    nodes : int
        Subproblems for each row, at most.
    deadline : float, optional
        By ``time.monotonic``.

    Returns
    -------
    radii, lost : float64 [K] each
        The radii that are proved now; those of balls in which every derivative certainly takes both signs, inf where none was found.
    """
    proved, failed = radii.astype(np.float64), np.full(radii.size, np.inf)
    lost, left = np.full(radii.size, np.inf), np.full(radii.size, nodes)
    for _ in range(_RADII):
        wanted = np.where(np.isfinite(failed), 0.5 * (proved + failed), _GROWTH * proved)
        wanted = np.minimum(wanted, balls.farthest)
        open_ = (radii > 0.0) & (left > 0) & (wanted > proved) & (failed > proved * (1.0 + _NARROW))
        which = np.flatnonzero(open_)
        if not which.size or (deadline is not None and time.monotonic() >= deadline):
            break
        seconds = None if deadline is None else max(0.0, deadline - time.monotonic()) / which.size
        share = max(1, int(left[which].max()) // 2)
        question = KeptSigns(
            tuple(balls.at(float(r)) for r in wanted[which]), rows[which], bounder.method, bounder.layer_bounds, share, seed, seconds
        )  # fmt: skip
        told = bounder.ask(question)
        used = np.asarray(told["nodes"], np.int64)
        bounder.subproblems += int(used.sum())
        left[which] -= np.maximum(used, 1)
        kept = np.asarray(told["clearest"], np.float64) > 0.0
        proved[which[kept]] = wanted[which[kept]]
        failed[which[~kept]] = wanted[which[~kept]]
        gone = which[np.asarray(told["lost"], np.int64) > 0]
        lost[gone] = np.minimum(lost[gone], wanted[gone])
    return proved, lost
