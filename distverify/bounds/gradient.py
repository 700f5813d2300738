"""The network's own derivatives at points: what bounds must contain, and where searches start."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.kernels.activations import slopes
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode

Floats = NDArray[np.float64]


def jacobian_at(network: Network, x: ArrayLike, rows: Floats | None = None) -> Floats:
    """The Jacobian of ``rows @ f`` at each point, by backpropagation in float64.

    Parameters
    ----------
    x : array_like [N, inputs]
    rows : float64 [K, outputs] or [N, K, outputs], optional
        The same for all points, or each point's own; all outputs by default.

    Returns
    -------
    float64 [N, K, inputs]
        At a kink the slope to the right is used.
    """
    values = network.values(x)
    n = values[0].shape[0]
    combined = np.eye(network.output_size) if rows is None else rows
    own = combined if combined.ndim == 3 else np.repeat(combined[None], n, axis=0)
    moving: dict[int, Floats] = {network.output: own}
    for index in range(network.output, 0, -1):
        if index not in moving:
            continue
        y = moving.pop(index)
        node = network.nodes[index]
        if isinstance(node, ActivationNode):
            y = y * slopes(node.code, values[node.source], node.parameters)[:, None, :]
            moving[node.source] = moving[node.source] + y if node.source in moving else y
        elif isinstance(node, LinearNode):
            for term in node.terms:
                flat = term.operator.pull(np.ascontiguousarray(y.reshape(-1, node.size)))
                pulled = flat.reshape(n, -1, flat.shape[1])
                moving[term.source] = moving[term.source] + pulled if term.source in moving else pulled
    return moving.get(0, np.zeros((n, own.shape[1], network.input_size)))
