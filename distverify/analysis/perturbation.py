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
from distverify.network.nodes import Term, Unfolded
from distverify.network.normalisation import moved_up
from distverify.settings import FAMILIES, Settings
from distverify.work import Sample


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
    first = list(builder.nodes)
    builder.nodes += moved_up(network.nodes)
    made = builder.build(network.output + 1, network.remarks).in_precision(network.precision)
    if network.unfolded is not None:
        # What a runtime evaluates is the file's network, after the same layer.
        earlier = NetworkBuilder((matrix.shape[1],), "perturbation")
        earlier.nodes = first + moved_up(network.unfolded.nodes)
        nodes = earlier.build(network.unfolded.output + 1).nodes
        same = {i + 1: place + 1 for i, place in network.unfolded.places.items()}
        made.unfolded = Unfolded(nodes, network.unfolded.output + 1, {0: 0, **same})
    return made


def along_family(network: Network, sample: Sample, settings: Settings) -> tuple[Network, Sample]:
    """What a run analyses: the network of t and t = 0, where its inputs are those of a family; else both as they are."""
    family = settings.perturbation
    if family is None:
        return network, sample
    one = perturbed(network, sample.x, family if isinstance(family, str) else np.array(family))
    return one, replace(sample, x=np.zeros(one.input_size))


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
