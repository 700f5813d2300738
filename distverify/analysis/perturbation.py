"""A network as a function of what changes its input: brightness, contrast, haze, or any linear family.

Around a sample x the inputs of a family are ``x + M t``; the network of t is f(x + M t), and every bound of it is one with respect to t.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from distverify.arguments import network_of, numbers
from distverify.errors import SettingsError
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, LinearNode, Term

FAMILIES = ("brightness", "contrast", "haze")


def perturbed(network: Network, x: ArrayLike, family: str | ArrayLike) -> Network:
    """The network t -> f(x + M t), for regions of t: ``dv.Box([-0.1], [0.1])``.

    Parameters
    ----------
    network : Network
        f.
    x : array_like [D] (or the shape of one sample)
    family : "brightness", "contrast", "haze" or array_like [D, k]
        ``x + t``; ``x + t (x - 1/2)``, contrast about middle grey; ``x + t (1 - x)``, white haze of t from 0 to 1; or M itself, a
        column for each of the k parameters.

    Returns
    -------
    Network
        Of k inputs. Stored numbers are exact; where M is rounded, bounds allow for it.

    Raises
    ------
    SettingsError
        An unknown family, or arrays that do not fit the network or are not finite.
    """
    network = network_of(network)
    size = network.input_size
    centre = np.ascontiguousarray(numbers("x", x, "the sample's values")).reshape(-1)
    if centre.size != size or not np.isfinite(centre).all():
        raise SettingsError(f"x: got {centre.size} values; the network takes {size} finite ones")
    matrix, roundings = _matrix(family, centre)
    if matrix.ndim != 2 or matrix.shape[0] != size or matrix.shape[1] < 1 or not np.isfinite(matrix).all():
        raise SettingsError(
            f"family: got shape {matrix.shape}; give finite numbers [{size}, k], or one of {', '.join(FAMILIES)}"
        )
    builder = NetworkBuilder((matrix.shape[1],), "perturbation")
    builder.linear("perturbed", [Term(0, Dense(np.ascontiguousarray(matrix), roundings=roundings))], centre)
    # The perturbed sample takes the input's place, so that every index moves up by one.
    for node in network.nodes[1:]:
        if isinstance(node, LinearNode):
            builder.add(replace(node, terms=tuple(Term(t.source + 1, t.operator) for t in node.terms)))
        elif isinstance(node, ActivationNode):
            builder.add(replace(node, source=node.source + 1))
    return builder.build(network.output + 1, network.remarks).in_precision(network.precision)


def _matrix(family: str | ArrayLike, centre: Array) -> tuple[Array, int]:
    """M, and by how many relative roundings its entries are off."""
    if not isinstance(family, str):
        return np.asarray(numbers("family", family, "a matrix [D, k]"), dtype=np.float64), 0
    if family == "brightness":
        return np.ones((centre.size, 1)), 0
    if family == "contrast":
        return (centre - 0.5)[:, None], 1
    if family == "haze":
        return (1.0 - centre)[:, None], 1
    raise SettingsError(f"family: got {family!r}; choose {', '.join(FAMILIES)}, or give a matrix [D, k]")
