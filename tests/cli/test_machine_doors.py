"""What programs read and give: JSON objects, a file of options, the environment, demands on a result, a run again."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result

import distverify as dv
from distverify.cli.config import without_config
from distverify.cli.main import main
from tests.network.onnx_models import model, node, save

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    weights = {"w": RNG.normal(size=(4, 6)), "v": RNG.normal(size=(6, 3))}
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    save(model(nodes, weights), folder, "net.onnx")
    network = dv.load_network(folder / "net.onnx")
    x = RNG.uniform(size=(6, network.input_size))
    np.savez(folder / "data.npz", x=x, y=network(x).argmax(axis=1))
    return folder


def call(*words: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], env=env, prog_name="distverify")


def certify(folder: Path, output: Path, *words: object, env: dict[str, str] | None = None) -> Result:
    named = ("--executor", "serial", "--compute", "radius", "-q")
    return call("certify", folder / "net.onnx", folder / "data.npz", "-o", output, *named, *words, env=env)


@pytest.fixture(scope="module")
def output(folder: Path) -> Path:
    done = certify(folder, folder / "out.h5", "--eps", "0.01,0.02", "--name", "the first")
    assert done.exit_code == 0, done.output
    return folder / "out.h5"


def test_a_run_as_one_object(folder: Path, tmp_path: Path) -> None:
    done = certify(folder, tmp_path / "a.h5", "--json", "--progress", "json", "--eps", 0.01)
    told = json.loads(done.stdout)
    assert (told["format"], told["samples"], told["complete"]) == ("distverify result 1", 6, True)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert {e["format"] for e in events} == {"distverify progress 1"}
    assert [e["done"] for e in events if e["event"] == "progress"][-1] == 6


def told_in(lines: str) -> list[dict[str, object]]:
    events = [json.loads(line) for line in lines.splitlines()]
    assert {e["format"] for e in events} == {"distverify progress 1"}
    assert all(isinstance(e["time"], float) for e in events)
    return events


def test_all_lines_as_objects(folder: Path, tmp_path: Path) -> None:
    # Balls below the resolution of whole numbers are warned about.
    x = RNG.integers(0, 100, size=(6, 4)).astype(float)
    np.savez(tmp_path / "whole.npz", x=x, y=dv.load_network(folder / "net.onnx")(x).argmax(axis=1))
    words = (
        "certify",
        folder / "net.onnx",
        tmp_path / "whole.npz",
        "--executor",
        "serial",
        "--compute",
        "verified",
        "--eps",
        0.01,
    )
    as_json = {"DISTVERIFY_LOG": "json"}
    done = call(*words, "-o", tmp_path / "a.h5", env=as_json)
    assert done.exit_code == 0
    events = told_in(done.stderr)
    assert [e["done"] for e in events if e["event"] == "progress"][-1] == 6
    (warned,) = [e for e in events if e["event"] == "warning" and e["logger"] == "distverify.inputs"]
    assert "values of the data are multiples of 1" in str(warned["message"])
    # Quiet keeps its meaning; lines stay lines where somebody asks for them, and warnings are objects even then.
    assert call(*words, "-o", tmp_path / "b.h5", "-q", env=as_json).stderr == ""
    lines = call(*words, "-o", tmp_path / "c.h5", "--progress", "lines", env=as_json).stderr.splitlines()
    assert [e["event"] for e in told_in("\n".join(line for line in lines if line.startswith("{")))] == ["warning"]
    assert lines[-1].startswith("6/6 samples")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("certify", "{}/net.onnx", "{}/none.npz", "--eps", "0.01", "-o", "{}/none.h5"), 2, "none.npz"),
        (("certify", "{}/net.onnx", "{}/data.npz", "--epz", "1"), 2, "No such option '--epz'"),
        (("sertify",), 2, "No such command 'sertify'"),
        (("--nothing",), 2, "No such option '--nothing'"),
        (("show", "{}/absent.h5"), 2, "absent.h5"),
    ],
)
def test_errors_as_objects(words: tuple[str, ...], status: int, message: str, folder: Path) -> None:
    done = call(*(word.format(folder) for word in words), env={"DISTVERIFY_LOG": "json"})
    assert done.exit_code == status
    (event,) = told_in(done.stderr)
    assert event["event"] == "error"
    assert message in str(event["message"])
    assert not str(event["message"]).startswith("error")


def test_what_is_logged_outside_of_runs_and_notes(output: Path, folder: Path) -> None:
    words = ("audit", output, folder / "net.onnx", folder / "data.npz", "--points", 8, "--executor", "serial")
    events = told_in(call(*words, env={"DISTVERIFY_LOG": "json"}).stderr)
    assert events[-1]["event"] == "note"
    assert events[-1]["message"] == "6/6 samples attacked"
    assert call(*words).stderr.splitlines()[-1] == "6/6 samples attacked"


def test_a_form_of_lines_that_does_not_exist(folder: Path) -> None:
    done = call("show", folder / "net.onnx", env={"DISTVERIFY_LOG": "yaml"})
    assert done.exit_code == 2
    assert done.stderr == (
        "error: the environment variable DISTVERIFY_LOG: got 'yaml'; set it to text or json, or not at all\n"
    )
    assert call("show", folder / "net.onnx", env={"DISTVERIFY_LOG": "text"}).exit_code == 0


def test_the_name_of_a_run_is_told(output: Path) -> None:
    assert dv.open_result(output).provenance["environment"]["name"] == "the first"
    assert "the first" in call("show", output).output


def test_audit_and_estimate_as_one_object(folder: Path, output: Path) -> None:
    done = call(
        "audit", output, folder / "net.onnx", folder / "data.npz", "--points", 8, "--executor", "serial", "--json", "-q"
    )
    told = json.loads(done.stdout)
    assert (told["format"], told["violations"], told["samples"]) == ("distverify audit 1", 0, 6)
    assert {f["variable"] for f in told["findings"]} >= {"radius"}
    done = call(
        "estimate",
        folder / "net.onnx",
        folder / "data.npz",
        "--timed",
        2,
        "--eps",
        0.01,
        "--compute",
        "radius",
        "--json",
    )
    told = json.loads(done.stdout)
    assert (told["format"], told["samples"], told["timed"]) == ("distverify estimate 1", 6, 2)


def test_options_from_a_file_and_the_environment(folder: Path, tmp_path: Path) -> None:
    text = f"""
        model = "{folder / "net.onnx"}"
        data = ["{folder / "data.npz"}"]
        eps = [0.01, 0.03]
        [certify]
        compute = "radius"
        executor = "serial"
        no-labels = true
        norm = 2
        [audit]
        points = 9
    """
    (tmp_path / "run.toml").write_text(text)
    output = tmp_path / "out.h5"
    env = {"DISTVERIFY_CERTIFY_CLIP": "-1,2", "DISTVERIFY_CERTIFY_NORM": "inf"}
    done = call("certify", "--config", tmp_path / "run.toml", "-o", output, "-q", "--eps", 0.02, env=env)
    assert done.exit_code == 0, done.output
    result = dv.open_result(output)
    settings = result.settings
    assert (settings.eps, settings.norm, settings.clip) == ((0.02,), float("inf"), (-1.0, 2.0))
    assert set(result["label"].tolist()) == {-1}
    command = result.provenance["environment"]["command"]
    assert "--config" not in command
    assert "--clip -1,2" in command
    assert "--no-labels" in command
    done = call("rerun", output, "-q")
    assert (done.exit_code, "the same numbers" in done.output) == (0, True), done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("esp = 0.1", "says 'esp', which certify does not have; did you mean 'eps'?"),
        ("eps = {a = 1}\n[certify]\neps = 1979-05-27", "eps: is date; write a text, a number"),
        ("eps", "is no TOML"),
        ("[certify]\neps = ['a']", "'a' in 'a' is not a finite number"),
    ],
)
def test_a_file_that_makes_no_sense(text: str, message: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(text)
    done = certify(folder, tmp_path / "out.h5", "--config", tmp_path / "run.toml")
    assert done.exit_code == 2
    assert message in done.output


def test_the_command_without_its_file() -> None:
    assert without_config("distverify certify --config a.toml m --config=b d -o 'o 1.h5'") == (
        "distverify certify m d -o 'o 1.h5'"
    )


def test_a_run_again_is_the_same(output: Path, tmp_path: Path) -> None:
    done = call("rerun", output, "-o", tmp_path / "again.h5", "-q")
    assert done.exit_code == 0, done.output
    assert "bit by bit" in done.output
    data = output.parent / "data.npz"
    kept = data.read_bytes()
    try:
        with np.load(data) as arrays:
            np.savez(data, x=arrays["x"] * 0.5, y=arrays["y"])
        done = call("rerun", output, "-o", tmp_path / "other.h5", "-q")
        assert (done.exit_code, "data changed" in done.output) == (1, True), done.output
    finally:
        data.write_bytes(kept)
    network = dv.Network.from_layers([(np.eye(2), np.zeros(2))])
    dv.certify(network, np.zeros((1, 2)), eps=0.1, compute={"lipschitz"}, output=tmp_path / "p.h5", executor="serial")
    done = call("rerun", tmp_path / "p.h5")
    assert "tells of no command, for its run was made from Python" in done.output


def test_demands_on_a_result(output: Path, folder: Path, tmp_path: Path) -> None:
    done = call("check", output, "--certified-at", 0.0, "--min", 1.0, "--junit", tmp_path / "c.xml", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["format"], told["holds"], told["share"]) == (0, "distverify check 1", True, 1.0)
    suites = ElementTree.fromstring((tmp_path / "c.xml").read_text())
    assert (suites.get("tests"), suites.get("failures")) == ("4", "0")
    done = call("check", output, "--certified-at", 100.0, "--min", 0.5, "--junit", tmp_path / "c.xml")
    assert done.exit_code == 1
    assert "NOT MET  at least 50.0% certified at 100: 0 of 6 samples (0.0%)" in done.output
    suites = ElementTree.fromstring((tmp_path / "c.xml").read_text())
    assert [f.get("message") for f in suites.iter("failure")] == ["0 of 6 samples (0.0%) certified at 100"]
    assert call("check", output, "--certified-at", 0.01, "--baseline", output).exit_code == 0
    for words, message in (
        (("--certified-at", 0.1), "--certified-at: goes with a least share (--min) or a baseline"),
        (("--min", 0.1), "--certified-at: goes with"),
        (("--certified-at", 0.1, "--min", 2), "--min: got 2.0; give a share from 0 to 1"),
    ):
        done = call("check", output, *words)
        assert (done.exit_code, message in done.output) == (2, True), done.output


def test_a_lost_certificate_is_found(output: Path, folder: Path, tmp_path: Path) -> None:
    assert certify(folder, tmp_path / "clipped.h5", "--eps", 0.01, "--clip", "0,1").exit_code == 0
    old, new = dv.open_result(tmp_path / "clipped.h5"), dv.open_result(output)
    k = int(np.argmax(old["radius"] - new["radius"]))
    assert old["radius"][k] > new["radius"][k]  # in the box only, balls hold less
    eps = 0.5 * (old["radius"][k] + new["radius"][k])
    outcome = dv.check(new, certified_at=float(eps), baseline=old)
    assert not outcome.holds
    assert f"{len(np.flatnonzero((old['radius'] >= eps) & (new['radius'] < eps)))} lost" in outcome.demands[-1].detail
