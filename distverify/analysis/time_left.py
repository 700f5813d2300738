"""How much of a time limit each search of a question has."""

from __future__ import annotations

import math
import time

from distverify.questions.bounder import Bounder


def seconds_for_each(bounder: Bounder, deadline: float | None, searches: int) -> float | None:
    """Seconds for each of so many searches, of which as many run at a time as there are pieces; None: as long as they take.

    Parameters
    ----------
    deadline : float, optional
        By ``time.monotonic``.
    """
    if deadline is None:
        return None
    return max(0.0, deadline - time.monotonic()) / max(1, math.ceil(searches / bounder.searches.pieces))
