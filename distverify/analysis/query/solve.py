"""The verdict on a query: cases, one after the other, by exact search where networks are small, by bounds and search where not."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.query.binding import BoundQuery
from distverify.analysis.query.cases import Atom, Case, find_cases, relaxed
from distverify.analysis.query.exact import Bound, ExactSearch, GaveUp, PiecewiseLinear, Row
from distverify.analysis.query.float_ranges import never
from distverify.analysis.query.formats import FloatFormat
from distverify.analysis.query.joint import Joint, free_outputs, ranges
from distverify.analysis.query.minima import least, over_inputs
from distverify.analysis.query.open_case import OpenCase
from distverify.analysis.query.products import Products, Range, halves, inner_ranges, ranges_of
from distverify.analysis.query.rows import Alternative, Sizes, alternatives, moved
from distverify.analysis.query.space import Space, sides_of, space_of
from distverify.analysis.query.twins import twins_of, unified
from distverify.analysis.query.witness import Judge, Witness
from distverify.data.query.declarations import INPUT, Query
from distverify.data.query.terms import TooComplex, comparisons, variables
from distverify.words import count

SAT, UNSAT, UNKNOWN, TIMED_OUT = "sat", "unsat", "unknown", "timed-out"
Floats = NDArray[np.float64]
_SIGNS = {"<=": (1,), "<": (1,), "==": (1, -1), "!=": (1, -1)}
_NOWHERE = (Fraction(0), Fraction(0))
_MARGINS = (Fraction(1, 100), Fraction(1, 10_000), Fraction(1, 10**6))
# Seconds of processor time for exact search, before and after the search in floating point.
_FIRST, _LAST = 1.0, 60.0
_FEW_NODES, _MOST_NODES = 400, 2_000_000
# Boxes over which derivatives are bounded, before and after.
_FEW_BOXES, _MOST_BOXES = 50_000, 1_000_000


@dataclass(frozen=True, eq=False)
class Answer:
    """What became of a query.

    Attributes
    ----------
    status : "sat", "unsat", "unknown" or "timed-out"
    witness : Witness or None
    reason : str
        Why it is unknown.
    """

    status: str
    witness: Witness | None = None
    reason: str = ""


class _Found(Exception):
    """A witness: ends every search."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness


def solve(bound: BoundQuery, deadline: float | None = None, say: Callable[[str], None] = lambda text: None) -> Answer:
    """Decide a query.

    Parameters
    ----------
    deadline : float, optional
        By ``time.monotonic``.
    say : callable (str), optional
        Takes what is worth a line in a log.
    """
    solver = _Solver(bound, deadline, say)
    try:
        return solver.run()
    except _Found as found:
        return Answer(SAT, found.witness)
    except Exception as error:  # whatever numbers beyond all bounds lead to: no verdict is no error
        return Answer(UNKNOWN, reason=f"the search ended early ({type(error).__name__}: {error})")


class _Solver:
    def __init__(self, bound: BoundQuery, deadline: float | None, say: Callable[[str], None]) -> None:
        self._bound, self._deadline, self._say = bound, deadline, say
        self._elements = elements_of(bound.query)
        self._judges: dict[Space, Judge] = {}
        self._same: dict[Space, dict[int, int]] = {}
        self._reasons: list[str] = []

    def run(self) -> Answer:
        inputs = [e for t in self._bound.inputs for e in t.elements]
        cases = self._cases(frozenset(inputs))
        open_: list[OpenCase] = []
        for found in cases:
            space = space_of(found, inputs)
            case = unified(found, self._twins(space))
            sides = None if case is None else sides_of(case, space)
            if case is not None and sides is not None:
                open_.append(OpenCase(case, sides, self._judge(space)))
        if self._bound.format is not None:
            open_ = [case for case in open_ if not self._never(case, case.case.atoms, case.sides.ranges)]
        empty = len(cases) - len(open_)
        self._say(count(len(cases), "case") + (f", {empty} of them empty" if empty else ""))
        open_ = [case for case in open_ if not self._settled(case, _FIRST)]
        if open_:
            from distverify.analysis.query.search import search

            open_ = [case for case in open_ if not self._contradicted(case, _FEW_BOXES)]
            open_ = search(open_, self._deadline, _FEW_NODES, self._take)
            open_ = [case for case in open_ if not self._contradicted(case, _MOST_BOXES)]
            if open_:
                open_ = search(open_, self._deadline, _MOST_NODES, self._take)
            open_ = [case for case in open_ if not self._settled(case, _LAST)]
        if not open_:
            return Answer(UNSAT)
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return Answer(TIMED_OUT)
        return Answer(
            UNKNOWN, reason="; ".join(dict.fromkeys(self._reasons)) or f"{count(len(open_), 'case')} left open"
        )

    def _cases(self, inputs: frozenset[int]) -> list[Case]:
        """The cases; of fewer assertions, where they are too many: what has no point then has none, and points are judged by all."""
        assertions, format_ = self._bound.query.assertions, self._bound.format
        try:
            return list(find_cases(assertions, inputs, format_))
        except TooComplex as error:
            self._reasons.append(str(error))
            return list(find_cases(relaxed(assertions), inputs, format_))

    def _twins(self, space: Space) -> dict[int, int]:
        if space not in self._same:
            self._same[space] = twins_of(self._bound, space, self._elements)
        return self._same[space]

    def _take(self, witness: Witness) -> None:
        raise _Found(witness)

    def _judge(self, space: Space) -> Judge:
        if space not in self._judges:
            judge = Judge(Joint(self._bound, space, self._elements))
            try:
                judge.joint.check()
            except Exception as error:  # of what is read from a file, anything
                self._say(f"{type(error).__name__}: {error}")
                self._reasons.append(str(error))
                judge.readable = False
            self._judges[space] = judge
        return self._judges[space]

    def _contradicted(self, case: OpenCase, boxes: int) -> bool:
        """Whether derivatives rule the case out."""
        if len(self._bound.networks) < 2 or not case.judge.readable:
            return False
        from distverify.analysis.query.monotone import contradicted

        def attempt(u: Floats) -> None:
            witness = case.judge.accept(u, case.sides)
            if witness is not None:
                self._take(witness)

        now = time.monotonic()
        left = _LAST if self._deadline is None else min(_LAST, 0.5 * (self._deadline - now))
        return contradicted(case, boxes, now + left, attempt)

    def _settled(self, case: OpenCase, seconds: float) -> bool:
        """Whether exact search shows that the case has no point."""
        joint = case.joint
        network = joint.exact if case.judge.readable else free_outputs(joint.space, self._elements)
        if network is None:
            return False
        if self._deadline is not None:
            seconds = min(seconds, max(0.0, self._deadline - time.monotonic()))
        ends = time.thread_time() + seconds
        room: tuple[list[Fraction] | None, Sizes | None] = (None, None)
        if self._bound.format is not None:
            room = evaluation_errors(case, self._bound.format)
        # Where numbers may overflow, points are looked for, and nothing is proved.
        settled = self._bound.format is None or room[0] is not None
        for alternative in alternatives(case.case, places_of(joint, network), room[1]):
            try:
                settled &= self._none(case, network, alternative, room, ends)
            except GaveUp:
                settled = False
        return settled

    def _none(
        self,
        case: OpenCase,
        network: PiecewiseLinear,
        alternative: Alternative,
        room: tuple[list[Fraction] | None, Sizes | None],
        ends: float,
    ) -> bool:
        """Whether an alternative has no point, in exact arithmetic; its points are tried."""
        slack, sizes = room
        coordinates = len(case.sides.lower)
        open_ends: list[Bound] = [None] * (network.inputs - coordinates)
        place = places_of(case.joint, network)
        curved = [atom for atom in case.case.atoms if not atom.linear]

        def search(
            rows: Sequence[Row],
            off: Sequence[Fraction] | None,
            lower: Sequence[Bound],
            upper: Sequence[Bound],
            free: int,
        ) -> list[Fraction] | None:
            left = ends - time.thread_time()
            if left <= 0.0 or (self._deadline is not None and time.monotonic() >= self._deadline):
                raise GaveUp
            return ExactSearch(network, lower, upper, off, free, left).find(rows)

        boxes = [([*case.sides.lower, *open_ends], [*case.sides.upper, *open_ends])]
        while boxes:
            lower, upper = boxes.pop()
            inside: dict[int, Range] = {}
            products = Products(network.inputs + len(network.outputs), {})
            if curved:
                inside = inner_ranges(network, lower, upper)
                products.ranges.update(ranges_of(network, inside, slack))
                for atom in curved:
                    products.take(atom, place, sizes)
            first = search([*alternative.rows, *products.rows], slack, lower, upper, products.count)
            if first is None or (curved and self._excluded(case, curved, network, inside)):
                continue
            points = [first]
            for margin in _MARGINS:
                try:
                    rows = [*moved(alternative, margin), *products.rows]
                    deeper = search(rows, None, lower, upper, products.count)
                except GaveUp:
                    break
                if deeper is not None:
                    points.insert(0, deeper)
                    break
            for point in points:
                self._try(case, point[:coordinates])
            parts = halves(lower, upper, coordinates) if curved else None
            if parts is None:
                return False
            boxes += parts
        return True

    def _excluded(
        self, case: OpenCase, curved: Sequence[Atom], network: PiecewiseLinear, inside: Mapping[int, Range]
    ) -> bool:
        """Whether a polynomial's exact bound over the box rules it out; where it is attained is tried."""
        if self._bound.format is not None:
            return self._never(case, curved, inside)
        place = places_of(case.joint, network)
        for atom in curved:
            p = over_inputs(atom.polynomial, place, network, inside)
            if p is None:
                continue
            bounds = [least({m: sign * w for m, w in p.items()}, inside) for sign in _SIGNS[atom.operator]]
            known = [bound for bound in bounds if bound is not None]
            if atom.operator == "!=":
                # Where the least and the greatest value are zero, the polynomial is.
                if len(known) == 2 and all(value >= 0 for value, _ in known):
                    return True
            elif any(value > 0 or (value == 0 and atom.operator == "<") for value, _ in known):
                return True
            for _, point in known:
                self._try(case, [point.get(i, inside.get(i, _NOWHERE)[0]) for i in range(len(case.sides.lower))])
        return False

    def _never(self, case: OpenCase, atoms: Sequence[Atom], inside: Mapping[int, Range]) -> bool:
        """Whether a comparison of inputs is false all over a box of floating-point numbers, as it is evaluated."""
        assert self._bound.format is not None
        known = {e: inside[p] for e, p in case.joint.space.places if p in inside}
        return any(never(atom.comparison, known, self._bound.format) for atom in atoms)

    def _try(self, case: OpenCase, point: Sequence[Fraction]) -> None:
        judge = case.judge
        nearest = np.array([float(v) for v in point])
        witness = judge.accept(nearest)
        if witness is None and self._bound.format is None and judge.readable:
            witness = judge.accept_real(point)
        if witness is not None:
            self._take(witness)


def elements_of(query: Query) -> tuple[int, ...]:
    """The elements that assertions speak of, but for inputs that numbers only bound from below or above."""
    inputs = {e for t in query.tensors if t.kind == INPUT for e in t.elements}
    found: set[int] = set()
    for assertion in query.assertions:
        for comparison in comparisons(assertion):
            own = {*variables(comparison.left), *variables(comparison.right)}
            if len(own) > 1 or not own <= inputs or comparison.operator == "!=":
                found |= own
    if not found:
        found.add(min(inputs))
    return tuple(sorted(found))


def places_of(joint: Joint, network: PiecewiseLinear) -> dict[int, int]:
    """The variable of each element in rows for exact search."""
    of = joint.space.of
    return {**{e: network.inputs + k for e, k in joint.columns.items()}, **of}


def evaluation_errors(case: OpenCase, format_: FloatFormat) -> tuple[list[Fraction] | None, Sizes | None]:
    """How far the networks that run may be from the exact ones, for each output, and bounds of all elements' magnitudes.

    None where something may overflow.
    """
    from distverify.region import Box

    joint, box = case.joint, case.sides.box()
    if box is None or not case.judge.readable:
        return None, None
    low, high = np.array(box[0]), np.array(box[1])
    found = ranges(joint.plain, low, high)
    errors = joint.errors(Box(low, high), found).outputs
    sizes = joint.sizes(found, errors, low, high, format_)
    if sizes is None:
        return None, None
    return [Fraction(float(v)) for v in errors], sizes
