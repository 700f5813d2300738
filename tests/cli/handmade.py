"""A result's settings, provenance and summary, made by hand."""

from __future__ import annotations

from typing import Any

from distverify.results.facts import Quantiles
from distverify.results.summary import Failure, Summary
from distverify.settings import Settings

SETTINGS = Settings(eps=(0.02, 0.05), compute=("jacobian", "lipschitz", "radius"), clip=(0, 1))
PROVENANCE: dict[str, Any] = {
    "model": {"name": "digits.onnx", "digest": "ab" * 32, "inputs": 64, "outputs": 10},
    "data": {"name": "digits.npz", "digest": "cd" * 32, "samples": 200},
    "distverify_version": "0.1.0",
    "environment": {
        "command": "distverify certify digits.onnx digits.npz --eps 0.02,0.05 -o out.h5",
        "host": "node1",
        "platform": "Linux-6.1-x86_64",
        "python": "3.11.7",
        "packages": {"distverify": "0.1.0", "numpy": "2.4.6"},
    },
    "start": "2025-01-01T10:00:00+00:00",
    "end": "2025-01-01T10:00:20+00:00",
}
SUMMARY = Summary(
    samples=200,
    counts={"pending": 0, "ok": 189, "misclassified": 4, "failed": 6, "timed_out": 1},
    labelled=193,
    correct=189,
    spreads={
        "radius": {None: Quantiles(193, 0.0, 0.01, 0.071234, 0.12, 0.13, 0.07)},
        "lipschitz_vector": {
            0.02: Quantiles(193, 9.0, 10.0, 20.5, 31.25, 40.0, 21.5),
            0.05: Quantiles(193, 9.5, 11.0, 22.0, 1234567.0, 2e6, 23.5),
        },
    },
    shares={"certified": {0.02: 180, 0.05: 150}},
    failures=(
        *(Failure(i, "failed", f"ValueError: no bounds for sample {i}") for i in (3, 5, 7, 11, 13, 17)),
        Failure(19, "timed_out", "over 60 s"),
    ),
    kernel_seconds=38.4,
    wall_seconds=20.0,
)
