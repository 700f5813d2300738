"""Searches for counterexamples as questions: how one begins, and what it does with a subproblem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from distverify.analysis.attack import Attacker
from distverify.analysis.branching.boxes import Bisection, Boxes, into_cube, out_of_cube, suits_bisection
from distverify.analysis.branching.polytopes import Problem, Target, pose, with_own_slopes
from distverify.analysis.branching.stack import Stack
from distverify.analysis.branching.step import Effort, process
from distverify.analysis.branching.subproblem import Subproblem
from distverify.analysis.branching.subtrees import Objective, Step
from distverify.bounds.alpha import bound_rows
from distverify.bounds.enclosure import enclose
from distverify.bounds.packed import Flags, Indices
from distverify.bounds.reduced import Floats
from distverify.questions.memory import Memory, own_array
from distverify.questions.packing import digest_of
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Cuts, Question
from distverify.region import Ball, Box

_ROOT_STEPS = 20
# Dual minimisers get a short descent now and then; a look at the point itself costs next to nothing.
_DESCENT_EVERY = 16
_DESCENT_STEPS = 10
# The boxes that a step leaves are dealt to at most so many subproblems, as a power of two.
_LEVELS = 2
# Of the ascent for the box around them all.
_FRAME_STEPS = 10


@dataclass(frozen=True, eq=False)
class Hunt:
    """Points of a region whose outputs lie in one of some polytopes.

    Attributes
    ----------
    key : str
        Hash of the rest.
    region : Ball
    targets : tuple of Target
    seed : tuple of int
        Of the attack's starting points.
    inner : (lower, upper), float64 [D] each, optional
        The box in which points count, where it is smaller than the region: empty where no float64 number is certainly inside.
    """

    key: str
    region: Ball
    targets: tuple[Target, ...]
    seed: tuple[int, ...]
    inner: tuple[Floats, Floats] | None = None

    @classmethod
    def of(
        cls,
        region: Ball,
        targets: Sequence[Target],
        seed: int | Sequence[int],
        inner: tuple[Floats, Floats] | None = None,
    ) -> Hunt:
        """With its hash."""
        seeds = (seed,) if isinstance(seed, int) else tuple(int(s) for s in seed)
        if isinstance(region, Box):
            # The same ball as on its way to workers; its points are those of the box.
            inner = region.inner_box if inner is None else inner
            region = Ball(region.x0, region.eps, region.norm, region.clip_box)
        return cls(digest_of((region, tuple(targets))), region, tuple(targets), seeds, inner)

    def problem(self, memory: Memory) -> Problem:
        """The packed network over the region, with its bounds as they are at first."""
        return memory.kept(self.key, lambda: pose(enclose(memory.network, self.region, fold=True), self._own_targets()))

    def attacker(self, memory: Memory) -> Attacker:
        return Attacker(memory.network, self.region, self.targets, self.seed, self.inner)

    def _own_targets(self) -> tuple[Target, ...]:
        return tuple(Target(own_array(t.rows), own_array(t.bounds), own_array(t.off)) for t in self.targets)


@dataclass(frozen=True, eq=False)
class Counterexamples(Objective[Subproblem]):
    """A search by splits of neurons.

    Attributes
    ----------
    hunt : Hunt
    lower, upper, alpha : float64 arrays
        See :class:`distverify.analysis.branching.polytopes.Problem`.
    effort : Effort
    """

    hunt: Hunt
    lower: Floats
    upper: Floats
    alpha: Floats
    effort: Effort

    def begin(self, memory: Memory) -> Callable[[Subproblem, int], Step[Subproblem]]:
        """See :class:`Objective`."""
        problem = replace(self.hunt.problem(memory), lower=self.lower, upper=self.upper, alpha=self.alpha)
        attacker = self.hunt.attacker(memory)
        looked = 0

        def step(sub: Subproblem, most: int) -> Step[Subproblem]:
            nonlocal looked
            # What was refined since the subproblem was made holds in it too.
            sub = replace(sub, lower=np.fmax(sub.lower, self.lower), upper=np.fmin(sub.upper, self.upper))
            if (sub.lower > sub.upper).any():
                return Step()
            outcome = process(problem, sub, self.effort)
            found = None
            if outcome.points is not None:
                steps = _DESCENT_STEPS if looked % _DESCENT_EVERY == 0 else 0
                looked += 1
                found = attacker.from_points(sub.polytope, problem.packed.point(outcome.points), steps)
            if outcome.bound > 0.0:
                return Step(found=found)
            return Step(outcome.children, [replace(sub, bound=outcome.bound)] if outcome.stuck else [], found)

        return step


@dataclass(frozen=True, eq=False)
class BoxCounterexamples(Objective[Boxes]):
    """A search by bisecting the input. Every step makes a packed network of its own for the smallest box around what it is about:
    most neurons are stable there.

    Attributes
    ----------
    hunt : Hunt
    """

    nodes_of_subtree: ClassVar[int] = 2048
    nodes_while_narrow: ClassVar[int] = 512
    together: ClassVar[int] = 2

    hunt: Hunt

    @classmethod
    def whole(cls, region: Ball, polytope: int) -> Boxes:
        """The region as one box."""
        low, high = region.box
        free = low < high
        return Boxes(polytope, low[None, free], high[None, free], np.full(1, -np.inf))

    def begin(self, memory: Memory) -> Callable[[Boxes, int], Step[Boxes]]:
        """See :class:`Objective`."""
        attacker, looked = self.hunt.attacker(memory), 0
        low, high = self.hunt.region.box
        free = np.flatnonzero(low < high)

        def step(boxes: Boxes, most: int) -> Step[Boxes]:
            lower, upper = low.copy(), high.copy()
            lower[free], upper[free] = boxes.frame
            target = self.hunt.targets[boxes.polytope]
            problem = pose(enclose(memory.network, Box(lower, upper), fold=True), [target])
            packed = problem.packed
            if bound_rows(packed, problem.rows[0], _FRAME_STEPS, goal=0.0).bounds.max() > 0.0:
                return Step()

            def trial(_: int, points: Floats) -> Floats | None:
                nonlocal looked
                steps = _DESCENT_STEPS if looked % _DESCENT_EVERY == 0 else 0
                looked += 1
                return attacker.from_points(boxes.polytope, packed.point(points), steps)

            own = np.searchsorted(free, packed.features)
            search = Bisection(problem, 0, *into_cube(packed, boxes.lower[:, own], boxes.upper[:, own]), boxes.bounds)
            if not own.size:  # a single point, that rounding leaves open
                return Step([], [boxes], trial(0, np.zeros((1, 0))))
            search.grow(most, trial)
            left = (
                np.repeat(lower[None, free], search.bounds.size, axis=0),
                np.repeat(upper[None, free], search.bounds.size, axis=0),
            )
            for side, values in zip(left, out_of_cube(packed, search.lower, search.upper), strict=True):
                side[:, own] = np.clip(values, lower[packed.features], upper[packed.features])
            rest = Boxes(boxes.polytope, *left, search.bounds)
            return Step(rest.parts(_LEVELS), [], search.counterexample, max(1, search.nodes))

        return step


@dataclass(frozen=True, eq=False)
class Attack(Question[Floats | None]):
    """Look for a counterexample x [D] by attack alone."""

    hunt: Hunt

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """One block."""
        return [(0, 1)]

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "found", where there is one."""
        found = self.hunt.attacker(memory).search(range(len(self.hunt.targets)))
        return {} if found is None else {"found": found}

    def join(self, answers: Sequence[Arrays]) -> Floats | None:
        """That one."""
        found = answers[0].get("found")
        return None if found is None else np.array(found, dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Opened:
    """How a search begins.

    Attributes
    ----------
    bounds : float64 [targets]
        For each target, by how much some constraint is violated all over the region, at least.
    found : float64 [D] or None
        A counterexample.
    bisects : bool
        The input is to be bisected rather than neurons split.
    lower, upper, alpha : float64 arrays
        Of the problem, neurons' bounds refined where neurons are to be split.
    groups, splits : int64 [N], bool [N]
        The same number for all neurons of a group, and which neurons have two straight pieces.
    roots : list of Subproblem
        One for each target that is open.
    """

    bounds: Floats
    found: Floats | None
    bisects: bool
    lower: Floats
    upper: Floats
    alpha: Floats
    groups: Indices
    splits: Flags
    roots: list[Subproblem]


@dataclass(frozen=True, eq=False)
class Opening(Question[Opened]):
    """Bound every target over the whole region by optimised slopes, attack those that stay open, and make ready to split.

    Attributes
    ----------
    hunt : Hunt
    grows : bool
        Whether subproblems will be bounded.
    """

    hunt: Hunt
    grows: bool

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """One block."""
        return [(0, 1)]

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """All of :class:`Opened`."""
        problem = self.hunt.problem(memory)
        bounds, slopes = _at_the_root(problem)
        open_ = np.flatnonzero(~(bounds > 0.0))
        answer: Arrays = {"bounds": bounds, "bisects": np.array([suits_bisection(problem)])}
        if open_.size:
            hardest_first = open_[np.argsort(bounds[open_], kind="stable")]
            found = self.hunt.attacker(memory).search([int(k) for k in hardest_first])
            if found is not None:
                answer["found"] = found
            elif self.grows and not answer["bisects"][0]:
                problem = with_own_slopes(problem)
        answer |= {"lower": problem.lower, "upper": problem.upper, "alpha": problem.alpha}
        answer |= {"groups": problem.packed.ends, "splits": problem.packed.optional}
        return answer | Stack.of(Subproblem, [_root(problem, int(k), bounds[k], slopes[k]) for k in open_]).named(
            "root."
        )

    def join(self, answers: Sequence[Arrays]) -> Opened:
        """That answer."""
        answer = answers[0]
        found = np.array(answer["found"], dtype=np.float64) if "found" in answer else None
        roots = Stack.read(Subproblem, answer, "root.").items()
        lower, upper, alpha = (np.asarray(answer[name], dtype=np.float64) for name in ("lower", "upper", "alpha"))
        return Opened(
            np.array(answer["bounds"]),
            found,
            bool(answer["bisects"][0]),
            lower,
            upper,
            alpha,
            np.asarray(answer["groups"], dtype=np.int64),
            np.asarray(answer["splits"], dtype=np.bool_),
            roots,
        )


def _at_the_root(problem: Problem) -> tuple[Floats, list[Floats]]:
    """Each target's bound over the region, float64 [targets], and the slopes of its rows."""
    packed = problem.packed
    bounds, slopes = np.full(len(problem.targets), -np.inf), []
    for k, rows in enumerate(problem.rows):
        if rows.count == 0:
            # No constraint on the outputs: every input of the region is a counterexample.
            slopes.append(np.zeros((0, packed.neurons)))
            continue
        ascent = bound_rows(packed, rows, _ROOT_STEPS, goal=0.0)
        bounds[k] = float(ascent.bounds.max())
        slopes.append(ascent.slopes)
    return bounds, slopes


def _root(problem: Problem, target: int, bound: float, slopes: Floats) -> Subproblem:
    nothing = np.zeros(0)
    return Subproblem(
        target, float(bound), problem.lower, problem.upper, np.zeros(0, dtype=np.int64), nothing, nothing, slopes,
        np.zeros(problem.rows[target].count),
    )  # fmt: skip
