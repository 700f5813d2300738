"""Small runs with random numbers, for the tests of the storage layer."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest, describe_environment
from distverify.results.schema import variables_for
from distverify.settings import Settings
from distverify.status import OK
from distverify.work import Payload, Plan, WorkUnit

START = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
END = datetime(2024, 5, 1, 12, 1, tzinfo=UTC)
ALL = ("jacobian", "landscape", "lipschitz", "radius")


def units_of(manifest: Manifest) -> list[WorkUnit]:
    """The units of the manifest's plan; without one, blocks of 4 samples."""
    if manifest.plan is not None:
        return list(manifest.plan.units())
    return [WorkUnit(a, min(a + 4, manifest.samples)) for a in range(0, manifest.samples, 4)]


def make_manifest(
    samples: int = 10, size: int | None = None, compute: tuple[str, ...] = ALL, **changes: Any
) -> Manifest:
    """With ``size``, a plan of units of so many samples; without, a run that is not planned yet."""
    settings = Settings(eps=changes.pop("eps", (0.005, 0.01)), compute=compute)
    manifest = Manifest(
        model="net.onnx",
        model_digest="a" * 64,
        input_size=6,
        output_size=3,
        data="data.csv",
        data_digest="b" * 64,
        indices=tuple(range(100, 100 + samples)),
        settings=settings,
        plan=None if size is None else Plan(samples, size),
        distverify_version="0.1.0",
        created=START,
        environment=describe_environment("distverify certify net.onnx data.csv -o out.h5"),
    )
    return replace(manifest, **changes)


def make_payload(manifest: Manifest, unit: WorkUnit, *, seed: int = 0, status: int = OK, message: str = "") -> Payload:
    """Random numbers that depend on the sample's position and ``seed`` only."""
    rows = [_sample(manifest, position, seed) for position in range(unit.start, unit.stop)]
    payload = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    payload["status"] = np.full(unit.size, status, dtype=np.int8)
    payload["message"] = np.full(unit.size, message, dtype=object)
    return payload


def _sample(manifest: Manifest, position: int, seed: int) -> dict[str, Any]:
    generator = np.random.default_rng([seed, position])
    row: dict[str, Any] = {}
    for variable in variables_for(manifest.settings):
        if variable.dtype == "float64":
            row[variable.name] = generator.standard_normal(variable.shape({**manifest.sizes})[1:])
        elif variable.dtype in ("int64", "int8"):
            row[variable.name] = np.full(variable.shape({**manifest.sizes})[1:], position % 3, dtype=variable.dtype)
    return row


def commit_all(journal: Journal, manifest: Manifest, **keywords: Any) -> list[WorkUnit]:
    todo = list(journal.pending(units_of(manifest)))
    for unit in todo:
        journal.commit(unit, make_payload(manifest, unit, **keywords))
    return todo


def finish(path: Any, manifest: Manifest, **keywords: Any) -> None:
    with Journal.open(path, manifest) as journal:
        commit_all(journal, manifest, **keywords)
        journal.consolidate(END)
