"""How far the network that runs, in floating point, is from the exact one over a region.

|fl(x) - f(x)| <= E for every x of the region, whatever the order of summation: what each node adds, by gamma_n for linear ones on the
magnitudes that they sum and a few units for each activation, is carried on by the rows of the Jacobian with respect to that node, over all
values between the exact ones and those that run. See docs/ROUNDING.md, section 6.
Sources: Jia and Rinard 2020 (arXiv 2003.03021); Higham, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.midpoints import range_of_sum
from distverify.bounds.reduced import Floats, Pair
from distverify.kernels.rounding import SINGLE, SOUND, Rounding
from distverify.network.graph import Network
from distverify.network.maxima import maxima
from distverify.network.nodes import ActivationNode, LinearNode, Unfolded
from distverify.region import Ball

# Roundings of a linear node besides those of its sum: weights, bias and values brought to the format, and what a runtime
# folds into the weights (scales of a normalisation, a factor of the bias).
_MORE_ROUNDINGS = 8
# Far more than the rounding of what is computed here, in double precision.
_GROW = 1.0 + 1e-9
# Rows times values that are carried through the network at once, and products on the way.
_MOST_CARRIED, _MOST_PRODUCTS = 4_000_000, 1_000_000_000
# Entries of a matrix that is looked at entry by entry.
_MOST_ENTRIES = 65_536


@dataclass(frozen=True)
class Arithmetic:
    """A format that networks run in.

    Attributes
    ----------
    rounding : Rounding
    flushed : float
        Processors may replace numbers below it by 0.
    largest : float
    """

    rounding: Rounding
    flushed: float
    largest: float

    @property
    def by_double(self) -> float:
        """By how much more it misses what double precision misses."""
        return 2.0 * self.rounding.unit * 2.0**53


SINGLE_PRECISION = Arithmetic(SINGLE, 2.0**-126, float(np.finfo(np.float32).max))
DOUBLE_PRECISION = Arithmetic(SOUND, 2.0**-1022, float(np.finfo(np.float64).max))


class EvaluationError:
    """Evaluation of one network in floating point.

    Parameters
    ----------
    network : Network
    arithmetic : Arithmetic
    chosen : bool
        Inputs are numbers of the format, and the last node does nothing but choose from others' values: neither rounds.
    """

    def __init__(self, network: Network, arithmetic: Arithmetic = SINGLE_PRECISION, chosen: bool = False) -> None:
        self.network, self._arithmetic, self._chosen = network, arithmetic, chosen
        # What a runtime evaluates is the file's network, whose intermediate values may cancel where folded ones do not.
        self._run = network.unfolded or Unfolded(
            network.nodes, network.output, {i: i for i in range(len(network.nodes))}
        )
        # A pool compares values, and rounds none.
        self._larger = {
            m.node: m for m in maxima(self._run.nodes) if getattr(self._run.nodes[m.node], "at_once", False)
        }
        self._fits = all(
            float(np.abs(array).max(initial=0.0)) < arithmetic.largest
            for node in self._run.nodes
            for array in _parameters(node)
        )

    def error(self, region: Ball, bounds: Mapping[int, Pair]) -> Floats:
        """Bounds of |fl - f| over ``region`` for each output, float64 [outputs]; infinite where something may overflow.

        Parameters
        ----------
        bounds : dict node -> (lower, upper) float64 [size]
            Of all linear nodes over the region.
        """
        return self.over(region, bounds).outputs

    @np.errstate(over="ignore", invalid="ignore")
    def over(self, region: Ball, bounds: Mapping[int, Pair]) -> ErrorsOver:
        """The same, and of sums of outputs, too."""
        lower, upper = region.box
        magnitude = _magnitude(lower, upper)
        arithmetic, run = self._arithmetic, self._run
        ramps = all(node.kind == "relu" for node in run.nodes if isinstance(node, ActivationNode))
        if not self._fits or not float(magnitude.max()) < np.inf:
            return ErrorsOver(run, np.full(self.network.output_size, np.inf))
        own: Floats = np.full(magnitude.shape, arithmetic.flushed)
        if not self._chosen:
            own += arithmetic.rounding.unit * magnitude
        error: Floats
        values, carried = _Values([lower], [upper]), ErrorsOver(run, own, [own])
        errors = [own]
        for index, node in enumerate(run.nodes[1:], 1):
            if isinstance(node, LinearNode):
                known = bounds.get(run.places.get(index, -1))
                larger = self._larger.get(index)
                if larger is not None:
                    error, own = errors[larger.source], np.zeros(node.size)
                    error = np.maximum(error[larger.first], error[larger.second])
                    carried.local[larger.difference] = np.zeros(larger.below.size)
                    carried.local[larger.rise] = np.zeros(larger.below.size)
                    if known is None:
                        known = larger.range(*values.pair(larger.source))
                else:
                    exact = _exact_rows(node, arithmetic) if self._chosen and ramps else None
                    error, own = _linear(node, values.magnitudes, errors, arithmetic, exact)
                if self._chosen and index == run.output:
                    own = np.zeros(node.size)
                carried.local.append(own)
                if carried.affordable(index, node.size):
                    error = np.minimum(error, carried.of_rows(np.eye(node.size), index))
                errors.append(error)
                values.take(*(range_of_sum(node, values.lower, values.upper, SOUND) if known is None else known))
            elif isinstance(node, ActivationNode):
                pair, slopes, error, own = _activation(node, values.pair(node.source), errors[node.source], arithmetic)
                values.take(*pair)
                carried.local.append(own)
                carried.slopes[index] = slopes
                errors.append(error)
            else:
                raise AssertionError(f"no rule for {type(node).__name__}")
        error = errors[run.output]
        carried.outputs = np.where(np.isnan(error), np.inf, error)
        return carried


@dataclass(eq=False)
class ErrorsOver:
    """Errors over a region.

    Attributes
    ----------
    run : Unfolded
    outputs : float64 [outputs]
    local : list of float64 [size]
        What each node adds by itself.
    slopes : dict node -> (lower, upper) float64 [size]
        Of activations, for all values between the exact ones and those that run.
    """

    run: Unfolded
    outputs: Floats
    local: list[Floats] = field(default_factory=list)
    slopes: dict[int, Pair] = field(default_factory=dict)

    def affordable(self, index: int, rows: int) -> bool:
        """Whether so many rows are carried from a node to the inputs."""
        nodes = self.run.nodes[: index + 1]
        work = sum(t.operator.stored for n in nodes if isinstance(n, LinearNode) for t in n.terms)
        return rows * sum(n.size for n in nodes) <= _MOST_CARRIED and rows * work <= _MOST_PRODUCTS

    def of_sums(self, rows: Floats) -> Floats:
        """Bounds of |rows @ (fl - f)| for ``rows`` [K, outputs]: float64 [K]."""
        apart = np.where((rows != 0.0) & np.isinf(self.outputs), np.inf, np.abs(rows) * np.nan_to_num(self.outputs))
        total: Floats = apart.sum(axis=1) * _GROW
        if len(self.local) <= self.run.output or not np.isfinite(total).all():
            return np.where(np.isnan(total), np.inf, total)
        return np.minimum(total, self.of_rows(rows, self.run.output))

    @np.errstate(over="ignore", invalid="ignore")
    def of_rows(self, rows: Floats, index: int) -> Floats:
        """The same for sums of a node's values: errors of earlier nodes, times the Jacobian's rows with respect to them."""
        total = np.zeros(rows.shape[0])
        # Enclosures of the rows as middles and radii.
        waiting: dict[int, Pair] = {index: (rows, np.zeros(rows.shape))}
        for place in range(index, -1, -1):
            if place not in waiting:
                continue
            middle, radius = waiting.pop(place)
            total += (np.abs(middle) + radius) @ self.local[place]
            node = self.run.nodes[place]
            if isinstance(node, LinearNode):
                for source, operator in node.terms:
                    spread = radius + SOUND.gamma(operator.pull_terms) * np.abs(middle)
                    _gather(waiting, source, operator.pull(middle), operator.pull_abs(spread))
            elif isinstance(node, ActivationNode):
                low, high = self.slopes[place]
                half = 0.5 * low + 0.5 * high
                reach = np.maximum(high - half, half - low) * _GROW
                _gather(
                    waiting, node.source, middle * half,
                    (np.abs(middle) * reach + radius * np.maximum(np.abs(low), np.abs(high))) * _GROW
                    + 1e-15 * np.abs(middle * half),
                )  # fmt: skip
        total *= _GROW
        return np.where(np.isnan(total), np.inf, total)


def _gather(waiting: dict[int, Pair], node: int, middle: Floats, radius: Floats) -> None:
    old = waiting.get(node)
    if old is not None:
        middle, radius = middle + old[0], (radius + old[1]) * _GROW + 1e-15 * np.abs(middle + old[0])
    waiting[node] = middle, radius


@dataclass(eq=False)
class _Values:
    """Bounds of nodes' values, one after the other: those of activations also for what is evaluated in single precision."""

    lower: list[Floats]
    upper: list[Floats]

    def __post_init__(self) -> None:
        self.magnitudes = [_magnitude(*self.pair(0))]

    def pair(self, node: int) -> Pair:
        return self.lower[node], self.upper[node]

    def take(self, lower: Floats, upper: Floats) -> None:
        self.lower.append(lower)
        self.upper.append(upper)
        self.magnitudes.append(_magnitude(lower, upper))


def _exact_rows(node: LinearNode, arithmetic: Arithmetic) -> NDArray[np.bool_] | None:
    """Which values are one other value, its negative, or a number of the format: nothing is rounded. None for large nodes."""
    counts, units = np.zeros(node.size, dtype=np.int64), np.ones(node.size, dtype=np.bool_)
    for term in node.terms:
        if term.operator.roundings or node.size * term.operator.in_size > _MOST_ENTRIES:
            return None
        weights = np.abs(term.operator.rows())
        counts += np.count_nonzero(weights, axis=1)
        units &= ((weights == 0.0) | (weights == 1.0)).all(axis=1)
    number = node.bias.astype(arithmetic.rounding.dtype) == node.bias
    free = (node.bias == 0.0) | ((counts == 0) & number)
    exact: NDArray[np.bool_] = units & (counts <= 1) & free
    return exact if node.bias_error is None else exact & (node.bias_error == 0.0)


def _linear(
    node: LinearNode,
    magnitudes: list[Floats],
    errors: list[Floats],
    arithmetic: Arithmetic,
    exact: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Floats]:
    """Of a linear node's values, from those of its sources: in all, and what it adds itself; ``exact`` ones are not rounded."""
    terms = 1 + sum(term.operator.push_terms + 1 for term in node.terms) + _MORE_ROUNDINGS
    gamma, flushed = arithmetic.rounding.gamma(terms), float(terms)
    # |W| E, and gamma (|W| (M + E) + |b|).
    error, own = np.zeros(node.size), gamma * np.abs(node.bias)
    if node.bias_error is not None:
        # Constants that were combined in double precision: what that may miss is missed by so much more in single precision.
        own += arithmetic.by_double * node.bias_error
    for term in node.terms:
        magnitude, before = magnitudes[term.source], errors[term.source]
        both = term.operator.push_abs(np.stack([before, gamma * (magnitude + before)], axis=1))
        error, own = error + both[:, 0], own + both[:, 1]
        flushed += float(magnitude.sum() + before.sum())
    # The sum of the terms' magnitudes is at most what they add, over gamma.
    fits = own < 0.25 * gamma * arithmetic.largest
    own = np.where(False if exact is None else exact, 0.0, own)
    own = np.where(fits, (own + arithmetic.flushed * flushed) * _GROW, np.inf)
    return (error + own) * _GROW, own


def _activation(
    node: ActivationNode, z: Pair, z_error: Floats, arithmetic: Arithmetic
) -> tuple[Pair, Pair, Floats, Floats]:
    """Bounds of an activation's values and slopes, and errors, in all and its own: slopes carry errors on, evaluating it adds some."""
    lower, upper = np.nextafter(z[0] - z_error, -np.inf), np.nextafter(z[1] + z_error, np.inf)
    unknown = ~(np.isfinite(lower) & np.isfinite(upper))
    lower, upper = np.where(unknown, -np.inf, lower), np.where(unknown, np.inf, upper)
    if node.kind == "relu":
        # Evaluated without rounding, and never steeper than 1; 0 where nothing passes.
        own = np.where(upper <= 0.0, 0.0, arithmetic.flushed)
        error = np.where(upper <= 0.0, 0.0, (z_error + own) * _GROW)
        slopes = (np.where(lower > 0.0, 1.0, 0.0), np.where(upper <= 0.0, 0.0, 1.0))
        return (np.maximum(lower, 0.0), np.maximum(upper, 0.0)), slopes, np.where(unknown, np.inf, error), own
    # Compiled code that small queries about ReLU networks need not wait for.
    from distverify.kernels.relaxations import evaluation_noise, relax

    relaxed = relax(node.code, lower, upper, node.parameters)
    # Runtimes evaluate curves in double precision no better than in single precision, for all that is known.
    own = (evaluation_noise(node.code, lower, upper, node.parameters, relaxed) + arithmetic.flushed) * _GROW
    error = (_magnitude(relaxed[4], relaxed[5]) * z_error + own) * _GROW
    own = np.where(unknown, np.inf, own)
    return (relaxed[6], relaxed[7]), (relaxed[4], relaxed[5]), np.where(unknown, np.inf, error), own


def _parameters(node: object) -> list[Floats]:
    if isinstance(node, LinearNode):
        return [node.bias, *(array for term in node.terms for array in term.operator.arrays)]
    return [node.parameters] if isinstance(node, ActivationNode) else []


def _magnitude(lower: Floats, upper: Floats) -> Floats:
    return np.maximum(np.abs(lower), np.abs(upper))
