"""Verdicts one by one, what is open, and demands on both."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.errors import ResultError, SettingsError
from distverify.results.as_json import as_json
from distverify.results.check import check
from distverify.results.reader import Result
from distverify.results.verdicts import property_verdicts, rows_of_unknowns, unknowns
from tests.results.verdict_runs import NAMES, property_run, sample_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verdicts")


@pytest.fixture(scope="module")
def properties(folder: Path) -> Result:
    return property_run(folder / "properties.h5")


@pytest.fixture(scope="module")
def samples(folder: Path) -> Result:
    return sample_run(folder / "samples.h5")


def test_a_verdict_for_each_property(properties: Result) -> None:
    found = property_verdicts(properties)
    assert [(v.file, v.in_words, v.witness, v.nodes) for v in found] == [
        ("p0.vnnlib", "verified, by CROWN", False, 0),
        ("p1.vnnlib", "verified, by branch and bound", False, 1200),
        ("p2.vnnlib", "falsified", True, 4),
        ("p3.vnnlib", "unknown", False, 900),
        ("p4.vnnlib", "unknown", False, 901),
        ("p5.vnnlib", "no value", False, None),
    ]
    assert [v.sample for v in found] == list(range(100, 106))
    assert [v.bound for v in found[2:5]] == [-1.0, -2.5, -0.37]


def test_runs_about_samples_have_no_verdicts_of_properties(samples: Result, tmp_path: Path) -> None:
    assert property_verdicts(samples) == []
    none = sample_run(tmp_path / "a.h5", compute=("verified",), nodes=0)
    assert {(u.nodes, u.attacked) for u in unknowns(none)} == {(None, None)}
    assert rows_of_unknowns([], 5) is None


def test_what_is_open_the_nearest_first(properties: Result, samples: Result) -> None:
    assert [(u.file, u.margin, u.attacked, u.nodes) for u in unknowns(properties)] == [
        ("p4.vnnlib", -0.37, math.inf, 901),
        ("p3.vnnlib", -2.5, math.inf, 900),
    ]
    # A misclassified sample, and one that failed, leave nothing to be proved.
    assert [(u.sample, u.eps, u.margin, u.attacked) for u in unknowns(samples)] == [
        (102, 0.01, -0.05, 0.015),
        (101, 0.01, -0.2, math.inf),
        (101, 0.02, -7.0, math.inf),
    ]


def test_without_margins_certified_radii_tell_what_is_near(tmp_path: Path) -> None:
    found = unknowns(sample_run(tmp_path / "a.h5", compute=("radius",), nodes=0))
    assert [(u.sample, u.eps, u.radius) for u in found] == [
        (102, 0.01, 0.009),
        (101, 0.01, 0.004),
        (101, 0.02, 0.004),
    ]
    rows = rows_of_unknowns(found, 9)
    assert rows is not None
    assert rows.headers == ["Open sample", "eps", "Certified radius", "Seconds"]
    assert rows.note == "The nearest to a proof first"


def test_a_table_of_what_is_open_is_cut(samples: Result) -> None:
    rows = rows_of_unknowns(unknowns(samples), 2)
    assert rows is not None
    assert rows.headers == ["Open sample", "eps", "Bound", "Attacked", "Subproblems", "Seconds"]
    assert rows.rows == [
        ["102", "0.01", "-0.05", "0.015", "60", "2.00"],
        ["101", "0.01", "-0.2", "none found", "101", "3.00"],
    ]
    assert rows.note.endswith("those of the sample at all radii; and 1 more: export has all")


def test_one_object_for_programs(properties: Result, samples: Result) -> None:
    told = json.loads(json.dumps(as_json(properties), allow_nan=False))
    assert [v["file"] for v in told["verdicts"]] == list(NAMES)
    assert told["verdicts"][4] == {
        "sample": 104, "file": "p4.vnnlib", "verdict": "unknown", "by": "", "bound": -0.37, "witness": False, "nodes": 901,
        "seconds": 8.0,
    }  # fmt: skip
    assert told["verdicts"][5]["bound"] is None
    assert (told["unknowns"]["total"], told["unknowns"]["nearest"][0]["attacked"]) == (2, "inf")
    told = as_json(samples)
    assert (told["verdicts"], told["unknowns"]["total"]) == ([], 3)


def test_tables_tell_verdicts_in_words(properties: Result, tmp_path: Path) -> None:
    dv.export(properties, tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["verdict"] for row in rows] == [*["verified"] * 2, "falsified", *["unknown"] * 2, "no value"]
    assert [row["witness"] for row in rows] == ["no", "no", "yes", "no", "no", "no"]
    dv.export(properties, tmp_path / "a.json", samples="2:4")
    told = json.loads((tmp_path / "a.json").read_text())
    assert [row["witness"] for row in told["samples"]] == ["yes", "no"]
    assert told["columns"]["verdict"]["meaning"] == "verified, falsified, unknown, or no value"
    # What is chosen by name is what is written.
    assert dv.export(properties, tmp_path / "b.csv", arrays=["verified"]) == ["sample", "verified"]


def test_older_files_without_counterexamples_are_told_too() -> None:
    class Older:
        dims = dict.fromkeys(("sample", "property", "verified", "property_margin", "seconds"), ("sample",))

        def read(self, name: str, where: object = ...) -> np.ndarray:
            return {"property": np.array(["a", "b"]), "verified": np.array([1, 0], np.int8)}.get(name, np.zeros(2))

        def __getitem__(self, name: str) -> np.ndarray:
            return self.read(name)

    assert [(v.verdict, v.witness, v.nodes) for v in property_verdicts(Older())] == [
        ("verified", False, None), ("unknown", False, None),
    ]  # fmt: skip


def demands(result: Result, forbid: str) -> dict[str, tuple[bool, str]]:
    return {d.name: (d.holds, d.detail) for d in check(result, forbid=forbid).demands[3:]}


def test_every_property_is_a_demand(properties: Result) -> None:
    found = demands(properties, "falsified")
    assert list(found) == [f"{name} is not falsified" for name in NAMES]
    assert [holds for holds, _ in found.values()] == [True, True, False, True, True, True]
    assert found["p1.vnnlib is not falsified"][1] == "verified, by branch and bound, bound > 0, 2 s"
    assert found["p2.vnnlib is not falsified"][1] == "falsified, counterexample stored, 0.3 s"
    # Of what failed nothing is known.
    found = demands(properties, "unknown, falsified")
    assert [holds for holds, _ in found.values()] == [True, True, False, False, False, False]
    assert found["p5.vnnlib is not falsified or unknown"][1] == "no value"


def test_of_samples_every_radius_is_a_demand(samples: Result) -> None:
    assert demands(samples, "falsified,unknown") == {
        "no sample is falsified at 0.01": (True, "0 of 5 samples"),
        "no sample is falsified at 0.02": (False, "1 of 5 samples: 102"),
        "no sample is unknown at 0.01": (False, "3 of 5 samples: 101, 102, 104"),
        "no sample is unknown at 0.02": (False, "2 of 5 samples: 101, 104"),
    }


def test_demands_that_make_no_sense(samples: Result, folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"forbid: got 'open'; choose falsified, unknown, or both"):
        check(samples, forbid=["open"])
    other = sample_run(folder / "other.h5")
    with pytest.raises(ResultError, match=r"has no verdicts to forbid; compute them \(compute="):
        check(_without_verdicts(folder), forbid="unknown")
    assert check(other).holds is False  # one failed, as ever


def test_a_demand_that_nothing_could_break_is_refused(tmp_path: Path) -> None:
    """One pass proves or leaves open: it finds no counterexample, and to find none says nothing."""
    once = sample_run(tmp_path / "once.h5", compute=("verified",), nodes=0)
    with pytest.raises(
        ResultError, match=r"no counterexample was looked for, so that nothing in it can be falsified; forbid"
    ):
        check(once, forbid="falsified")
    assert len(demands(once, "falsified,unknown")) == 4


def _without_verdicts(folder: Path) -> Result:
    from tests.results.runs import finish, make_manifest

    finish(folder / "none.h5", make_manifest(3, 3, compute=("lipschitz",)))
    return dv.open_result(folder / "none.h5")
