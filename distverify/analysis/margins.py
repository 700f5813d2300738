"""The margins that an attack on a sample has to overcome: f_label - f_j for the classes j that it may aim at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.around import Around, Over
from distverify.analysis.branching.polytopes import Target
from distverify.analysis.reuse import BySlopes
from distverify.bounds.jacobian import margin_rows
from distverify.errors import SettingsError
from distverify.questions.bounder import Bounder
from distverify.questions.pieces import Arrays
from distverify.questions.region import RegionBounds
from distverify.questions.rows import Derivatives
from distverify.region import Balls
from distverify.settings import TARGETS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarginProblem:
    """The margins of one sample, over balls around it.

    Attributes
    ----------
    bounder : Bounder
        Of the network.
    balls : Balls
    label, predicted : int
    targets : tuple of int
        Classes that an attack may aim at; none where the one that was asked for is the label itself.
    rows : float64 [targets, outputs]
        The margins as combinations of outputs.
    at_centre : float64 [targets]
        Sound lower bounds of the margins at the sample itself, in exact arithmetic.
    arithmetic : "exact" or "float32"
        Whether margins are those of the exact network, or also of the one that runs in single precision.
    centre_losses : float64 [targets]
        What evaluation may take off the margins at the sample itself.
    """

    bounder: Bounder
    balls: Balls
    label: int
    predicted: int
    targets: tuple[int, ...]
    rows: Floats
    at_centre: Floats
    arithmetic: str
    centre_losses: Floats

    @property
    def misclassified(self) -> bool:
        """Whether some margin is not certainly positive even at the sample itself."""
        return self.predicted != self.label or not bool((self.at_centre > self.centre_losses).all())

    @property
    def broken_at_centre(self) -> bool:
        """Whether some target's output certainly is larger than the label's at the sample itself."""
        reverse = self.bounder.margins(self.enclose(0.0), -self.rows)
        return bool((reverse > self.centre_losses).any())

    def enclose(self, eps: float) -> RegionBounds:
        """Bounds of every node's value over the ball of radius ``eps``."""
        return self.bounder.enclose(self.balls.at(eps))

    def margins(self, known: RegionBounds) -> Floats:
        """Sound lower bounds of the margins over an enclosed region: float64 [targets]."""
        margins = self.bounder.margins(known, self.rows)
        if self.arithmetic == "exact" or not bool((margins > 0).any()):  # what is not proven is not proven either way
            return margins
        return np.nextafter(margins - self.losses(known), -np.inf)

    def losses(self, known: RegionBounds) -> Floats:
        """What evaluation may take off the margins over an enclosed region: float64 [targets]; 0 in exact arithmetic."""
        return evaluation_losses(self.bounder, known, self.rows, self.arithmetic)

    def aims(self, eps: float) -> list[Target]:
        """What a search over the ball of radius ``eps`` looks for, target by target: outputs whose margin is negative in every
        arithmetic that counts.
        """
        nothing = np.zeros(1)
        losses = np.zeros(len(self.targets)) if self.arithmetic == "exact" else self.losses(self.enclose(eps))
        return [Target(row[None], nothing, losses[k : k + 1]) for k, row in enumerate(self.rows)]

    def per_output(self, values: Floats | float) -> Floats:
        """``values`` of the targets at their classes, NaN at all others: float64 [outputs]."""
        spread = np.full(self.bounder.network.output_size, np.nan)
        spread[list(self.targets)] = values
        return spread


def pose_margins(
    bounder: Bounder,
    balls: Balls,
    label: int | None,
    targets: str | int = "untargeted",
    seed: int | Sequence[int] = 0,
    arithmetic: str = "exact",
) -> MarginProblem:
    """The margins of the sample at the centre of ``balls``.

    Raises
    ------
    SettingsError
        A label or target that is not an output of the network, or a network with a single output.
    """
    network = bounder.network
    outputs = network.output_size
    if outputs < 2:
        raise SettingsError(f"network: has {outputs} output; a certified radius compares at least two classes")
    logits = network(balls.x0)[0]
    predicted = int(np.argmax(logits))
    label = predicted if label is None or label < 0 else int(label)
    if label >= outputs:
        raise SettingsError(f"label: got {label}; the network has classes 0 to {outputs - 1}")
    chosen = choose_targets(logits, label, targets, seed)
    rows = margin_rows(outputs, label, chosen)
    at_centre = losses = np.zeros(0)
    if chosen:
        centre = bounder.enclose(balls.at(0.0))
        at_centre, losses = bounder.margins(centre, rows), evaluation_losses(bounder, centre, rows, arithmetic)
    return MarginProblem(bounder, balls, label, predicted, tuple(chosen), rows, at_centre, arithmetic, losses)


def evaluation_losses(bounder: Bounder, known: RegionBounds, rows: Floats, arithmetic: str) -> Floats:
    """What evaluation may take off ``rows @ f`` over an enclosed region: float64 [K]; 0 in exact arithmetic."""
    if arithmetic == "exact":
        return np.zeros(rows.shape[0])
    # Classes are compared without rounding: only the outputs' own errors count.
    error = bounder.evaluation_error(known)
    return np.array([float(error[row != 0.0] @ np.abs(row[row != 0.0])) for row in rows]) * (1.0 + 1e-12)


def choose_targets(logits: Floats, label: int, targets: str | int, seed: int | Sequence[int]) -> list[int]:
    """The classes that an attack on ``label`` may aim at; none where the one asked for is the label itself."""
    others = [j for j in range(logits.size) if j != label]
    if targets == "untargeted":
        return others
    if targets == "runner-up":
        return [max(others, key=lambda j: float(logits[j]))]
    if targets == "least-likely":
        return [min(others, key=lambda j: float(logits[j]))]
    if targets == "random":
        return [int(np.random.default_rng(seed).choice(others))]
    if isinstance(targets, str):
        raise SettingsError(f"targets: got {targets!r}; choose {', '.join(TARGETS)} or a class index")
    if not 0 <= targets < logits.size:
        raise SettingsError(f"targets: got class {targets}; the network has classes 0 to {logits.size - 1}")
    return [int(targets)] if targets != label else []


def margins_around(around: Around) -> MarginProblem:
    """The margins of a run's sample."""
    settings = around.settings
    label, index = around.sample.label, around.sample.index
    problem = pose_margins(
        around.bounder, around.balls, label, settings.targets, (settings.seed, index), settings.arithmetic
    )
    if not problem.targets:
        around.notes.append(f"no radius: target class {settings.targets} is the sample's own class")
    return problem


def margin_constants(
    problem: MarginProblem, which: NDArray[np.int64] | None = None
) -> Callable[[RegionBounds], Floats]:
    """Lipschitz constants of the margins (or those of ``which``) over an enclosed region: float64 [K]."""
    rows = problem.rows if which is None else np.ascontiguousarray(problem.rows[which])
    wanted = Derivatives(("constants",), problem.balls.norm, problem.balls.weights)
    return BySlopes(lambda known: np.asarray(problem.bounder.rows(known, rows, wanted)["constants"], np.float64))


def constants_over(over: Over) -> Arrays:
    """The quantity "margins" over one ball."""
    problem = over.around.once(margins_around)
    return {"lipschitz_margin": problem.per_output(over.around.once(margin_constants_of)(over.known))}


def margin_constants_of(around: Around) -> Callable[[RegionBounds], Floats]:
    """Those of a run's sample."""
    return margin_constants(around.once(margins_around))


def margins_over(over: Over) -> Floats:
    """Sound lower bounds of the margins over one ball of a run's sample, bounded once: float64 [targets]."""
    bounded = over.around.once(margins_bounded)
    if over.eps not in bounded:
        bounded[over.eps] = over.around.once(margins_around).margins(over.known)
    return bounded[over.eps]


def margins_bounded(around: Around) -> dict[float, Floats]:
    """Those that were bounded so far, by radius."""
    return {}
