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
    from distverify.analysis.perturbation import perturbed
    from distverify.analysis.radius import CertifiedRadius, certified_radius
    from distverify.analysis.signs import Monotonicity, monotonicity
    from distverify.analysis.verify import Verdict, verify
    from distverify.api import Progress, certify
    from distverify.attacks.audit import Audit, audit
    from distverify.attacks.finding import Finding, Violation
    from distverify.bounds.jacobian import JacobianBounds, jacobian_bounds
    from distverify.bounds.outputs import OutputBounds, output_bounds
    from distverify.errors import (
        DataError,
        DistverifyError,
        ExecutorError,
        Interrupted,
        ModelError,
        PieceError,
        ResultError,
        SettingsError,
    )
    from distverify.exports.formats import export
    from distverify.forecast.estimate import Estimate, estimate
    from distverify.inputs import load_network
    from distverify.network.graph import Network
    from distverify.pages.report import report
    from distverify.region import Ball, Box
    from distverify.results.accessor import open_results
    from distverify.results.check import Check, Demand, check
    from distverify.results.facts import ClassFacts, Quantiles
    from distverify.results.merging import merge
    from distverify.results.reader import Result, open_result
    from distverify.results.summary import Failure, Summary
    from distverify.settings import Settings
    from distverify.work import Plan

# Names load on first use: the kernels, ONNX and HDF5 cost a second that `distverify --help` need not pay. No folder has the name
# of one of them: an imported folder would stand in its place.
_PLACES = {
    "Audit": "distverify.attacks.audit",
    "Ball": "distverify.region",
    "Box": "distverify.region",
    "CertifiedRadius": "distverify.analysis.radius",
    "Check": "distverify.results.check",
    "ClassFacts": "distverify.results.facts",
    "DataError": "distverify.errors",
    "Demand": "distverify.results.check",
    "DistverifyError": "distverify.errors",
    "Estimate": "distverify.forecast.estimate",
    "ExecutorError": "distverify.errors",
    "Failure": "distverify.results.summary",
    "Finding": "distverify.attacks.finding",
    "Interrupted": "distverify.errors",
    "JacobianBounds": "distverify.bounds.jacobian",
    "LipschitzConstants": "distverify.analysis.lipschitz",
    "ModelError": "distverify.errors",
    "Network": "distverify.network.graph",
    "OutputBounds": "distverify.bounds.outputs",
    "PieceError": "distverify.errors",
    "Plan": "distverify.work",
    "Progress": "distverify.api",
    "Quantiles": "distverify.results.facts",
    "Result": "distverify.results.reader",
    "ResultError": "distverify.errors",
    "Settings": "distverify.settings",
    "SettingsError": "distverify.errors",
    "Summary": "distverify.results.summary",
    "Verdict": "distverify.analysis.verify",
    "Violation": "distverify.attacks.finding",
    "audit": "distverify.attacks.audit",
    "certified_radius": "distverify.analysis.radius",
    "certify": "distverify.api",
    "check": "distverify.results.check",
    "estimate": "distverify.forecast.estimate",
    "export": "distverify.exports.formats",
    "jacobian_bounds": "distverify.bounds.jacobian",
    "lipschitz_constant": "distverify.analysis.lipschitz",
    "load_network": "distverify.inputs",
    "merge": "distverify.results.merging",
    "monotone_features": "distverify.analysis.landscape",
    "monotonicity": "distverify.analysis.signs",
    "Monotonicity": "distverify.analysis.signs",
    "open_result": "distverify.results.reader",
    "open_results": "distverify.results.accessor",
    "output_bounds": "distverify.bounds.outputs",
    "perturbed": "distverify.analysis.perturbation",
    "report": "distverify.pages.report",
    "stationary_free_radius": "distverify.analysis.landscape",
    "verify": "distverify.analysis.verify",
}

__all__ = [
    "Audit",
    "Ball",
    "Box",
    "CertifiedRadius",
    "Check",
    "ClassFacts",
    "DataError",
    "Demand",
    "DistverifyError",
    "Estimate",
    "ExecutorError",
    "Failure",
    "Finding",
    "Interrupted",
    "JacobianBounds",
    "LipschitzConstants",
    "ModelError",
    "Monotonicity",
    "Network",
    "OutputBounds",
    "PieceError",
    "Plan",
    "Progress",
    "Quantiles",
    "Result",
    "ResultError",
    "Settings",
    "SettingsError",
    "Summary",
    "Verdict",
    "Violation",
    "__version__",
    "audit",
    "certified_radius",
    "certify",
    "check",
    "estimate",
    "export",
    "jacobian_bounds",
    "lipschitz_constant",
    "load_network",
    "merge",
    "monotone_features",
    "monotonicity",
    "open_result",
    "open_results",
    "output_bounds",
    "perturbed",
    "report",
    "stationary_free_radius",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'distverify' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
