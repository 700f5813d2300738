"""Verdicts on the page."""

from __future__ import annotations

from pathlib import Path

from distverify.pages.report import report
from tests.pages.test_report import Page
from tests.results.verdict_runs import property_run, sample_run


def test_properties_and_what_is_open(tmp_path: Path) -> None:
    report([property_run(tmp_path / "out.h5")], tmp_path / "out.html")
    text = Page((tmp_path / "out.html").read_text(encoding="utf-8")).text
    for expected in ("Verdicts", "p1.vnnlib", "verified, by branch and bound", "> 0", "Still open",
                     "2 property files are neither verified nor falsified"):  # fmt: skip
        assert expected in text, expected
    assert text.rindex("p4.vnnlib") < text.rindex("p3.vnnlib")
    assert "Unknown2of 6 property files" in text
    assert "Samples are numbered" not in text


def test_samples_that_are_open(tmp_path: Path) -> None:
    report([sample_run(tmp_path / "out.h5")], tmp_path / "out.html")
    text = Page((tmp_path / "out.html").read_text(encoding="utf-8")).text
    assert "2 samples are neither verified nor falsified in some ball" in text
    assert "none found" in text


def test_two_runs_over_the_same_properties(tmp_path: Path) -> None:
    runs = [property_run(tmp_path / "a.h5"), property_run(tmp_path / "b.h5", broken=4)]
    report(runs, tmp_path / "out.html")
    text = Page((tmp_path / "out.html").read_text(encoding="utf-8")).text
    table = text[text.index("Verdicts") :]
    # What differs comes first.
    assert "unknown" in table[table.index("p4.vnnlib") : table.index("p0.vnnlib")]
    assert "falsified" in table[table.index("p4.vnnlib") : table.index("p0.vnnlib")]
