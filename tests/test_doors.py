"""The names that Python users reach: all there, as what they are, whatever else is imported."""

from __future__ import annotations

import importlib
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify import errors
from distverify.cli.main import main
from distverify.demo import DATA, MODEL


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


LAYERS = [(np.eye(3), np.zeros(3)), (np.eye(3), np.zeros(3))]
NETWORK, X = dv.Network.from_layers(LAYERS[:1]), np.zeros(3)
BALL = dv.Ball(X, 0.1)


def certify(**wrong: object) -> object:
    """A run that is refused before it starts."""
    told = {"model": NETWORK, "x": X[None], "eps": 0.1, "compute": "lipschitz", "output": "x.h5", "executor": "serial"}
    return dv.certify(**{**told, **wrong})  # type: ignore[arg-type]


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
    "a word as the label of a verdict": (
        lambda: dv.verify(NETWORK, BALL, label="a"),
        "label: got 'a'; give a class, a whole number from 0",
    ),
    "no network for a verdict": (lambda: dv.verify(None, BALL, label=0), "network: got None, which is no Network"),
    "a word as nodes of a verdict": (
        lambda: dv.verify(NETWORK, BALL, label=0, nodes="a"),
        "nodes: got 'a'; give a whole number of at least 1",
    ),
    "a word as time": (
        lambda: dv.verify(NETWORK, BALL, label=0, time_limit="a"),
        "time_limit: got 'a'; give a number of",
    ),
    "words as rows of a verdict": (lambda: dv.verify(NETWORK, BALL, rows="a"), "rows: got 'a'; give finite numbers"),
    "words as rows": (
        lambda: dv.jacobian_bounds(NETWORK, BALL, rows="a"),
        "rows: got 'a'; give output rows between 0 and 2",
    ),
    "a fraction as row": (lambda: dv.jacobian_bounds(NETWORK, BALL, rows=[0.5]), "rows: got .*; give output rows"),
    "a word as C": (lambda: dv.jacobian_bounds(NETWORK, BALL, C="a"), "C: got 'a'; give a matrix"),
    "a word as nodes": (lambda: dv.lipschitz_constant(NETWORK, BALL, nodes="a"), "nodes: got 'a'; give a whole number"),
    "a fraction as nodes": (
        lambda: dv.certified_radius(NETWORK, X, 0, nodes=1.5),
        "nodes: got 1.5; give a whole number",
    ),
    "a text as norm of a ball": (lambda: dv.Ball(X, 0.1, norm="2"), "norm: got 2; choose inf, 2 or 1"),
    "a word as factors": (
        lambda: dv.Ball(X, 0.1, feature_eps="a"),
        "feature_eps: got 'a'; give one factor per feature",
    ),
    "words as corners": (lambda: dv.Box("a", "b"), "lower: got 'a'; give a value per feature"),
    "words as inputs": (lambda: NETWORK("a"), r"x: got 'a'; give an array of numbers \[N, 3\]"),
    "no layers": (lambda: dv.Network.from_layers(3), "layers: got 3; give at least one"),
    "matrices without biases": (lambda: dv.Network.from_layers([np.eye(3)]), "layers: got an item that is no pair"),
    "a number as activation": (lambda: dv.Network.from_layers(LAYERS, activation=3), "activation: got 3; give a name"),
    "a word as slope": (
        lambda: dv.Network.from_layers(LAYERS, activation="leaky_relu", slope="a"),
        "slope: got 'a'; give a number",
    ),
    "no data": (lambda: certify(x=None), "data: is missing; give samples, or a box .* \\(domain\\)"),
    "no file of data": (lambda: certify(x="none.npz"), "none.npz: cannot be opened"),
    "no model": (lambda: certify(model=None), "model: got NoneType; give a Network or the path"),
    "an object as eps": (lambda: certify(eps=object()), "eps: got .*; every radius must be a finite positive number"),
    "a number as compute": (lambda: certify(compute=3, eps=()), "compute: got 3; give names, any of"),
    "a number among names": (lambda: certify(compute=["lipschitz", 3]), "compute: got list; give names, any of"),
    "a fraction as targets": (
        lambda: certify(targets=1.5, compute="radius"),
        "targets: got 1.5; give a text or a whole number",
    ),
    "a number as a run's clip": (lambda: certify(clip=3), "clip: got 3; give LO,HI"),
    "words as a run's clip": (lambda: certify(clip=("a", "b")), "clip: got 'a'; give LO,HI"),
    "a number as domain": (lambda: certify(domain=3), "domain: got 3; give LO,HI"),
    "words as a run's factors": (lambda: certify(feature_eps=["a"] * 3), "feature_eps: got list; give one factor"),
    "a word as marches": (
        lambda: certify(march_evaluations="a", compute="radius"),
        "march_evaluations: got 'a'; give a whole number",
    ),
    "a word as a run's nodes": (lambda: certify(nodes="a"), "nodes: got 'a'; give a whole number"),
    "a number as method": (lambda: certify(method=3), "method: got 3; give a text"),
    "a word as scale": (lambda: certify(x=str(DATA), scale="a"), "scale: got 'a'; give a number"),
    "a number as preprocessing": (lambda: certify(preprocessing=3), "preprocessing: got 3; give the path of a file"),
    "a number as names": (lambda: certify(input_names=3), "input_names: got 3; give a name for each"),
    "a word as flag": (lambda: certify(no_labels="yes"), "no_labels: got 'yes'; give True or False"),
    "a number as features": (lambda: certify(features=3), "features: got 3; give a text"),
    "a number as address": (lambda: certify(executor="ray", address=3), "address: got 3; give a text"),
    "a word as actors": (lambda: certify(executor="ray", max_actors="a"), "max_actors: got 'a'; give a whole number"),
    "a word as memory": (
        lambda: certify(executor="ray", memory_per_actor="a"),
        "memory_per_actor: got 'a'; give a whole",
    ),
    "a word as limit": (lambda: certify(time_limit="a"), "time_limit: got 'a'; give a number"),
    "a number as labels of nodes": (
        lambda: certify(executor="ray", label_selector=3),
        "label_selector: got 3; give a dict",
    ),
    "a number as environment": (lambda: certify(executor="ray", runtime_env=3), "runtime_env: got 3; give the path"),
    "a word as unit": (lambda: certify(samples_per_unit="a"), "samples_per_unit: got 'a'; give a whole number"),
    "no output": (lambda: certify(output=None), "output: got None; give the path of a file"),
    "a word as overwrite": (lambda: certify(overwrite="yes"), "overwrite: got 'yes'; give True or False"),
    "a number as name": (lambda: certify(name=3), "name: got 3; give a text"),
    "a word as points": (
        lambda: dv.audit("a.h5", NETWORK, X, points="a"),
        "points: got 'a'; give a whole number of at least 8",
    ),
    "a word as timed": (
        lambda: dv.estimate(NETWORK, X, timed="a"),
        "timed: got 'a'; give a whole number of at least 2",
    ),
    "a word as seed": (lambda: dv.estimate(NETWORK, X, seed="a"), "seed: got 'a'; give a whole number of at least 0"),
    "a word as radius": (lambda: dv.check("a.h5", certified_at="a", least=0.5), "certified_at: got 'a'; give a radius"),
    "a word as share": (
        lambda: dv.check("a.h5", certified_at=0.1, least="a"),
        "least: got 'a'; give a share from 0 to 1",
    ),
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


def test_errors_speak_python_here_and_options_there(tmp_path: Path) -> None:
    output = str(tmp_path / "out.h5")
    told = {"eps": 0.1, "time_limit": 3.0, "executor": "serial", "output": output}
    with pytest.raises(dv.SettingsError, match="choose executor='ray', leave time_limit out, or give nodes: ") as here:
        dv.certify(str(MODEL), str(DATA), **told)  # type: ignore[arg-type]
    words = [str(MODEL), str(DATA), "--eps", "0.1", "--time-limit", "3", "--executor", "serial", "-o", output]
    there = CliRunner().invoke(main, ["certify", *words])
    assert there.exit_code == 2
    assert "error: --time-limit: got 3.0" in there.stderr
    assert "choose --executor ray, leave --time-limit out, or give --nodes: " in there.stderr
    assert not any(ord(c) < 10 or 27 < ord(c) < 32 for c in str(here.value) + there.stderr)
    missing = CliRunner().invoke(main, ["certify", str(MODEL), "-o", output]).stderr
    assert missing == "error: DATA: is missing; give samples, or a box that stands for all inputs (--domain)\n"
    kept = pickle.loads(pickle.dumps(here.value))  # noqa: S301  # as workers send them
    assert str(kept) == str(here.value)
    assert kept.marked == here.value.marked
    cause = dv.Interrupted(1, 2, "out.h5", here.value)
    assert "leave time_limit out" in str(cause)
