"""distverify: certify neural networks over whole data sets.

Sound bounds of Jacobians, Lipschitz constants and certified radii, computed by Numba kernels on Ray and kept in HDF5.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from distverify._version import __version__

if TYPE_CHECKING:
    from distverify.analysis.landscape import monotone_features, stationary_free_radius
    from distverify.analysis.lipschitz import LipschitzConstants, lipschitz_constant
    from distverify.analysis.radius import CertifiedRadius, certified_radius
    from distverify.analysis.verify import Verdict, verify
    from distverify.api import Progress, certify
    from distverify.bounds.jacobian import JacobianBounds, jacobian_bounds
    from distverify.bounds.outputs import OutputBounds, output_bounds
    from distverify.inputs import load_network
    from distverify.network.graph import Network
    from distverify.region import Ball, Box
    from distverify.results.reader import Result, open_result

# Names load on first use: the kernels, ONNX and HDF5 cost a second that `distverify --help` need not pay.
_PLACES = {
    "Ball": "distverify.region",
    "Box": "distverify.region",
    "CertifiedRadius": "distverify.analysis.radius",
    "JacobianBounds": "distverify.bounds.jacobian",
    "LipschitzConstants": "distverify.analysis.lipschitz",
    "Network": "distverify.network.graph",
    "OutputBounds": "distverify.bounds.outputs",
    "Progress": "distverify.api",
    "Result": "distverify.results.reader",
    "Verdict": "distverify.analysis.verify",
    "certified_radius": "distverify.analysis.radius",
    "certify": "distverify.api",
    "jacobian_bounds": "distverify.bounds.jacobian",
    "lipschitz_constant": "distverify.analysis.lipschitz",
    "monotone_features": "distverify.analysis.landscape",
    "load_network": "distverify.inputs",
    "open_result": "distverify.results.reader",
    "output_bounds": "distverify.bounds.outputs",
    "stationary_free_radius": "distverify.analysis.landscape",
    "verify": "distverify.analysis.verify",
}

__all__ = [
    "Ball",
    "Box",
    "CertifiedRadius",
    "JacobianBounds",
    "LipschitzConstants",
    "Network",
    "OutputBounds",
    "Progress",
    "Result",
    "Verdict",
    "__version__",
    "certified_radius",
    "certify",
    "jacobian_bounds",
    "lipschitz_constant",
    "load_network",
    "monotone_features",
    "open_result",
    "output_bounds",
    "stationary_free_radius",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'distverify' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
