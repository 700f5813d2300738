"""A run of regression, told: names and units everywhere, and nothing of classes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.cli.main import main
from distverify.pages.compare import compare
from distverify.pages.content import gather
from tests.networks import build_chain

NAMES = {"input_names": "speed [m/s],angle [rad]", "output_names": "thrust [N],torque"}
X = np.random.default_rng(0).uniform(-1, 1, (4, 2))
Y = np.array([0.25, -1.5, 3.125, 0.1])


def run(path: Path, kind: str) -> dv.Result:
    net = build_chain([2, 6, 2], [kind], np.random.default_rng(3))
    return dv.certify(
        net,
        X,
        Y,
        eps=[0.05],
        compute={"jacobian", "lipschitz", "outputs"},
        domain=(-1.0, 1.0),
        executor="serial",
        output=path,
        **NAMES,
    )


def visible(html: str) -> str:
    """What people read of a page, without markup."""
    return re.sub(r"<style.*?</style>|<metadata.*?</metadata>|<[^>]*>", " ", html, flags=re.DOTALL)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dv.Result]:
    folder = tmp_path_factory.mktemp("regression")
    return [run(folder / f"{kind}.h5", kind) for kind in ("tanh", "sigmoid")]


def test_show_has_a_table_of_derivatives(results: list[dv.Result], capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", str(results[0].path)], standalone_mode=False)
    told = " ".join(capsys.readouterr().out.split())
    assert "Derivative" in told
    for words in ("speed [m/s]", "angle [rad]", "thrust [N]", "balls of 0.05", "the domain"):
        assert words in told
    lower, upper = results[0].hull()
    assert f"{lower[0, 0, 0]:.4g} to {upper[0, 0, 0]:.4g}" in told


def test_a_comparison_has_names_and_no_labels(results: list[dv.Result]) -> None:
    page = visible(str(compare([gather(result) for result in results])))
    assert page.count("Derivatives and signs") == 1
    for words in ("speed [m/s]", "thrust [N]", "Ranges of outputs"):
        assert words in page
    for words in ("label", "class", "accuracy"):
        assert words not in page.lower()


def test_the_report_says_nothing_of_classes(results: list[dv.Result], tmp_path: Path) -> None:
    page = dv.report(results[0], tmp_path / "r.html").read_text(encoding="utf-8")
    said = visible(page[page.index("<body>") : page.index("<script>")])
    for words in ("misclassified", "undecided", "predicted", "Clean accuracy", "label"):
        assert words not in said
    assert "thrust [N]" in said
