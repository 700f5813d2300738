from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distverify.cli.tables import (
    print_tables,
    provenance_table,
    summary_tables,
)
from distverify.results.summary import Failure, Summary
from distverify.settings import Settings
from distverify.words import describe_settings
from tests.cli.handmade import PROVENANCE, SETTINGS, SUMMARY


def render(capsys: pytest.CaptureFixture[str], summary: Summary, settings: Settings = SETTINGS, **changes: Any) -> str:
    print_tables(summary_tables(summary, settings, PROVENANCE | changes, Path("out.h5")))
    return capsys.readouterr().out


def words(text: str) -> str:
    return " ".join(text.split())


def test_summary_tells_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    text = words(render(capsys, SUMMARY))
    for expected in (
        "Model digits.onnx (64 inputs, 10 outputs)",
        "Data digits.npz (200 samples)",
        "Settings norm inf; eps 0.02, 0.05; compute jacobian, lipschitz, radius; method linear; layer bounds crown;",
        "untargeted radius; inputs in [0, 1]",
        "Samples 189 ok, 4 misclassified, 6 failed, 1 timed out",
        "Clean accuracy 97.9% (189 of 193)",
        "median 0.07123, mean 0.07, min 0 (inf norm, units of the data; 0 where misclassified)",
        "Time 38 s in kernels, 20 s from start to end",
        "Result out.h5",
        "0.02 180 of 193 (93.3%) 10 20.5 31.25 21.5 40",
        "0.05 150 of 193 (77.7%) 11 22 1.235e+06 23.5 2e+06",
        "Lipschitz: of the vector output in the ball, inf norm on both sides; quantiles over samples",
        "3 failed ValueError: no bounds for sample 3",
        "and 2 more: arrays status and message of out.h5",
    ):
        assert expected in text
    assert "sample 17" not in text, "only the first failures are shown"


def test_what_is_missing_has_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    bare = replace(
        SUMMARY,
        counts={"pending": 0, "ok": 200, "misclassified": 0, "failed": 0, "timed_out": 0},
        labelled=0,
        correct=0,
        spreads={},
        shares={},
        failures=(),
    )
    text = render(capsys, bare, Settings(eps=(0.02,), compute=("jacobian",)))
    assert "Samples   200 ok\n" in "\n".join(row.rstrip() for row in text.splitlines())
    for absent in ("accuracy", "Certified", "Lipschitz", "Message", "radius"):
        assert absent not in text


def test_radii_without_eps_need_no_eps_table(capsys: pytest.CaptureFixture[str]) -> None:
    text = render(
        capsys,
        replace(SUMMARY, shares={}, spreads={"radius": SUMMARY.spreads["radius"]}),
        Settings(compute=("radius",), targets=3, norm=2),
    )
    assert "target class 3" in text
    assert "(2 norm, units of the data" in words(text)
    assert "eps" not in text


def test_an_unfinished_run_says_how_much_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"pending": 150, "ok": 49, "misclassified": 1, "failed": 0, "timed_out": 0}
    shares: dict[str, dict[float | None, int]] = {"certified": {0.02: 40, 0.05: 30}}
    summary = replace(SUMMARY, counts=counts, wall_seconds=None, shares=shares, spreads={})
    text = words(render(capsys, summary, end=None))
    assert "150 pending, 49 ok, 1 misclassified - unfinished, 50 of 200 are done" in text
    assert "0.02 40 of 50 (80.0%)" in text
    assert "from start to end" not in text


def test_piped_output_has_no_escape_codes_and_loses_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a-model-with-a-very-long-name-" * 8 + ".onnx"
    text = render(capsys, SUMMARY, model=PROVENANCE["model"] | {"name": name})
    assert "\x1b" not in text
    assert name in "".join(text.split())
    assert max(map(len, text.splitlines())) <= 110


def test_foreign_text_cannot_steer_the_terminal_or_be_markup(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = Failure(0, "failed", "\x1b[2Jgone\x07 [red]not red[/red] :smile:")
    text = render(capsys, replace(SUMMARY, failures=(hostile,)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]not red[/red] :smile:" in text


def test_settings_in_one_line() -> None:
    assert describe_settings(Settings(eps=(0.1,), compute=("lipschitz",), method="recurjac")) == (
        "norm inf; eps 0.1; compute lipschitz; method recurjac; layer bounds crown"
    )
    many = Settings(eps=tuple(0.01 * k for k in range(1, 21)), compute=("lipschitz",), precision="float32")
    text = describe_settings(many)
    assert "eps 20 radii from 0.01 to 0.2; " in text
    assert text.endswith("; precision float32")
    text = describe_settings(Settings(norm=1, compute=("radius",), targets="runner-up"))
    assert text == "norm 1; compute radius; method linear; layer bounds crown; runner-up radius"


def test_provenance(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([provenance_table(PROVENANCE)])
    text = capsys.readouterr().out
    for expected in ("ab" * 32, "cd" * 32, "node1", "3.11.7", "numpy 2.4.6", "--eps 0.02,0.05 -o out.h5"):
        assert expected in text
    print_tables([provenance_table(PROVENANCE | {"end": None, "environment": {}})])
    text = capsys.readouterr().out
    assert "not finished" in text
    assert "Host" not in text
