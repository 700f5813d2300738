"""Results with plausible numbers, written as a run writes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from distverify.results.journal.journal import Journal
from distverify.results.reader import Result, open_result
from distverify.status import FAILED, MISCLASSIFIED, OK
from distverify.work import Payload, WorkUnit
from tests.results.runs import END, make_manifest, make_payload

SAMPLES, SIDE = 24, 6
HOSTILE = '<script>alert("x")</script> & <img src=http://example.org/a.png onerror=alert(1)>\x1b[2J'


def write_result(
    path: Path,
    *,
    seed: int = 0,
    message: str = "ValueError: no bounds",
    finished: bool = True,
    norm: float = np.inf,
    **changes: Any,
) -> Result:
    """24 samples of 6 x 6 pixels in 3 classes: one misclassified, one failed with ``message``."""
    manifest = make_manifest(SAMPLES, SAMPLES, **{"input_size": SIDE * SIDE, "eps": (0.01, 0.02, 0.1), **changes})
    manifest = replace(manifest, settings=replace(manifest.settings, norm=norm))
    unit = WorkUnit(0, SAMPLES if finished else SAMPLES // 2)
    payload = plausible(make_payload(manifest, unit, seed=seed), seed, message)
    with Journal.open(path, manifest) as journal:
        journal.commit(unit, payload)
        if finished:
            journal.consolidate(END)
    return open_result(path)


def plausible(payload: Payload, seed: int, message: str) -> Payload:
    generator = np.random.default_rng(seed)
    count = len(payload["status"])
    payload["seconds"] = generator.lognormal(-1.0, 0.5, count)
    for name in ("radius", "radius_crown", "radius_jacobian"):
        if name in payload:
            payload[name] = generator.gamma(3.0, 0.01, count)
    if "lipschitz_vector" in payload:
        payload["lipschitz_vector"] = generator.lognormal(1.0, 1.0, payload["lipschitz_vector"].shape).cumsum(axis=1)
    if "jacobian_lower" in payload:
        middle = generator.normal(size=payload["jacobian_lower"].shape)
        payload["jacobian_lower"], payload["jacobian_upper"] = middle - 0.5, middle + 0.5
    payload["predicted"] = payload["label"].copy()
    payload["status"] = np.full(count, OK, dtype=np.int8)
    payload["status"][1], payload["predicted"][1] = MISCLASSIFIED, (payload["label"][1] + 1) % 3
    payload["status"][2], payload["message"][2] = FAILED, message
    for name, values in payload.items():
        if values.dtype == np.float64 and name != "seconds":
            values[2] = np.nan
    return payload
