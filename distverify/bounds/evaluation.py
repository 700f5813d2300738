"""How far the network that runs, in single precision, is from the exact one over a region.

|f32(x) - f(x)| <= E for every x of the region, whatever the order of summation: by gamma_n with u = 2^-24 for each linear node on the
magnitudes that it sums, a few units for each activation, carried on by the activations' slopes. See docs/ROUNDING.md, section 6.
Sources: Jia and Rinard 2020 (arXiv 2003.03021); Higham, Accuracy and Stability of Numerical Algorithms, chapter 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distverify.bounds.midpoints import range_of_sum
from distverify.bounds.reduced import Floats, Pair
from distverify.kernels.rounding import SINGLE, SOUND
from distverify.network.graph import Network
from distverify.network.maxima import maxima
from distverify.network.nodes import ActivationNode, LinearNode, Unfolded
from distverify.region import Ball

# Roundings of a linear node besides those of its sum: weights, bias and values brought to single precision, and what a runtime
# folds into the weights (scales of a normalisation, a factor of the bias).
_MORE_ROUNDINGS = 8
_SINGLE_BY_DOUBLE = 2.0**30
# Processors may replace numbers below it by 0.
_FLUSHED = 2.0**-126
_LARGEST = float(np.finfo(np.float32).max)
# Far more than the rounding of what is computed here, in double precision.
_GROW = 1.0 + 1e-9


class SinglePrecision:
    """Evaluation of one network in single precision.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        # What a runtime evaluates is the file's network, whose intermediate values may cancel where folded ones do not.
        self._run = network.unfolded or Unfolded(
            network.nodes, network.output, {i: i for i in range(len(network.nodes))}
        )
        # A pool compares values, and rounds none.
        self._larger = {
            m.node: m for m in maxima(self._run.nodes) if getattr(self._run.nodes[m.node], "at_once", False)
        }
        self._fits = all(
            float(np.abs(array).max(initial=0.0)) < _LARGEST for node in self._run.nodes for array in _parameters(node)
        )

    @np.errstate(over="ignore", invalid="ignore")
    def error(self, region: Ball, bounds: Mapping[int, Pair]) -> Floats:
        """Bounds of |f32 - f| over ``region`` for each output, float64 [outputs]; infinite where something may overflow.

        Parameters
        ----------
        bounds : dict node -> (lower, upper) float64 [size]
            Of all linear nodes over the region.
        """
        lower, upper = region.box
        magnitude = _magnitude(lower, upper)
        if not self._fits or not float(magnitude.max()) < np.inf:
            return np.full(self.network.output_size, np.inf)
        values, errors = _Values([lower], [upper]), [SINGLE.unit * magnitude + _FLUSHED]
        for index, node in enumerate(self._run.nodes[1:], 1):
            if isinstance(node, LinearNode):
                known = bounds.get(self._run.places.get(index, -1))
                larger = self._larger.get(index)
                if larger is not None:
                    error = errors[larger.source]
                    errors.append(np.maximum(error[larger.first], error[larger.second]))
                    values.take(*(larger.range(*values.pair(larger.source)) if known is None else known))
                    continue
                errors.append(_linear(node, values.magnitudes, errors))
                values.take(*(range_of_sum(node, values.lower, values.upper, SOUND) if known is None else known))
            elif isinstance(node, ActivationNode):
                pair, error = _activation(node, values.pair(node.source), errors[node.source])
                values.take(*pair)
                errors.append(error)
            else:
                raise AssertionError(f"no rule for {type(node).__name__}")
        error = errors[self._run.output]
        return np.where(np.isnan(error), np.inf, error)


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


def _linear(node: LinearNode, magnitudes: list[Floats], errors: list[Floats]) -> Floats:
    """Of a linear node's values, from those of its sources."""
    terms = 1 + sum(term.operator.push_terms + 1 for term in node.terms) + _MORE_ROUNDINGS
    gamma, flushed = SINGLE.gamma(terms), float(terms)
    # |W| E + gamma (|W| (M + E) + |b|), in one product.
    error = gamma * np.abs(node.bias)
    if node.bias_error is not None:
        # Constants that were combined in double precision: what that may miss is missed by so much more in single precision.
        error += _SINGLE_BY_DOUBLE * node.bias_error
    for term in node.terms:
        magnitude, own = magnitudes[term.source], errors[term.source]
        error = error + term.operator.push_abs((own + gamma * (magnitude + own))[:, None])[:, 0]
        flushed += float(magnitude.sum() + own.sum())
    # The sum of the terms' magnitudes is at most error / gamma.
    return np.where(error < 0.25 * gamma * _LARGEST, (error + _FLUSHED * flushed) * _GROW, np.inf)


def _activation(node: ActivationNode, z: Pair, z_error: Floats) -> tuple[Pair, Floats]:
    """Bounds and errors of an activation's values: its slopes carry errors on, and it is itself evaluated with some."""
    lower, upper = np.nextafter(z[0] - z_error, -np.inf), np.nextafter(z[1] + z_error, np.inf)
    unknown = ~(np.isfinite(lower) & np.isfinite(upper))
    lower, upper = np.where(unknown, -np.inf, lower), np.where(unknown, np.inf, upper)
    if node.kind == "relu":
        # Evaluated without rounding, and never steeper than 1.
        return (np.maximum(lower, 0.0), np.maximum(upper, 0.0)), np.where(unknown, np.inf, (z_error + _FLUSHED) * _GROW)
    # Compiled code that small queries about ReLU networks need not wait for.
    from distverify.kernels.relaxations import evaluation_noise, relax

    relaxed = relax(node.code, lower, upper, node.parameters)
    own = evaluation_noise(node.code, lower, upper, node.parameters, relaxed)
    error = _magnitude(relaxed[4], relaxed[5]) * z_error + own + _FLUSHED
    return (relaxed[6], relaxed[7]), np.where(unknown, np.inf, error * _GROW)


def _parameters(node: object) -> list[Floats]:
    if isinstance(node, LinearNode):
        return [node.bias, *(array for term in node.terms for array in term.operator.arrays)]
    return [node.parameters] if isinstance(node, ActivationNode) else []


def _magnitude(lower: Floats, upper: Floats) -> Floats:
    return np.maximum(np.abs(lower), np.abs(upper))
