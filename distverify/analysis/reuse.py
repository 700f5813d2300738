"""Not computing twice what does not change with the radius.

Jacobian bounds depend on a region through the ranges of the activations' slopes only. Small balls in which no ReLU changes state
share them, and so do all balls that are large enough for every slope: there, constants have reached their global values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, TypeVar

from distverify.questions.region import RegionBounds

T = TypeVar("T")


class BySlopes(Generic[T]):
    """Results by the slopes that they were computed from.

    Parameters
    ----------
    compute : callable (known) -> T
        Must read the network, the slopes and the reduced network of what is known, and nothing else of it.

    Attributes
    ----------
    computed : int
        How often ``compute`` was called.
    """

    def __init__(self, compute: Callable[[RegionBounds], T]) -> None:
        self._compute = compute
        self._known: dict[bytes, T] = {}
        self.computed = 0

    def __call__(self, known: RegionBounds) -> T:
        digest = hashlib.sha256()
        for glo, ghi in known.slopes.values():
            digest.update(glo.tobytes())
            digest.update(ghi.tobytes())
        key = digest.digest()
        if key not in self._known:
            self._known[key] = self._compute(known)
            self.computed += 1
        return self._known[key]
