"""Brackets of radii: certified from below by branch and bound, attacked from above; the truth lies between.

Each ball that is decided on the way moves one end: verified the lower one, a counterexample the upper one, to its distance.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from distverify.analysis.attack import Attacker
from distverify.analysis.branching.counterexamples import Attack, Hunt
from distverify.analysis.branching.polytopes import Target
from distverify.analysis.margins import MarginProblem
from distverify.analysis.points import Surroundings
from distverify.analysis.verify import FALSIFIED, VERIFIED, decide
from distverify.bounds.reduced import Floats
from distverify.region import Balls

# Relative width at which a bracket is narrow enough.
NARROW = 0.02
_FACTORS = (1.05, 1.25, 1.6, 2.2, 3.5, 6.0)
_CLOSER = 0.93
_BISECTION = 30


@dataclass(frozen=True, eq=False)
class Bracket:
    """``radius`` <= the distance of the nearest adversarial example <= ``attacked``.

    Attributes
    ----------
    radius, attacked : float
        In the norm of the balls; ``attacked`` inf where no counterexample was found.
    counterexample : float64 [D] or None
        The one at that distance.
    nodes : int
        Subproblems that were bounded.
    """

    radius: float
    attacked: float
    counterexample: Floats | None
    nodes: int


def bracket_radius(
    problem: MarginProblem, radius: float, nodes: int, guess: float, seed: int | Sequence[int] = 0,
    deadline: float | None = None,
) -> Bracket:  # fmt: skip
    """Attack beyond the certified ``radius``, then decide balls between both ends with ``nodes`` subproblems at most.

    Parameters
    ----------
    problem : MarginProblem
        With some target, not misclassified.
    guess : float
        Where to begin to attack if ``radius`` is 0.
    deadline : float, optional
        By ``time.monotonic``: then the bracket is what it is.
    """
    asker = problem.bounder.searches
    search = _Search(problem, seed, radius)
    search.attack(guess)
    left = nodes
    # Undecided balls end the search from above, but say nothing of the truth.
    ceiling = math.inf
    while left > 0 and (deadline is None or time.monotonic() < deadline):
        top = min(search.attacked, ceiling)
        if top <= search.radius * (1.0 + NARROW):
            break
        eps = 0.5 * (search.radius + top) if math.isfinite(top) else 1.5 * max(search.radius, guess)
        eps = min(eps, problem.balls.farthest)
        if eps <= search.radius:
            break
        region, share = problem.balls.at(eps), max(1, left // 2)
        verdict = decide(problem.bounder.network, region, search.aims(eps), share, deadline, seed, asker)
        left -= min(left, verdict.nodes)
        problem.bounder.subproblems += verdict.nodes
        if verdict.status == VERIFIED:
            search.radius = eps
        elif verdict.status == FALSIFIED and verdict.counterexample is not None:
            search.take(verdict.counterexample)
        else:
            ceiling = eps
    return Bracket(search.radius, search.attacked, search.counterexample, nodes - left)


class _Search:
    def __init__(self, problem: MarginProblem, seed: int | Sequence[int], radius: float) -> None:
        self.problem = problem
        self.seed = seed
        self.radius = radius
        self.attacked = math.inf
        self.counterexample: Floats | None = None
        self._aims: dict[float, list[Target]] = {}

    def aims(self, eps: float) -> list[Target]:
        """What is looked for in the ball of radius ``eps``."""
        if eps not in self._aims:
            self._aims[eps] = self.problem.aims(eps)
        return self._aims[eps]

    def attack(self, guess: float) -> None:
        """Look for a counterexample in growing balls, then closer and closer."""
        farthest = self.problem.balls.farthest
        for factor in _FACTORS:
            eps = min(factor * max(self.radius, guess), farthest)
            if self._in_ball(eps) or eps == farthest:
                break
        while self.attacked < math.inf and _CLOSER * self.attacked > self.radius:
            if not self._in_ball(_CLOSER * self.attacked):
                break

    def _in_ball(self, eps: float) -> bool:
        hunt = Hunt.of(self.problem.balls.at(eps), self.aims(eps), self.seed)
        found = self.problem.bounder.searches.ask(Attack(hunt))
        if found is not None:
            self.take(found)
        return found is not None

    def _attacker(self, eps: float) -> Attacker:
        return Attacker(self.problem.bounder.network, self.problem.balls.at(eps), self.aims(eps), self.seed)

    def take(self, x: Floats) -> None:
        """Draw the counterexample ``x`` in towards the sample, as far as it stays one, and keep it if it is the nearest."""
        x0 = self.problem.balls.x0
        attacker = self._attacker(math.nextafter(self._distance(x), math.inf))
        low, high, best = 0.0, 1.0, x
        for _ in range(_BISECTION):
            middle = 0.5 * (low + high)
            point = x0 + middle * (x - x0)
            if (self.problem.rows @ self.problem.bounder.network(point)[0]).min() < 0.0:
                high, best = middle, point
            else:
                low = middle
        if best is not x and not any(attacker.confirm(k, best) is not None for k in range(len(self.problem.targets))):
            best = x
        distance = self._distance(best)
        if distance < self.attacked:
            self.attacked, self.counterexample = distance, best

    def _distance(self, x: Floats) -> float:
        return distance_above(self.problem.balls, x)


def distance_above(balls: Balls, x: Floats) -> float:
    """The distance of ``x`` [D] from the sample in the norm of ``balls``, rounded up."""
    around = Surroundings(balls, np.random.default_rng(0))
    return float(around.distance(x[None])[0]) * (1.0 + (x.size + 8) * 2.0**-52)
