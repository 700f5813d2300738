"""An audit of a result: attacks on all its claims, by the same executors as the run itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.analysis.warm_up import warm_up_for
from distverify.attacks.attack import Attack
from distverify.attacks.attained import ATTAINED, DISTANCES, with_partners
from distverify.attacks.claims import Verdict, all_claims, judge
from distverify.attacks.finding import Finding, count
from distverify.attacks.of_file import COMPARED, compare_with_file, is_onnx, to_file
from distverify.attacks.of_file import VARIABLE as OF_FILE
from distverify.attacks.open_margins import VARIABLE as OPEN_MARGIN
from distverify.attacks.open_margins import attack_margins
from distverify.attacks.replays import VERDICTS, PropertyReplay, replay
from distverify.errors import ExecutorError, ResultError
from distverify.executors import choose_executor
from distverify.inputs import Data, Model, Prepared, prepare_network, prepare_samples, recorded_inputs
from distverify.options.keywords import WorkersKeywords
from distverify.options.option import check_names, chosen, takes
from distverify.options.run import Workers
from distverify.options.values import whole
from distverify.quantities.quantity import Claim
from distverify.results.merging import parts_of
from distverify.results.reader import Result, as_result
from distverify.runtime.job import Executor, Job, UnitDone
from distverify.runtime.plan import make_plan
from distverify.status import COMPUTED, OK
from distverify.work import Payload, WorkUnit

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Audit:
    """The outcome of an audit.

    Attributes
    ----------
    samples : int
        That were attacked.
    findings : list of Finding
        A variable of the file each.
    failures : dict int -> str
        Samples whose attack failed, and why.
    unchanged : bool or None
        Whether the file is as the run wrote it, by its digest; None: it has none.
    notes : tuple of str
        What could not be looked at, and why.
    """

    samples: int
    findings: list[Finding]
    failures: dict[int, str]
    unchanged: bool | None = None
    notes: tuple[str, ...] = ()

    @property
    def violations(self) -> int:
        """Number of values that an attack broke."""
        return sum(f.broken for f in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The outcome as values that JSON can hold; null where there is no number.

        ``format``, ``samples``, ``violations``, ``unchanged``; ``findings``: a list of ``variable``, ``checked``, ``broken``, ``closest``,
        ``median``, ``worst``; ``failures``: sample -> message; ``notes``.
        """
        findings = [
            {
                "variable": f.variable, "checked": f.checked, "broken": f.broken, "closest": _number(f.closest),
                "median": _number(f.median),
                "worst": [
                    {"sample": v.sample, "place": v.place, "bound": _number(v.bound), "attained": _number(v.attained)}
                    for v in f.worst
                ],
            }
            for f in self.findings
        ]  # fmt: skip
        return {
            "format": "distverify audit 1", "samples": self.samples, "violations": self.violations, "unchanged": self.unchanged,
            "findings": findings, "failures": {str(k): v for k, v in self.failures.items()}, "notes": list(self.notes),
        }  # fmt: skip


def _number(value: float) -> float | str | None:
    """As JSON can hold it."""
    return float(value) if np.isfinite(value) else None if np.isnan(value) else str(value)


@takes(Workers)
def audit(
    result: Result | str | os.PathLike[str],
    model: Model,
    x: Data = None,
    y: ArrayLike | None = None,
    *,
    points: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[WorkersKeywords],
) -> Audit:
    """Attack what a result claims: no sampled or adversarial point may break a bound, a constant or a radius.

    Points are drawn at random, at corners and along gradients; Lipschitz constants are also attacked by difference quotients,
    radii by projected gradient descent up to the radius (and beyond it, to see how far away the nearest adversarial example
    may be). A claim counts as broken only where the excess is clear of the attack's own rounding.

    Of an ONNX file the outputs at some samples are also computed by ONNX's own reference evaluator: a network that was read
    wrongly would hold whatever it claims, but not about the file.

    Parameters
    ----------
    result : Result or path
        Finished, or of a run that goes on: what is there is attacked.
    model, x, y
        The same that the result was computed from; without data, if that was a domain alone.
    points : int
        Points per ball, and four times the restarts of every search for another class.
    seed : int
        Of everything random.
    progress : callable (done, total), optional
    {options}

    Returns
    -------
    Audit

    Raises
    ------
    ResultError
        Model or data are not those of the result; the result has nothing to attack.
    ModelError, DataError, SettingsError, ExecutorError
        As for :func:`distverify.certify`.
    """
    points = whole("points", points, 8)
    check_names("audit", options, Workers)
    result = as_result(result)
    runner = choose_executor(Workers(**chosen(Workers, options)))
    job, positions = _job(result, model, x, y, points, seed)
    unchanged = result.unchanged()
    dims = result.dims
    of_properties = isinstance(job.analyse, PropertyReplay)
    claims = [] if of_properties else [c for c in all_claims() if c.variable in dims]
    findings = {c.variable: Finding(c.variable) for c in claims}
    failures: dict[int, str] = {}
    done = 0
    for unit, payload in _payloads(runner, job):
        rows = positions[unit.start : unit.stop]
        fine = payload["status"] == OK
        if of_properties:
            _count_verdicts(findings, payload, fine, job.data.indices[unit.start : unit.stop][fine])
        for k in np.flatnonzero(~fine):
            failures[int(job.data.indices[unit.start + k])] = str(payload["message"][k])
        attained = {name: payload[name][fine] for name in job.variables if name in ATTAINED}
        indices = job.data.indices[unit.start : unit.stop][fine]
        for claim in claims if fine.any() else ():
            axes = dims[claim.variable]
            stored = result.read(claim.variable, rows[fine] if axes[:1] == ("sample",) else ())
            count(findings[claim.variable], claim.variable, judge(claim, stored, attained, job.settings), indices, axes)
        done += unit.size
        if progress is not None:
            progress(done, len(positions))
    if "counterexample" in dims and "counterexample" not in findings:
        findings["counterexample"] = _replayed(result, job, positions)
    if OPEN_MARGIN in dims and (margins := attack_margins(result, job, positions, points, seed)).checked:
        findings[OPEN_MARGIN] = margins
    notes: list[str] = []
    if is_onnx(model):
        finding = _of_file(result, model, job, positions)
        if isinstance(finding, str):
            notes.append(f"the file's own outputs are not compared: {finding}")
        else:
            findings[finding.variable] = finding
    return Audit(len(positions) - len(failures), list(findings.values()), failures, unchanged, tuple(notes))


def _job(
    result: Result, model: Model, x: Data, y: ArrayLike | None, points: int, seed: int
) -> tuple[Job, NDArray[np.int64]]:  # fmt: skip
    """The attacks as a job, and the position in the result of each of its samples."""
    settings, given = result.settings, result.provenance
    of_properties = settings.compute == ("property",)
    stored = given["environment"].get("inputs", {})
    indices = result["sample"]
    files = isinstance(x, str | os.PathLike) or of_properties
    selection = ",".join(map(str, indices.tolist())) if files else None
    inputs = recorded_inputs(stored, {"samples": selection})
    network, name = prepare_network(model, inputs, settings)
    _refuse("model", given["model"], network.digest)
    prepared = prepare_samples(network, name, x, y, inputs, settings)
    data = prepared.data
    if parts := parts_of(given):
        place = {int(i): k for k, i in enumerate(data.indices)}
        for part in parts:
            rows = np.array([place.get(int(i), -1) for i in part["samples"]], dtype=np.int64)
            _refuse(
                "data",
                {**given["data"], "digest": part["digest"]},
                data.select(rows).digest if (rows >= 0).all() else "none",
            )
    else:
        _refuse("data", given["data"], prepared.digest)
    status = result["status"]
    positions = np.flatnonzero(np.isin(status, COMPUTED))
    if not positions.size:
        raise ResultError(
            f"{result.path}: no sample is computed yet, so there is nothing to attack; finish the run first"
        )
    if of_properties:
        return _job_of_properties(result, prepared, positions, points, seed), positions
    held = set(result)
    own = [c for c in all_claims() if c.variable in held]
    asked = with_partners({c.attained for c in own})
    attack = Attack(
        tuple(name for name in ATTAINED if name in asked),
        {int(i): k for k, i in enumerate(indices[positions])},
        _claimed(result, [c for c in own if c.attained in DISTANCES], use_bounds=True)[positions],
        _claimed(result, [c for c in own if c.attained == "sign_kept"], use_bounds=False)[positions],
        points,
        seed,
    )
    sizes = {"eps": len(settings.eps), "output": network.output_size, "input": settings.inputs_of(network.input_size)}
    variables = {n: (tuple(sizes[d] for d in ATTAINED[n].dims), ATTAINED[n].dtype) for n in attack.asked}
    return Job(network, data.select(positions), settings, attack, warm_up_for(network, settings), variables), positions


def _job_of_properties(result: Result, prepared: Prepared, positions: NDArray[np.int64], points: int, seed: int) -> Job:
    """The replays of verdicts on property files as a job."""
    indices = result["sample"].tolist()
    codes = dict(zip(indices, result["verified"].tolist(), strict=True))
    places = dict(zip(indices, np.asarray(result["counterexample"], np.float64), strict=True))
    margins = dict(zip(indices, result["property_margin"].tolist(), strict=True))
    analyse = PropertyReplay(dict(prepared.properties), codes, places, points, seed, margins)
    variables: dict[str, tuple[tuple[int, ...], str]] = dict.fromkeys(VERDICTS, ((), "float64"))
    warm = warm_up_for(prepared.network, result.settings)
    return Job(prepared.network, prepared.data.select(positions), result.settings, analyse, warm, variables)


def _count_verdicts(
    findings: dict[str, Finding], payload: Payload, fine: NDArray[np.bool_], indices: NDArray[np.int64]
) -> None:
    """What became of the verdicts on some property files."""
    for name in VERDICTS:
        wrong = np.asarray(payload[name], np.float64)[fine]
        verdict = Verdict(wrong > 0, np.zeros(wrong.size), wrong, np.full(wrong.size, np.nan), int((wrong >= 0).sum()))
        count(findings.setdefault(name, Finding(name)), name, verdict, indices, ("sample",))


def _replayed(result: Result, job: Job, positions: NDArray[np.int64]) -> Finding:
    """Whether the stored counterexamples are some."""
    held, eps = set(result), len(job.settings.eps)
    margins = np.full((positions.size, eps), np.nan)
    for row, position in enumerate(positions if eps else ()):
        one = np.array([position])
        codes = np.asarray(result.read("verified", one))[0] if "verified" in held else np.zeros(eps)
        points = np.asarray(result.read("counterexample", one)[0], np.float64)
        margins[row] = replay(job.network, job.data.sample(row), job.settings, codes, points)
    finding = Finding("counterexample")
    known = ~np.isnan(margins)
    verdict = Verdict(
        known & (margins > 0.0), np.zeros(margins.shape), margins, np.full(margins.shape, np.nan), int(known.sum())
    )
    count(finding, "counterexample", verdict, job.data.indices, ("sample", "eps"))
    return finding


def _of_file(result: Result, model: Model, job: Job, positions: NDArray[np.int64]) -> Finding | str:
    """The stored outputs against those of the file, or why they cannot be compared."""
    inputs = result.provenance["environment"].get("inputs", {})
    folded = job.settings.eps_units == "raw"
    as_file = to_file(job.network, *((inputs.get("mean"), inputs.get("std")) if folded else (None, None)))
    some = positions[:COMPARED]
    stored = result.read("logits", some)
    compared = compare_with_file(model, job.network, job.data.inputs, as_file, stored)  # type: ignore[arg-type]
    if isinstance(compared, str):
        return compared
    broken, attained = compared
    verdict = Verdict(broken, stored, attained, np.full(broken.shape, np.nan), broken.size)
    finding = Finding(OF_FILE)
    count(finding, OF_FILE, verdict, job.data.indices, ("sample", "output"))
    return finding


def _refuse(what: str, given: dict[str, Any], digest: str) -> None:
    if given["digest"] != digest:
        raise ResultError(
            f"{what}: has digest {digest[:12]}, but the result was computed from {given['name']} with digest "
            f"{given['digest'][:12]}; give the same {what}, with the same normalisation, scale and layout"
        )


def _claimed(result: Result, claims: Sequence[Claim], use_bounds: bool) -> Floats:
    """The radii that ``claims`` are about, float64 [samples, all of their values]; NaN where there is none."""
    eps = np.asarray(result.settings.eps)
    columns = [np.full((result.sizes["sample"], 1), np.nan)] if use_bounds or not claims else []
    for claim in claims:
        values = np.asarray(result[claim.variable])
        if use_bounds and claim.bound is not None:
            values = claim.bound(values, eps)
        columns.append(np.asarray(values, dtype=np.float64).reshape(len(values), -1))
    return np.concatenate(columns, axis=1)


def _payloads(runner: Executor, job: Job) -> Iterator[tuple[WorkUnit, Payload]]:
    done = 0
    with runner.open(job, lambda: False) as session:
        plan = make_plan(job.data.size, workers=session.slots, bytes_per_sample=_payload_bytes(job))
        session.add(plan.units())
        for event in session.events():
            if isinstance(event, UnitDone):
                done += event.unit.size
                yield event.unit, event.payload
    if done < job.data.size:
        raise ExecutorError(f"the workers ended after {done} of {job.data.size} samples; run the audit again")


def _payload_bytes(job: Job) -> int:
    return sum(
        int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize for shape, dtype in job.variables.values()
    )
