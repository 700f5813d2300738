"""How much the values of a network under construction vary, at a few points: what products are balanced by."""

from __future__ import annotations

import numpy as np

from distverify.kernels.activations import activate
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, InputNode, LinearNode

_POINTS = 24
# A value may vary by so much less than its size before the size counts.
_STEADY = 2.0**-8


def sample_points(size: int) -> Array:
    """Inputs at which models are compared: pixels, and standard normal values of two scales; float64 [3, size]."""
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(size=size), rng.standard_normal(size), 3.0 * rng.standard_normal(size)])


class Probe:
    """The values of a builder's nodes at random inputs, evaluated as far as they are asked for.

    Only choices that leave the function as it is may rest on them.

    Parameters
    ----------
    builder : NetworkBuilder
        Nodes may be added to it, not changed.
    """

    def __init__(self, builder: NetworkBuilder) -> None:
        self._builder = builder
        self._values: list[Array] = []

    def spread(self, node: int) -> Array:
        """By how much each value of ``node`` varies, or a share of its size where that is more; 1 where neither is known."""
        values = self._at(node)
        finite = np.isfinite(values).all(axis=1)
        with np.errstate(all="ignore"):
            spread = np.maximum(values.std(axis=1), _STEADY * np.abs(values).max(axis=1))
        return np.where(finite & np.isfinite(spread) & (spread > 0.0), spread, 1.0)

    def _at(self, node: int) -> Array:
        with np.errstate(all="ignore"):
            for known in self._builder.nodes[len(self._values) : node + 1]:
                if isinstance(known, InputNode):
                    self._values.append(np.random.default_rng(1).standard_normal((known.size, _POINTS)))
                elif isinstance(known, ActivationNode):
                    a = activate(known.code, self._values[known.source].T, known.parameters)
                    self._values.append(np.ascontiguousarray(a.T))
                elif isinstance(known, LinearNode):
                    total = np.repeat(known.bias[:, None], self._values[0].shape[1], axis=1)
                    for source, operator in known.terms:
                        total = total + operator.push(self._values[source])
                    self._values.append(total)
        return self._values[node]
