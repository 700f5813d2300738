"""The names that Python users reach: all there, as what they are, whatever else is imported."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify import errors


def test_every_name_leads_somewhere() -> None:
    for name in dv.__all__:
        assert getattr(dv, name) is not None
    assert set(dv.__all__) <= set(dir(dv))
    with pytest.raises(AttributeError, match="no attribute 'certfy'"):
        dv.certfy  # noqa: B018


def test_no_folder_takes_the_place_of_a_name() -> None:
    folders = {module.name for module in pkgutil.iter_modules(dv.__path__)}
    assert not folders & set(dv.__all__), "import distverify.NAME would hide the function"


def test_every_exception_is_a_name_of_the_package() -> None:
    own = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert own <= set(dv.__all__)


def test_what_public_docstrings_return_and_raise_is_a_name() -> None:
    for name in dv.__all__:
        text = getattr(dv, name).__doc__ or ""
        returned = re.findall(r"Returns\n\s+-+\n\s+(\w+)$", text, flags=re.MULTILINE)
        raised = re.findall(r"\b([A-Z]\w+Error|Interrupted)\b", text)
        for mentioned in (*returned, *raised):
            if mentioned[0].isupper() and mentioned not in ("Path", "ValueError", "TypeError", "KeyError"):
                assert mentioned in dv.__all__, (name, mentioned)


def test_importing_the_package_alone_is_light() -> None:
    code = "import sys, distverify; print([m for m in ('numpy', 'numba', 'ray', 'h5py', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_result_from_start_to_end(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    network = dv.Network.from_layers([(generator.standard_normal((3, 4)), np.zeros(3))])
    x = generator.uniform(size=(4, 4))
    output = tmp_path / "out.h5"
    compute = ("lipschitz", "outputs", "radius")
    result = dv.certify(network, x, eps=0.01, compute=compute, output=output, executor="serial")
    assert dv.report(result) == tmp_path / "out.html"
    assert dv.report([str(output)], tmp_path / "page.html").exists()
    assert "radius" in dv.export(output, tmp_path / "out.csv")
    outcome = dv.audit(output, network, x, points=8, executor="serial")
    assert isinstance(outcome, dv.Audit)
    assert (outcome.samples, outcome.violations) == (4, 0)
    assert isinstance(dv.estimate(network, x, timed=2, eps=0.01), dv.Estimate)
    for function in (dv.report, lambda r: dv.export(r, tmp_path / "a.csv"), lambda r: dv.audit(r, network, x)):
        with pytest.raises(dv.SettingsError, match="result: got int; give a Result, or the path of a result file"):
            function(3)  # type: ignore[operator]
    assert callable(importlib.import_module("distverify").audit)


NETWORK, X = dv.Network.from_layers([(np.eye(3), np.zeros(3))]), np.zeros(3)
WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "a path as network": (
        lambda: dv.jacobian_bounds("m.onnx", dv.Ball(X, 0.1)),
        "network: got 'm.onnx', which is no Network; distverify.load_network reads",
    ),
    "no network": (lambda: dv.stationary_free_radius(3, X), "network: got 3, which is no Network; give a Network"),
    "an array as region": (
        lambda: dv.lipschitz_constant(NETWORK, X),
        "region: got ndarray; give a distverify.Ball or a distverify.Box",
    ),
    "a number as region": (lambda: dv.output_bounds(NETWORK, 0.1), "region: got float; give a distverify.Ball"),
    "a name as label": (
        lambda: dv.certified_radius(NETWORK, X, "a"),
        "label: got 'a'; give a class, a whole number from 0",
    ),
    "a fraction as label": (lambda: dv.certified_radius(NETWORK, X, 1.5), "label: got 1.5; give a class"),
    "a word as norm": (lambda: dv.lipschitz_constant(NETWORK, norm="two"), "norm: got 'two'; give inf, 2 or 1"),
    "a word as a run's norm": (lambda: dv.Settings(norm="two"), "norm: got 'two'; choose inf, 2 or 1"),
    "a word as a run's eps": (
        lambda: dv.Settings(eps="a"),
        "eps: got 'a'; every radius must be a finite positive number",
    ),
    "a word as eps": (lambda: dv.Ball(X, "a"), "eps: got 'a'; give a radius, or one per feature"),
    "a word as x0": (lambda: dv.Ball("abc", 0.1), "x0: got 'abc'; give the sample's values"),
    "a number as clip": (lambda: dv.Ball(X, 0.1, clip=3), r"clip: got 3; give \(lo, hi\)"),
    "a word as evaluations": (
        lambda: dv.certified_radius(NETWORK, X, 0, evaluations="a"),
        "evaluations: got 'a'; give a whole number of at least 1",
    ),
    "a number as path": (lambda: dv.open_result(3), "path: got int; give the path of a result file"),
}  # type: ignore[arg-type]


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_told_in_a_sentence(case: str) -> None:
    call, message = WRONG[case]
    with pytest.raises(dv.DistverifyError, match=message):
        call()


def test_labels_may_be_what_numpy_gives() -> None:
    for label in (0, np.int64(0), np.array([0]), 0.0):
        assert dv.certified_radius(NETWORK, np.array([1.0, 0.0, 0.0]), label).radius > 0  # type: ignore[arg-type]


def test_progress_is_a_bar_or_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: dict[str, object] = {"eps": 0.1, "compute": {"lipschitz"}, "executor": "serial"}
    dv.certify(NETWORK, np.zeros((2, 3)), progress=True, output=tmp_path / "a.h5", **told)  # type: ignore[arg-type]
    assert "2/2" in capsys.readouterr().err
    with pytest.raises(dv.SettingsError, match="progress: got str; give True for a bar, or a function of a Progress"):
        dv.certify(NETWORK, np.zeros((2, 3)), progress="bar", output=tmp_path / "b.h5", **told)  # type: ignore[arg-type]
