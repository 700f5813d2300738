"""Whether some derivative of an output keeps one strict sign all over a region, by branch and bound for the sign that looks clearest.

One derivative and one sign have to hold in every subproblem: where two of them meet at a kink, generalised gradients are mixtures of
both sides' gradients, and only a common sign keeps them off zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.analysis.branching.constants import ConstantTree
from distverify.analysis.branching.polytopes import Problem
from distverify.bounds.chain import Chain
from distverify.bounds.methods import RowBounds
from distverify.bounds.reduced import Floats
from distverify.kernels.rounding import Rounding

# Derivatives that have a search of their own, at most, the clearest first.
_TRIED = 2
_LEAST = float(np.nextafter(0.0, 1.0))


@dataclass(frozen=True, eq=False)
class KeptSign:
    """What a search for a kept sign came to.

    Attributes
    ----------
    clearest : float
        A lower bound of the magnitude of some derivative that keeps its sign all over the region; at most 0: none is proved.
    feature : int
        Which one, or the one that was nearest to it.
    nodes : int
        Subproblems that were bounded.
    """

    clearest: float
    feature: int
    nodes: int


@dataclass(frozen=True, eq=False)
class _Doubt:
    """By how much bounds leave the sign of one derivative open: 0 where it is proved."""

    feature: int
    sign: int

    def __call__(self, bounds: RowBounds) -> float:
        clear = self.clear(bounds.lower, bounds.upper)
        return 0.0 if clear > 0.0 else max(-clear, _LEAST)

    def clear(self, lower: Floats, upper: Floats) -> float:
        return float(lower[0, self.feature] if self.sign > 0 else -upper[0, self.feature])


def find_kept_sign(
    problem: Problem, chain: Chain, rounding: Rounding, method: str, least: Floats, most: Floats, nodes: int,
    deadline: float | None = None,
) -> KeptSign:  # fmt: skip
    """Search for a derivative of one row that keeps its sign.

    Parameters
    ----------
    problem, chain, rounding, method : see :class:`ConstantTree`
    least, most : float64 [D]
        Derivatives that were seen in the region: signs that they contradict are not looked for.
    nodes : int
        Subproblems, at most.
    deadline : float, optional
        By ``time.monotonic``.
    """

    def planted(doubt: _Doubt) -> ConstantTree:
        tree = ConstantTree(problem, chain, doubt, rounding, method)
        tree.plant()
        return tree

    signs = (least > 0.0).astype(np.int64) - (most < 0.0).astype(np.int64)
    if not signs.any():
        return KeptSign(-np.inf, 0, 0)
    root = planted(_Doubt(int(np.argmax(np.abs(signs))), 1))
    clear = np.where(signs > 0, root.lower[0], np.where(signs < 0, -root.upper[0], -np.inf))
    easiest = np.argsort(-clear / np.maximum(np.maximum(np.abs(least), np.abs(most)), 1e-300), kind="stable")
    best, used = KeptSign(float(clear.max()), int(np.argmax(clear)), 1), 1
    for j in easiest[: min(_TRIED, int(np.count_nonzero(signs)))].tolist():
        if best.clearest > 0.0 or used >= nodes:
            break
        doubt = _Doubt(j, int(signs[j]))
        tree = planted(doubt)
        tree.grow(max(1, (nodes - used) // (1 if used > 1 else _TRIED)), deadline=deadline)
        used += tree.nodes
        reached = doubt.clear(tree.lower, tree.upper)
        if reached > best.clearest:
            best = KeptSign(reached, j, used)
    return KeptSign(best.clearest, best.feature, used)
