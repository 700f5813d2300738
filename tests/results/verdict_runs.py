"""Finished results with verdicts of every kind, made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from distverify.results.journal.journal import Journal
from distverify.results.reader import Result, open_result
from distverify.status import (
    BY_BRANCHING,
    BY_CROWN,
    FAILED,
    FALSIFIED,
    MISCLASSIFIED,
    NO_VALUE,
    NOT_VERIFIED,
    OK,
)
from distverify.work import WorkUnit
from tests.results.runs import END, make_manifest, make_payload

NAMES = tuple(f"p{k}.vnnlib" for k in range(6))
TINY = float(np.nextafter(0.0, 1.0))


def property_run(path: Path, *, broken: int = 2) -> Result:
    """p0 and p1 hold, p2 is broken, p3 and p4 are open (p4 is nearer), p5 failed; ``broken`` is so in any case."""
    manifest = make_manifest(6, 6, compute=("property",), eps=(), names=NAMES)
    manifest = replace(manifest, settings=replace(manifest.settings, nodes=900))
    unit = WorkUnit(0, 6)
    payload = make_payload(manifest, unit)
    payload["status"][5], payload["message"][5] = FAILED, "ValueError: no bounds"
    payload["verified"][:] = [BY_CROWN, BY_BRANCHING, FALSIFIED, NOT_VERIFIED, NOT_VERIFIED, NO_VALUE]
    payload["property_margin"][:] = [0.5, TINY, -1.0, -2.5, -0.37, np.nan]
    payload["seconds"][:] = [0.1, 2.0, 0.3, 9.0, 8.0, 0.0]
    payload["counterexample"][:] = np.nan
    payload["counterexample"][[2, broken]] = 0.25
    payload["verified"][broken] = FALSIFIED
    payload["subproblems"][:] = [0, 1200, 4, 900, 901, -1]
    return _written(path, manifest, unit, payload)


def sample_run(path: Path, *, compute: tuple[str, ...] = ("verified", "attack"), nodes: int = 50) -> Result:
    """Five samples at 0.01 and 0.02: 100 holds, 101 is open twice, 102 is open and broken, 103 is misclassified, 104 failed."""
    manifest = make_manifest(5, 5, compute=compute, eps=(0.01, 0.02))
    manifest = replace(manifest, settings=replace(manifest.settings, nodes=nodes))
    unit = WorkUnit(0, 5)
    payload = make_payload(manifest, unit)
    payload["status"][:] = [OK, OK, OK, MISCLASSIFIED, FAILED]
    payload["verified"][:] = [[1, 3], [0, 0], [0, -2], [0, 0], [-1, -1]]
    nothing = [np.nan, np.nan]
    payload["verified_margin"][:] = [nothing, [-0.2, -7.0], [-0.05, np.nan], nothing, nothing]
    payload["seconds"][:] = [0.1, 3.0, 2.0, 0.1, 0.0]
    if "attack" in compute:
        payload["radius_attacked"][:] = [np.inf, np.inf, 0.015, 0.0, np.nan]
    if "radius" in compute:
        payload["radius"][:] = [0.03, 0.004, 0.009, 0.0, np.nan]
        payload["verified_margin"][:] = np.nan
    if nodes:
        payload["subproblems"][:] = [0, 101, 60, 0, -1]
    return _written(path, manifest, unit, payload)


def _written(path, manifest, unit, payload) -> Result:  # type: ignore[no-untyped-def]
    with Journal.open(path, manifest) as journal:
        journal.commit(unit, payload)
        journal.consolidate(END)
    return open_result(path)
