"""Whether a result holds what is demanded of it: for continuous integration."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError, SettingsError, argument
from distverify.options.values import number
from distverify.results.reader import Result, as_result
from distverify.results.verdicts import PropertyVerdict, bound, property_verdicts
from distverify.status import COMPUTED, FALSIFIED, NOT_VERIFIED, OK, PENDING, WITHOUT_VALUE
from distverify.words import count, duration

FORMAT = "distverify check 1"
FORBIDDABLE = ("falsified", "unknown")
_SHOWN = 10


@dataclass(frozen=True)
class Demand:
    """Something that a result was checked for.

    Attributes
    ----------
    name : str
    holds : bool
    detail : str
        What was found.
    """

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True)
class Check:
    """The outcome of :func:`check`.

    Attributes
    ----------
    result : str
        The file.
    demands : tuple of Demand
    share : float or None
        Certified share of all samples at the radius; None where none was asked for.
    """

    result: str
    demands: tuple[Demand, ...]
    share: float | None = None

    @property
    def holds(self) -> bool:
        """Whether every demand is met."""
        return all(d.holds for d in self.demands)

    def to_json(self) -> dict[str, Any]:
        """``format``, ``file``, ``holds``, ``share``, ``demands``: a list of ``name``, ``holds``, ``detail``."""
        return {
            "format": FORMAT, "file": self.result, "holds": self.holds, "share": self.share,
            "demands": [vars(d) for d in self.demands],
        }  # fmt: skip

    def to_junit(self) -> str:
        """A JUnit XML report with a test case for each demand."""
        failed = sum(not d.holds for d in self.demands)
        numbers = {"tests": str(len(self.demands)), "failures": str(failed), "errors": "0", "skipped": "0"}
        suites = ElementTree.Element("testsuites", numbers)
        suite = ElementTree.SubElement(suites, "testsuite", {"name": "distverify check", **numbers})
        for demand in self.demands:
            case = ElementTree.SubElement(suite, "testcase", {"classname": _plain(self.result), "name": demand.name})
            if not demand.holds:
                ElementTree.SubElement(case, "failure", {"message": _plain(demand.detail)})
            ElementTree.SubElement(case, "system-out").text = _plain(demand.detail)
        return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True)


def check(
    result: Result | str | os.PathLike[str],
    *,
    certified_at: float | None = None,
    least: float | None = None,
    baseline: Result | str | os.PathLike[str] | None = None,
    forbid: str | Collection[str] = (),
) -> Check:
    """Whether a result is whole, certifies as much as is demanded, and has no verdict that is forbidden.

    Parameters
    ----------
    result : Result or path
    certified_at : float, optional
        A radius, in the result's units: any where radii were computed, else one of the run's.
    least : float, optional
        The share of all samples, 0 to 1, that must be certified there; failed and pending ones count as not certified.
    baseline : Result or path, optional
        An earlier result on the same data: no sample that it certifies there may have lost that.
    forbid : "falsified", "unknown" or both ("falsified,unknown"), optional
        Verdicts that no property file may have, or no sample at any radius of the run. What has no value counts as unknown; a sample
        that is misclassified or too near a tie counts as neither.

    Returns
    -------
    Check

    Raises
    ------
    SettingsError
        A radius without a share or a baseline, or either without a radius; a share outside of [0, 1]; a verdict that there is not.
    ResultError
        The result has nothing to compare with the radius, or no verdicts, or only falsified ones are forbidden where none was
        looked for; the baseline is about other samples or another norm.
    """
    if (certified_at is None) != (least is None and baseline is None):
        raise SettingsError(
            f"certified_at: goes with a least share ({argument('least')}) or a baseline; give both, or neither"
        )
    if certified_at is not None:
        certified_at = number("certified_at", certified_at, "a radius")
    if least is not None and not 0.0 <= number("least", least, "a share from 0 to 1") <= 1.0:
        raise SettingsError(f"least: got {least}; give a share from 0 to 1")
    forbidden = _verdicts(forbid)
    result = as_result(result)
    with result.at_one_moment() as moment:
        status = moment["status"]
        failed = int(np.isin(status, WITHOUT_VALUE).sum())
        done = int(np.isin(status, COMPUTED).sum())
        unchanged = moment.unchanged()
        demands = [
            Demand("the run has ended", moment.complete, f"{done} of {count(status.size, 'sample')} computed"),
            Demand("no sample failed", failed == 0, f"{count(failed, 'sample')} failed or timed out"),
            Demand("the file is as its run wrote it", unchanged is not False, _digest(unchanged)),
        ]
        share = None
        if certified_at is not None:
            own = _certified(moment, certified_at)
            share = float(own.mean()) if own.size else 0.0
            told = f"{int(own.sum())} of {count(own.size, 'sample')} ({share:.1%}) certified at {certified_at:g}"
            if least is not None:
                demands.append(Demand(f"at least {least:.1%} certified at {certified_at:g}", share >= least, told))
            if baseline is not None:
                demands.append(_against(moment, own, as_result(baseline), certified_at))
        if forbidden:
            demands += _none_of(forbidden, moment)
    return Check(str(result.path), tuple(demands), share)


def _certified(result: Result, eps: float) -> NDArray[np.bool_]:
    """Whether each sample is certified at ``eps``, bool [samples]."""
    fine = np.isin(result["status"], COMPUTED)
    if "radius" in result:
        with np.errstate(invalid="ignore"):
            return np.asarray(fine & (result["radius"] >= eps))
    radii = np.asarray(result.settings.eps)
    at = np.flatnonzero(np.isclose(radii, eps, rtol=1e-12, atol=0.0))
    if "verified" not in result or not at.size:
        raise ResultError(
            f"{result.path}: has neither radii nor verdicts at {eps:g}; compute them "
            f"({argument('compute', 'radius')}, or {argument('eps', f'{eps:g}')})"
        )
    return np.asarray(fine & (result["verified"][:, at[0]] > 0))


def _verdicts(forbid: str | Collection[str]) -> tuple[str, ...]:
    """The verdicts that are forbidden, each once."""
    named = [word.strip() for word in forbid.split(",")] if isinstance(forbid, str) else list(forbid)
    for verdict in named:
        if verdict not in FORBIDDABLE:
            raise SettingsError(f"forbid: got {verdict!r}; choose {', '.join(FORBIDDABLE)}, or both")
    return tuple(v for v in FORBIDDABLE if v in named)


def _none_of(forbidden: tuple[str, ...], result: Result) -> list[Demand]:
    """A demand for each property file; of samples, one for each verdict and radius."""
    settings = result.settings
    if forbidden == ("falsified",) and not settings.nodes and "attack" not in settings.compute:
        raise ResultError(
            f"{result.path}: no counterexample was looked for, so that nothing in it can be falsified; forbid unknown, too, or "
            f"search ({argument('nodes')}, {argument('compute', 'attack')})"
        )
    if properties := property_verdicts(result):
        # Of what has no value nothing is known, whatever the reason.
        bad = {"unknown": ("unknown", "no value"), "falsified": ("falsified",)}
        refused = {word for verdict in forbidden for word in bad[verdict]}
        name = " or ".join(forbidden)
        return [Demand(f"{v.file} is not {name}", v.verdict not in refused, _told(v)) for v in properties]
    if "verified" not in result:
        raise ResultError(
            f"{result.path}: has no verdicts to forbid; compute them ({argument('compute', 'verified')}, with radii)"
        )
    codes, status, samples = result["verified"], result["status"], result["sample"]
    without = np.isin(status, (PENDING, *WITHOUT_VALUE))[:, None]
    found = {"falsified": codes == FALSIFIED, "unknown": without | ((codes == NOT_VERIFIED) & (status == OK)[:, None])}
    return [
        Demand(
            f"no sample is {verdict} at {eps:g}", not found[verdict][:, k].any(),
            f"{int(found[verdict][:, k].sum())} of {count(samples.size, 'sample')}{_some(samples[found[verdict][:, k]])}",
        )
        for verdict in forbidden
        for k, eps in enumerate(result["eps"].tolist())
    ]  # fmt: skip


def _told(verdict: PropertyVerdict) -> str:
    """``verified, by CROWN, bound 0.5, 0.1 s``."""
    if verdict.verdict == "no value":
        return verdict.verdict
    found = "counterexample stored" if verdict.witness else f"bound {bound(verdict.bound)}"
    return f"{verdict.in_words}, {found}, {duration(verdict.seconds)}"


def _some(samples: Sequence[int] | NDArray[np.int64]) -> str:
    """The first of them: ``: 3, 7, ...``."""
    named = ", ".join(str(k) for k in samples[:_SHOWN])
    return f": {named}{', ...' if len(samples) > _SHOWN else ''}" if named else ""


def _against(result: Result, own: NDArray[np.bool_], baseline: Result, eps: float) -> Demand:
    if baseline.settings.norm != result.settings.norm:
        raise ResultError(
            f"{baseline.path}: is about another norm than {result.path}; give a baseline of the same norm"
        )
    samples, before = result["sample"].tolist(), baseline["sample"].tolist()
    shared = sorted(set(samples) & set(before))
    if not shared:
        raise ResultError(
            f"{baseline.path}: has no sample in common with {result.path}; give a baseline on the same data"
        )
    now = dict(zip(samples, own.tolist(), strict=True))
    then = dict(zip(before, _certified(baseline, eps).tolist(), strict=True))
    lost = [k for k in shared if then[k] and not now[k]]
    won = sum(now[k] and not then[k] for k in shared)
    detail = f"{count(len(shared), 'sample')} in common; {len(lost)} lost{_some(lost)}; {won} won"
    return Demand(f"no sample lost its certificate at {eps:g} since {baseline.path.name}", not lost, detail)


def _digest(unchanged: bool | None) -> str:
    return {True: "the digest is the same", False: "the digest is another", None: "it has no digest yet"}[unchanged]


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
