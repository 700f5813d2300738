"""What the analysis of one sample offers to the quantities: its logits, its balls, and the bounds over them, shared."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.reuse import BySlopes
from distverify.bounds.jacobian import output_rows
from distverify.quantities.quantity import Quantity
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Arrays
from distverify.questions.region import RegionBounds
from distverify.questions.rows import Derivatives
from distverify.region import Balls
from distverify.settings import Settings
from distverify.work import Sample

Floats = NDArray[np.float64]
T = TypeVar("T")


@dataclass(eq=False)
class Around:
    """One sample, for the quantities that are computed around it.

    Attributes
    ----------
    bounder : Bounder
        Of the network.
    sample : Sample
    settings : Settings
    quantities : tuple of Quantity
        Those that are computed.
    time_limit : float, optional
        Seconds after which searches end, with what is proved.
    logits : float64 [outputs]
        f(x).
    balls : Balls
    deadline : float or None
        The same by ``time.monotonic``.
    notes : list of str
        What the sample's message shall say.
    """

    bounder: Bounder
    sample: Sample
    settings: Settings
    quantities: tuple[Quantity, ...]
    time_limit: float | None = None
    deadline: float | None = field(init=False)
    logits: Floats = field(init=False)
    balls: Balls = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.deadline = None if self.time_limit is None else time.monotonic() + self.time_limit
        self.logits = self.bounder.network(self.sample.x)[0]
        self.balls = Balls(self.sample.x, self.settings.norm, self.settings.clip, self.settings.feature_eps)
        self._made: dict[Callable[[Around], Any], Any] = {}
        self.derivatives = BySlopes(self._derivatives)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension of the sample's variables."""
        network = self.bounder.network
        return {
            "sample": 1,
            "eps": len(self.settings.eps),
            "output": network.output_size,
            "input": network.input_size,
        }

    @property
    def predicted(self) -> int:
        return int(np.argmax(self.logits))

    @property
    def own(self) -> int:
        """The label, or the predicted class where the data has none."""
        return self.predicted if self.sample.label < 0 else self.sample.label

    def once(self, make: Callable[[Around], T]) -> T:
        """What ``make(self)`` returns, made once: for what several quantities share, or several balls."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]  # type: ignore[no-any-return]

    def made(self, make: Callable[[Around], T]) -> T | None:
        """What :meth:`once` made, None if it has not."""
        return self._made.get(make)

    def _derivatives(self, known: RegionBounds) -> Arrays:
        """Everything that the quantities store of the outputs' Jacobian over one ball, by variable."""
        return outputs_derivatives(
            self.bounder, known, [q.derivatives for q in self.quantities], self.settings, self.balls.weights
        )


@dataclass(eq=False)
class Over:
    """One ball around the sample."""

    around: Around
    eps: float

    @cached_property
    def known(self) -> RegionBounds:
        """Bounds of every node's value over the ball."""
        return self.around.bounder.enclose(self.around.balls.at(self.eps))


def outputs_derivatives(
    bounder: Bounder, known: RegionBounds, stored: list[dict[str, str]], settings: Settings, weights: Floats | None
) -> Arrays:
    """Facts of the outputs' Jacobian over one region, all in one go: by the names that ``stored`` gives to each fact."""
    named = {fact: name for names in stored for fact, name in names.items()}
    facts = tuple(dict.fromkeys("bounds" if fact in ("lower", "upper") else fact for fact in named))
    answer = bounder.rows(
        known, output_rows(bounder.network, None, None), Derivatives(facts, settings.norm, weights, settings.direction)
    )
    return {name: answer[fact] for fact, name in named.items()}


def centre(around: Around) -> Arrays:
    """The sample itself."""
    return {"x0": around.balls.x0}
