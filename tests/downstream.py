"""What a user's own script looks like to a type checker: mypy --strict reads it with the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import distverify as dv


def radius(path: str, x: NDArray[np.float64], label: int) -> float:
    network: dv.Network = dv.load_network(path)
    network.save("net.npz")
    ball = dv.Ball(x, eps=0.01, norm=np.inf, clip=(0, 1))
    bounds: dv.JacobianBounds = dv.jacobian_bounds(network, ball)
    print(bounds.lower.shape, dv.lipschitz_constant(network, ball).vector)
    result: dv.Result = dv.certify(
        network, x[None], eps=[0.005, 0.01], norm=np.inf, compute={"lipschitz"}, output="o.h5"
    )
    print(result.summary().samples)
    try:
        return float(dv.certified_radius(network, x, label).radius)
    except dv.SettingsError as error:
        raise SystemExit(str(error)) from error
