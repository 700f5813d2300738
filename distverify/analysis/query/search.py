"""Cases that exact search leaves open: bounds, attack and branch and bound in floating point, with rounding on the sound side."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.attack import Attacker
from distverify.analysis.branching.counterexamples import Hunt
from distverify.analysis.branching.polytopes import Target
from distverify.analysis.query.joint import Joint
from distverify.analysis.query.open_case import OpenCase
from distverify.analysis.query.rows import Alternative, Sizes, alternatives
from distverify.analysis.query.space import Sides
from distverify.analysis.query.witness import Judge, Witness
from distverify.analysis.verify import VERIFIED, pursue
from distverify.bounds.enclosure import enclose
from distverify.bounds.evaluation import ErrorsOver
from distverify.kernels.rounding import SOUND
from distverify.questions.memory import Memory
from distverify.region import Box

Floats = NDArray[np.float64]
# Where an input has no bounds, or far ones, points are looked for in windows of these half-widths.
_WINDOWS = (1.0, 30.0, 1000.0, 1e7)
_WIDE = 1e5
_SAMPLES = 400


@dataclass(frozen=True, eq=False)
class WitnessSearch(Attacker):
    """Looks for points that a judge accepts.

    Attributes
    ----------
    judge : Judge
    found : callable (Witness)
        Takes the first one, and need not return.
    """

    judge: Judge | None = None
    found: Callable[[Witness], None] = lambda witness: None
    sides: Sides | None = None

    def confirm(self, target: int, x: Floats) -> Floats | None:
        """``x`` if it is a witness."""
        assert self.judge is not None
        witness = self.judge.accept(x, self.sides)
        if witness is None:
            return None
        self.found(witness)
        return x.copy()


@dataclass(frozen=True, eq=False)
class WitnessHunt(Hunt):
    """A hunt whose attacker asks a judge."""

    judge: Judge | None = None
    found: Callable[[Witness], None] = lambda witness: None
    sides: Sides | None = None

    def attacker(self, memory: Memory) -> Attacker:
        """See :class:`WitnessSearch`."""
        return WitnessSearch(
            memory.network,
            self.region,
            self.targets,
            self.seed,
            self.inner,
            judge=self.judge,
            found=self.found,
            sides=self.sides,
        )


def search(
    cases: Sequence[OpenCase], deadline: float | None, nodes: int, found: Callable[[Witness], None]
) -> list[OpenCase]:
    """The cases that stay open after a search of at most ``nodes`` subproblems each."""
    groups: dict[tuple[int, tuple[tuple[float, ...], tuple[float, ...]] | None], list[OpenCase]] = {}
    for case in cases:
        groups.setdefault((id(case.joint), case.sides.box()), []).append(case)
    left: list[OpenCase] = []
    for position, ((_, box), group) in enumerate(groups.items()):
        now = time.monotonic()
        ends = None if deadline is None else now + max(0.0, deadline - now) / (len(groups) - position)
        if box is None or not group[0].judge.readable:
            for case in group:
                _look(case, found)
            left += group
            continue
        wide = any(high - low > _WIDE for low, high in zip(*box, strict=True))
        if wide:
            for case in group:
                _look(case, found)
        left += _search_box(group, np.array(box[0]), np.array(box[1]), nodes, ends, found)
    return left


def _search_box(
    group: list[OpenCase], low: Floats, high: Floats, nodes: int, ends: float | None, found: Callable[[Witness], None]
) -> list[OpenCase]:
    joint, judge = group[0].joint, group[0].judge
    region = Box(low, high)
    network = joint.network
    size = np.zeros(network.output_size)
    errors: ErrorsOver | None = None
    sizes: Sizes | None = None
    if joint.bound.format is not None or not _plain_weights(group):
        plain = enclose(joint.plain, region).linear_bounds
        size = np.maximum(*map(np.abs, plain[joint.plain.output]))
        if joint.bound.format is not None:
            errors = joint.errors(region, plain)
            sizes = joint.sizes(plain, errors.outputs, low, high, joint.bound.format)
            if sizes is None:
                for case in group:
                    _look(case, found)
                return group
            size = size + errors.outputs
    columns = joint.columns
    lead = {p: columns[e] for e, p in joint.space.of.items() if e in columns}
    place = {**columns, **{e: lead[p] for e, p in joint.space.of.items() if p in lead}}
    targets: list[Target] = []
    owners: list[OpenCase] = []
    for case in group:
        for alternative in alternatives(case.case, place, sizes):
            targets.append(target_of(alternative, network.output_size, size, errors))
            owners.append(case)
    if not targets:
        return []
    bare = {id(owner) for owner, target in zip(owners, targets, strict=True) if target.bounds.size == 0}
    if bare:
        # Nothing that bounds could contradict: such a case is for a judge alone.
        for case in group:
            _look(case, found)
        others = [case for case in group if id(case) not in bare]
        left = _search_box(others, low, high, nodes, ends, found) if others else []
        return [*left, *(case for case in group if id(case) in bare)]
    _corners(judge, group[0].sides, low, high, found)
    known = Hunt.of(region, targets, 0)
    hunt = WitnessHunt(known.key, known.region, known.targets, known.seed, known.inner, judge, found, group[0].sides)
    verdict = pursue(network, hunt, nodes * len(targets), ends)
    if verdict.status == VERIFIED:
        return []
    open_ = {id(owner) for owner, bound in zip(owners, verdict.bound, strict=True) if not bound > 0.0}
    return [case for case in group if id(case) in open_]


def _plain_weights(group: Sequence[OpenCase]) -> bool:
    """Whether all coefficients are float64 numbers."""
    return all(Fraction(float(w)) == w for case in group for atom in case.case.atoms for w in atom.polynomial.values())


def _corners(judge: Judge, sides: Sides, low: Floats, high: Floats, found: Callable[[Witness], None]) -> None:
    for point in (np.clip(0.5 * low + 0.5 * high, low, high), low, high):
        witness = judge.accept(point, sides)
        if witness is not None:
            found(witness)


def target_of(alternative: Alternative, outputs: int, size: Floats, errors: ErrorsOver | None) -> Target:
    """An alternative's rows as numbers of float64, with what that rounds and what evaluation may change."""
    rows = np.zeros((len(alternative.rows), outputs))
    bounds, off = np.zeros(len(alternative.rows)), np.zeros(len(alternative.rows))
    for k, row in enumerate(alternative.rows):
        inexact = np.zeros(outputs)
        for column, weight in row.weights.items():
            rows[k, column] = float(weight)
            inexact[column] = _up(abs(weight - Fraction(float(rows[k, column]))))
        bounds[k] = _up(row.bound)
        total = float(inexact @ size)
        off[k] = np.nextafter(total * (1.0 + SOUND.gamma(2 * outputs + 4)), np.inf) if total else 0.0
    if errors is not None:
        off = np.nextafter(off + errors.of_sums(rows), np.inf)
    return Target(rows, bounds, off)


def _up(exact: Fraction) -> float:
    value = float(exact)
    return math.nextafter(value, math.inf) if Fraction(value) < exact else value


def _look(case: OpenCase, found: Callable[[Witness], None]) -> None:
    """Try points of windows around what bounds there are."""
    rng = np.random.default_rng(0)
    sides, judge = case.sides, case.judge
    for width in _WINDOWS:
        low, high = window(sides.lower, sides.upper, width)
        region = Box(low, high)
        if judge.readable:
            joint: Joint = judge.joint
            columns = joint.columns
            lead = {p: columns[e] for e, p in joint.space.of.items() if e in columns}
            place = {**columns, **{e: lead[p] for e, p in joint.space.of.items() if p in lead}}
            zeros = np.zeros(joint.network.output_size)
            targets = [
                target_of(a, joint.network.output_size, zeros, None) for a in alternatives(case.case, place, None)
            ]
            if targets:
                WitnessSearch(joint.network, region, targets, 0, None, judge, found, sides).search(
                    list(range(len(targets)))
                )
            continue
        points = low + rng.random((_SAMPLES, low.size)) * (high - low)
        points[: _SAMPLES // 4] = np.where(rng.random((_SAMPLES // 4, low.size)) < 0.5, low, high)
        points[0], points[1], points[2] = 0.5 * low + 0.5 * high, low, high
        for point in points:
            witness = judge.accept(np.clip(point, low, high))
            if witness is not None:
                found(witness)


def window(
    lower: Sequence[tuple[Fraction, bool] | None], upper: Sequence[tuple[Fraction, bool] | None], width: float
) -> tuple[Floats, Floats]:
    """A box of bounded width within the sides."""
    low, high = np.empty(len(lower)), np.empty(len(lower))
    for i, (a, b) in enumerate(zip(lower, upper, strict=True)):
        start = None if a is None or abs(a[0]) > 1e30 else float(a[0])
        end = None if b is None or abs(b[0]) > 1e30 else float(b[0])
        if start is None and end is None:
            start, end = -width, width
        elif start is None:
            assert end is not None
            start = end - 2.0 * width
        elif end is None:
            end = start + 2.0 * width
        assert end is not None
        if end - start > 2.0 * width:
            middle = min(max(0.0, start + width), end - width)
            start, end = middle - width, middle + width
        low[i], high[i] = start, end
    return low, np.maximum(low, high)
