"""Values of a network's nodes at points, with bounds of what rounding may do to them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distverify.kernels.activations import activate
from distverify.kernels.rounding import Rounding
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, InputNode, Node

# Functions have errors of their own.
_FUNCTION_ROUNDINGS = 16


def values_with_errors(nodes: Sequence[Node], points: Array, rounding: Rounding) -> tuple[list[Array], list[Array]]:
    """Values of all nodes, float64 [size, points] each, and by how much rounding and inexact parameters may move them."""
    values: list[Array] = []
    errors: list[Array] = []
    with np.errstate(all="ignore"):
        for node in nodes:
            if isinstance(node, InputNode):
                values.append(np.ascontiguousarray(points.T))
                errors.append(np.zeros(values[0].shape))
            elif isinstance(node, ActivationNode):
                z, e = values[node.source].T, errors[node.source].T
                a, above, below = (activate(node.code, v, node.parameters) for v in (z, z + e, z - e))
                values.append(np.ascontiguousarray(a.T))
                moved = np.maximum(np.abs(above - a), np.abs(below - a)) + rounding.gamma(_FUNCTION_ROUNDINGS) * (
                    np.abs(a) + np.abs(z)
                )
                errors.append(np.ascontiguousarray(moved.T))
            else:
                total = np.repeat(node.bias[:, None], points.shape[0], axis=1)
                sizes, error, terms = np.abs(total), np.zeros(total.shape), len(node.terms) + 1
                if node.bias_error is not None:
                    error += node.bias_error[:, None]
                for source, operator in node.terms:
                    total += operator.push(values[source])
                    sizes += operator.push_abs(np.abs(values[source]))
                    error += operator.push_abs(errors[source])
                    terms += operator.push_terms
                values.append(total)
                errors.append(error + rounding.gamma(terms) * sizes)
    return values, errors
