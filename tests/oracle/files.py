"""Where the reference figures and real networks lie, beside the checkout; tests that need them are skipped without."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from distverify.network.graph import Network
from distverify.network.nodes import LinearNode
from distverify.network.onnx.importer import load_onnx

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
needs_shared = pytest.mark.skipif(not (SHARED / "oracle").is_dir(), reason="the reference figures are not here")

Floats = NDArray[np.float64]
Figures = dict[str, NDArray[np.generic]]

# The reference tools compute in float32: figures are right to this much of the largest entry, and this much in all.
FLOAT32_RELATIVE = 2e-5
FLOAT32_ABSOLUTE = 1e-6

NORM_OF = {"Linf": np.inf, "L2": 2.0, "L1": 1.0}
MODELS = {
    "mnist_256x2": "mnist-net_256x2.onnx",
    "mnist_256x4": "mnist-net_256x4.onnx",
    "acasxu_1_1": "acasxu_1_1.onnx",
}


@cache
def model(name: str) -> Network:
    """One of ``MODELS``."""
    return load_onnx(SHARED / "data" / MODELS[name])


@cache
def figures(file: str) -> Figures:
    """All arrays of a reference file."""
    with np.load(SHARED / "oracle" / file, allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def group(file: str, prefix: str) -> Figures:
    """The arrays of one group of a reference file, by their last name."""
    return {k[len(prefix) + 1 :]: v for k, v in figures(file).items() if k.startswith(prefix + "/")}


@cache
def image(index: int) -> tuple[Floats, int]:
    """Row ``index`` of the MNIST test images: pixels in [0, 1], label."""
    row = np.loadtxt(SHARED / "data" / "mnist_test.csv", delimiter=",", skiprows=index, max_rows=1)
    return row[1:] / 255.0, int(row[0])


def hidden_bounds(network: Network, lower: list[Floats], upper: list[Floats]) -> list[tuple[Floats, Floats]]:
    """Pre-activation bounds of the hidden layers, in order."""
    hidden = [i for i, n in enumerate(network.nodes) if isinstance(n, LinearNode) and i != network.output]
    return [(lower[i], upper[i]) for i in hidden]


def slack(reference: NDArray[np.generic]) -> float:
    """What float32 may have cost a figure."""
    return FLOAT32_RELATIVE * float(np.abs(reference).max()) + FLOAT32_ABSOLUTE
