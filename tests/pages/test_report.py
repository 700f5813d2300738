from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main
from distverify.errors import ResultError, SettingsError
from distverify.pages.content import gather
from distverify.pages.page import render
from distverify.pages.ranges import _sign
from distverify.pages.report import report
from distverify.results.statistics import describe_statistics
from distverify.words import session_facts
from distverify.work import RunStatistics, WorkerRecord
from tests.pages.results import HOSTILE, write_result

LARGEST = 3_000_000
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, and fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href") or k.startswith("on")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self._open):
            self.text += data


def page_of(tmp_path: Path, **options: Any) -> Page:
    report([write_result(tmp_path / "out.h5", **options)], tmp_path / "out.html")
    assert (tmp_path / "out.html").stat().st_size < LARGEST
    return Page((tmp_path / "out.html").read_text(encoding="utf-8"))


def test_a_reader_who_knows_nothing_finds_the_answers(tmp_path: Path) -> None:
    text = page_of(tmp_path).text
    for expected in (
        "net.onnx on data.csv", "36 inputs, 3 outputs", "24 samples", "every input value may change by at most eps",
        "computed of 24", "95.7%", "Certified at 0.01", "Radius",
        "Free of stationary points", "samples certified", "clean accuracy", "CROWN margins",
        "class 2 (7)", "Lipschitz constant (inf norm)", "bound of |df/dx|", "sign known",
        "those with the weakest radius first",
        "ValueError: no bounds", "1 of 24 samples without a result", "Kernel time", "a" * 64, "b" * 64,
        "distverify certify net.onnx data.csv -o out.h5", "How to cite", "arXiv:1811.00866", "arXiv:2210.07394",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_workers_are_told_as_on_the_terminal(tmp_path: Path) -> None:
    result = write_result(tmp_path / "out.h5")
    told = describe_statistics(RunStatistics((WorkerRecord(0, "node-a", 3, 20, 20.0, 25.0),), 3), 1, 30.0)
    content = gather(result)
    content.provenance["environment"]["statistics"] = told | {"resumed": 4}
    text = Page(render([content], {})).text
    for expected in ("Last session", *session_facts(content.provenance["environment"]["statistics"], 24).values()):
        assert expected in text
    assert "80% of 25 s of workers' time" in text
    assert "4 of 24 samples were done by earlier sessions" in text


def test_nothing_is_loaded_and_no_text_is_markup(tmp_path: Path) -> None:
    page = page_of(tmp_path, message=HOSTILE, model=HOSTILE, data=HOSTILE)
    assert page.tags.count("script") == 1, "the one that sorts tables"
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    (own,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text, "nothing else may run"
    assert 'alert("x")' in page.text
    assert "\x1b" not in page.text
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert "default-src 'none'" in (tmp_path / "out.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "options",
    [
        {"compute": ("radius",), "eps": ()},
        {"compute": ("lipschitz",), "eps": (0.01,)},
        {"compute": ("jacobian",), "eps": (0.01,), "input_size": 5},
        {"compute": ("landscape",), "eps": ()},
        {"finished": False},
    ],
)
def test_any_result_gives_a_page(tmp_path: Path, options: dict[str, Any]) -> None:
    page = page_of(tmp_path, **options)
    assert ("not finished when this page was made: 12 of 24" in page.text) == ("finished" in options)
    assert ("Jacobian maps" in page.text) == ("finished" in options)


def test_figures_as_files(tmp_path: Path) -> None:
    report([write_result(tmp_path / "out.h5")], tmp_path / "out.html", figures=tmp_path / "figures", samples=[105])
    names = {p.name for p in (tmp_path / "figures").iterdir()}
    stems = {
        "certified-accuracy",
        "radii",
        "radii-by-class",
        "stationary-free-radii",
        "lipschitz",
        "seconds",
        "jacobian-105",
    }
    assert names == {f"{s}.{e}" for s in stems for e in ("pdf", "png", "svg")}
    assert (tmp_path / "figures" / "radii.png").read_bytes().startswith(b"\x89PNG")


def test_comparison(tmp_path: Path) -> None:
    one = write_result(tmp_path / "one.h5")
    two = write_result(tmp_path / "two.h5", seed=1, model="other.onnx", model_digest="c" * 64)
    report([one, two], tmp_path / "out.html")
    page = Page((tmp_path / "out.html").read_text(encoding="utf-8"))
    for expected in ("Side by side", "one.h5 against two.h5, sample by sample", "other.onnx", "cccccccccccc"):
        assert expected in page.text
    assert re.search(
        r"of 23 samples with a value in both, larger in two\.h5 for \d+, smaller for \d+, equal for \d+", page.text
    )
    other = write_result(tmp_path / "three.h5", compute=("lipschitz",), data_digest="d" * 64)
    report([one, other], tmp_path / "out.html")
    assert "samples are matched by their index" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_the_same_result_gives_the_same_page(tmp_path: Path) -> None:
    result = write_result(tmp_path / "out.h5")
    pages = [report([result], tmp_path / f"{k}.html").read_bytes() for k in range(2)]
    assert pages[0] == pages[1]


def test_misuse(tmp_path: Path) -> None:
    result = write_result(tmp_path / "out.h5")
    with pytest.raises(SettingsError, match="results: got 5; give 1 to 4"):
        report([result] * 5, tmp_path / "out.html")
    with pytest.raises(SettingsError, match="samples, shape: are for the maps of one result"):
        report([result] * 2, tmp_path / "out.html", samples=[105])
    other = write_result(tmp_path / "two.h5", norm=2.0)
    with pytest.raises(SettingsError, match="results: have norms 2 and inf, whose radii have nothing in common"):
        report([result, other], tmp_path / "out.html")
    with pytest.raises(SettingsError, match=r"output: got 'out\.h5'; its name must end in \.html, \.htm"):
        report([result], tmp_path / "out.h5")
    with pytest.raises(ResultError, match=r"out\.html: cannot be written \(No such file or directory\)"):
        report([result], tmp_path / "missing" / "out.html")


def test_command_line(tmp_path: Path) -> None:
    write_result(tmp_path / "out.h5")
    begin = time.perf_counter()
    done = CliRunner().invoke(main, ["report", str(tmp_path / "out.h5"), "--samples", "105", "--shape", "6,6"])
    assert done.exit_code == 0, done.output
    assert time.perf_counter() - begin < 20
    assert (tmp_path / "out.html").exists()
    assert "MB; open it in any browser" in done.stdout
    wrong = CliRunner().invoke(main, ["report", str(tmp_path / "out.h5"), "--samples", "a"])
    assert wrong.exit_code == 2
    assert "--samples: got 'a'; write whole numbers" in wrong.stderr


def regression(tmp_path: Path, **options: Any) -> Page:
    """The page of a run on a network of two outputs without classes."""
    generator = np.random.default_rng(0)
    layers = [(generator.standard_normal((8, 3)), np.zeros(8)), (generator.standard_normal((2, 8)), np.zeros(2))]
    network = dv.Network.from_layers(layers, "tanh")
    given = {"eps": (0.01,), "compute": ("jacobian", "outputs"), "domain": (0.0, 1.0)} | options
    output = tmp_path / "regression.h5"
    result = dv.certify(
        network, generator.uniform(size=(5, 3)), output=output, executor="serial", overwrite=True, **given
    )
    return Page(dv.report(result).read_text(encoding="utf-8"))


def test_a_regression_has_no_classes(tmp_path: Path) -> None:
    text = regression(tmp_path).text
    for absent in ("isclassified", "class", "Certified", "accuracy"):
        assert absent not in visible(text), absent
    for expected in (
        "Ranges of outputs",
        "Derivatives and signs",
        "the domain",
        "balls of 0.01",
        "output 1",
        "input 2",
    ):
        assert expected in text, expected


def test_without_balls_none_are_told_of(tmp_path: Path) -> None:
    text = visible(regression(tmp_path, eps=()).text)
    assert "with every value between 0 and 1" in text
    assert "ball" not in text
    text = visible(regression(tmp_path, eps=(), domain=None, compute=("global",)).text)
    assert "examined as a whole" in text
    assert "ball" not in text


def test_signs_are_those_of_the_bounds() -> None:
    assert [_sign(*pair) for pair in ((0.1, 0.2), (-2.0, -1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 0.0))] == [
        "always rises", "always falls", "not known", "not known", "no influence",
    ]  # fmt: skip


def visible(text: str) -> str:
    """All but where the numbers come from."""
    return text.partition("Provenance")[0]
