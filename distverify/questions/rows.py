"""Derivatives of rows over a region: the bounds themselves, or what follows from them row by row."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.columns import BLOCK_BYTES
from distverify.bounds.jacobian import JacobianBounds
from distverify.bounds.lipschitz import row_constants, vector_parts
from distverify.bounds.methods import WITHOUT_RECURSION, RowBounds, bound_chain, bound_rows, is_open
from distverify.bounds.reduced import Pair
from distverify.questions.columns import Losses, Merged, RecursionShape, Shape, bounds_by_columns
from distverify.questions.memory import Memory, Place, Recursion
from distverify.questions.packing import digest_of
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Asker, Cuts, Floats, Question, cut, stacked
from distverify.questions.region import RegionBounds
from distverify.questions.vector import Vector, steepest_slopes

# lower and upper; constants [K]; monotone int8 [K, inputs]; clearest [K]; vector []
ASPECTS = ("bounds", "constants", "monotone", "clearest", "vector")


@dataclass(frozen=True, eq=False)
class Derivatives:
    """What to say of the derivatives of some rows over a region.

    Attributes
    ----------
    aspects : any of :data:`ASPECTS`
        "bounds" are named "lower" and "upper" in the answer, the others as they are here. "constants": of each row;
        "vector": of all of them together; "monotone": :func:`monotone_features`; "clearest": see :func:`clearest_signs`.
    norm : inf, 2 or 1
        Of the constants.
    weights : float64 [inputs], optional
        One factor of eps per feature; constants are meant in the norm that they scale, and a feature of factor 0 is fixed.
    direction : str
        See :func:`distverify.bounds.methods.chains_for`.
    """

    aspects: tuple[str, ...]
    norm: float = math.inf
    weights: Floats | None = None
    direction: str = "auto"

    @property
    def of_blocks(self) -> tuple[str, ...]:
        """What every block of rows has to tell."""
        if "vector" not in self.aspects:
            return self.aspects
        return tuple(dict.fromkeys(("constants", "parts", *(a for a in self.aspects if a != "vector"))))

    def of(self, bounds: RowBounds) -> Arrays:
        """:attr:`of_blocks`, of some rows; answers about several blocks of rows are stacked."""
        aspects: Collection[str] = self.of_blocks
        told: Arrays = {}
        if "bounds" in aspects:
            told["lower"], told["upper"] = bounds.lower, bounds.upper
        if "constants" in aspects:
            told["constants"] = row_constants(bounds, self.norm, weights=self.weights)
        if "parts" in aspects:
            told["parts"] = vector_parts(bounds, self.norm, self.weights)
        if "monotone" in aspects:
            told["monotone"] = monotone_features(bounds)
        if "clearest" in aspects:
            told["clearest"] = clearest_signs(bounds, self.weights)
        return told


@dataclass(frozen=True, eq=False)
class Chains(Question[Arrays]):
    """What ``about`` asks for, from blocks of rows.

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes.
    how : Recursion
        Any direction as a whole; in blocks, backward, or a method without one.
    rows : float64 [K, outputs]
    about : Derivatives
    forward : (lower, upper) float64 [K, inputs], optional
        Bounds from the forward recursion, to intersect with.
    """

    place: Place
    how: Recursion
    rows: Floats
    about: Derivatives
    forward: Pair | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of rows."""
        return cut(self.rows.shape[0], pieces, cuts.rows)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """See :meth:`Derivatives.of`."""
        enclosure, which = memory.at(self.place).enclosure, slice(*block)
        bounds = bound_rows(enclosure, self.rows[which], self.how.method, self.how.direction, self.how.block_bytes)
        if self.forward is not None:
            low, high = self.forward
            bounds = replace(bounds, lower=np.fmax(bounds.lower, low[which]), upper=np.fmin(bounds.upper, high[which]))
        return self.about.of(bounds)

    def join(self, answers: Sequence[Arrays]) -> Arrays:
        """Of all rows."""
        return {name: stacked(answers, name) for name in answers[0]}


@dataclass(frozen=True, eq=False)
class InputChains(Question[Pair]):
    """Bounds of all rows' derivatives by the forward recursion, from blocks of inputs: lower, upper float64 [inputs, K].

    Attributes
    ----------
    place, how, rows : see :class:`Chains`
    """

    place: Place
    how: Recursion
    rows: Floats

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of inputs."""
        return cut(self.place.region.size, pieces, cuts.rows)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "lower" and "upper", float64 [block, K]."""
        region = memory.at(self.place)
        chain = region.forward_chain(self.how, self.rows).take(slice(*block))
        lower, upper, _ = bound_chain(chain, region.enclosure.rounding, self.how.method, self.how.block_bytes)
        return {"lower": lower, "upper": upper}

    def join(self, answers: Sequence[Arrays]) -> Pair:
        """Of all inputs."""
        return stacked(answers, "lower"), stacked(answers, "upper")


@dataclass(frozen=True, eq=False)
class Rows:
    """Derivatives of rows, asked for in the order that their number and the asker suggest.

    Attributes
    ----------
    asker : Asker
    method : str
    block_bytes : int
        Memory for the columns in flight.
    """

    asker: Asker
    method: str = "linear"
    block_bytes: int = BLOCK_BYTES

    def ask(self, enclosed: RegionBounds, rows: Floats, about: Derivatives) -> Arrays:
        """What ``about`` asks for, by name."""
        told = self._of_blocks(enclosed.place, rows, about)
        if "vector" in about.aspects:
            steepest = steepest_slopes(enclosed.network, enclosed.slopes)
            constants, parts = (np.asarray(told[name], np.float64) for name in ("constants", "parts"))
            vector = self.asker.ask(Vector(constants, parts, steepest, about.norm, about.weights))
            told["vector"] = vector
            del told["parts"]
            # No row's dual norm is above the induced norm of them all.
            told["constants"] = np.fmin(constants, vector)
            if "constants" not in about.aspects:
                del told["constants"]
        return told

    def _of_blocks(self, place: Place, rows: Floats, about: Derivatives) -> Arrays:
        how = Recursion(self.method, about.direction, self.block_bytes)
        if self.method in WITHOUT_RECURSION or self.asker.pieces == 1:
            return self.asker.ask(Chains(place, how, rows, about))
        how = replace(how, matrix=digest_of(rows))
        inputs, forward, shape = place.region.size, None, None
        if is_open(how.direction, inputs, rows.shape[0]):
            shape = self.asker.ask(Shape(place, how, rows))
            how = replace(how, direction=shape.direction)
        if how.direction in ("forward", "both"):
            forward = self._forward(place, replace(how, direction="forward"), rows, shape)
            if how.direction == "forward":
                return about.of(RowBounds(*forward))
        how = replace(how, direction="backward")
        if not self._few(rows.shape[0]):
            return self.asker.ask(Chains(place, how, rows, about, forward))
        shape = self.asker.ask(Shape(place, how, rows)) if shape is None else shape
        shape = replace(shape, losses=self.asker.ask(Losses(place, rows)))
        derivatives = bounds_by_columns(self.asker, place, how, rows, shape)
        lower, upper = derivatives[0]
        if forward is not None:
            lower, upper = np.fmax(lower, forward[0]), np.fmin(upper, forward[1])
        told = about.of(RowBounds(lower, upper))
        if "constants" in told and about.norm == np.inf:
            known = derivatives | {0: (lower, upper)}
            constants = self.asker.ask(Merged(place, how, rows, shape, known, about.weights))
            told["constants"] = constants
        return told

    def _forward(self, place: Place, how: Recursion, rows: Floats, shape: RecursionShape | None) -> Pair:
        """By the forward recursion: lower, upper float64 [K, inputs]."""
        if self._few(place.region.size):
            shape = self.asker.ask(Shape(place, how, rows)) if shape is None else shape
            lower, upper = bounds_by_columns(self.asker, place, how, rows, shape)[0]
        else:
            lower, upper = self.asker.ask(InputChains(place, how, rows))
        return np.ascontiguousarray(lower.T), np.ascontiguousarray(upper.T)

    def _few(self, chains: int) -> bool:
        """Whether so few chains are better cut by columns."""
        pieces = self.asker.pieces
        return 2 * len(cut(chains, pieces, self.asker.cuts.rows)) <= pieces


def monotone_features(bounds: JacobianBounds | RowBounds) -> NDArray[np.int8]:
    """Which outputs certainly rise (1) or fall (-1) with which features over a region; 0 where neither is sure.

    Parameters
    ----------
    bounds : of the Jacobian over the region

    Returns
    -------
    int8 [rows, inputs]
        Strict signs of the bounds: an output is increasing in a feature of sign 1, whatever the others are in a box.
    """
    return np.asarray((bounds.lower > 0).astype(np.int8) - (bounds.upper < 0).astype(np.int8))


def clearest_signs(bounds: RowBounds, weights: Floats | None) -> Floats:
    """For each row, by how much the derivative of the clearest sign keeps away from 0: float64 [K], positive if one does.

    Features of weight 0 do not count.
    """
    free = slice(None) if weights is None else weights > 0.0
    with np.errstate(invalid="ignore"):
        return np.asarray(np.fmax(bounds.lower, -bounds.upper)[:, free].max(axis=1))
