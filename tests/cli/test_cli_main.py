"""The command line as a user meets it, with the computation behind it replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import distverify
from distverify.cli.main import main
from distverify.errors import ExecutorError, Interrupted, ModelError
from distverify.results.summary import Summary
from distverify.settings import Settings
from tests.cli.handmade import PROVENANCE, SETTINGS, SUMMARY

CHECKOUT = Path(__file__).resolve().parents[2]
CERTIFY = ("certify", "net.onnx", "data.npz", "-o", "out.h5")
CLEAN = replace(SUMMARY, failures=())


@dataclass
class MadeResult:
    """What the command line uses of distverify.results.reader.Result."""

    made: Summary
    path: Path = Path("out.h5")
    settings: Settings = SETTINGS
    provenance: dict[str, Any] = field(default_factory=lambda: PROVENANCE)
    dims: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def summary(self) -> Summary:
        return self.made


@dataclass
class Recorder:
    """Stands in for distverify.api.certify: records its arguments, then returns or raises ``outcome``."""

    outcome: Summary | BaseException = CLEAN
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, *arguments: Any, **options: Any) -> MadeResult:
        self.arguments, self.options = arguments, options
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return MadeResult(self.outcome)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr("distverify.api.certify", recorder)
    return recorder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="distverify")


def in_subprocess(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "distverify", *arguments],
        cwd=CHECKOUT,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["certify", "--help"], ["show", "-h"], ["demo", "-h"]])
def test_help_has_usage_and_exits_with_0(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.output.startswith("Usage: distverify")


def test_help_names_commands_and_exit_statuses() -> None:
    text = run("--help").output
    for expected in (
        "certify",
        "demo",
        "show",
        "report",
        "audit",
        "export",
        "estimate",
        "1 some samples failed",
        "2 misuse",
        "130 interrupted",
    ):
        assert expected in text


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_are_instant_and_import_nothing_heavy(option: str) -> None:
    slowest_allowed = 0.5  # seconds of processor time, whatever else the machine does; 0.1 of a fast one
    times = []
    for _ in range(3):
        start = os.times()
        assert in_subprocess(option).returncode == 0
        stop = os.times()
        times.append(stop.children_user + stop.children_system - start.children_user - start.children_system)
    assert min(times) < slowest_allowed
    code = f"""
import sys
from distverify.cli.main import main
try:
    main([{option!r}])
except SystemExit:
    pass
heavy = {{"numpy", "numba", "ray", "h5py", "onnx", "scipy", "rich", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, capture_output=True, timeout=60)


def test_version() -> None:
    assert in_subprocess("--version").stdout == f"{distverify.__version__}\n"


def test_certify_hands_its_options_to_the_api(api: Recorder) -> None:
    result = run(
        *CERTIFY, "--eps", "0.005,0.01", "--norm", "2", "--compute", "jacobian,landscape,radius",
        "--method", "recurjac", "--layer-bounds", "interval", "--targets", "3", "--clip", "-1,1",
        "--scale", "255", "--samples", "0:10",
        "--mean", "0.1,0.2,0.3", "--std", "0.5", "--address", "head:6379", "--cpus-per-actor", "2",
        "--max-actors", "4", "--time-limit", "60", "--retry-failed", "--layout", "hwc", "--features", "0:3",
        "--feature-eps", "1,0,1", "--domain", "0,1", "--march-evaluations", "40", "--march-tolerance", "0.01",
        "--landscape-outputs", "label", "--eps-units", "normalised", "--memory-per-actor", "1.5G",
        "--pieces-per-sample", "8",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert api.arguments == (Path("net.onnx"), Path("data.npz"))
    assert callable(api.options.pop("progress"))
    assert callable(api.options.pop("planned"))
    command = api.options.pop("command")
    assert command.startswith("distverify certify net.onnx data.npz -o out.h5 --eps 0.005,0.01 --norm 2")
    assert api.options == {
        "output": Path("out.h5"),
        "eps": (0.005, 0.01),
        "norm": 2.0,
        "compute": ("jacobian", "landscape", "radius"),
        "method": "recurjac",
        "layer_bounds": "interval",
        "targets": 3,
        "clip": (-1.0, 1.0),
        "scale": 255.0,
        "layout": "hwc",
        "features": "0:3",
        "feature_eps": (1.0, 0.0, 1.0),
        "domain": (0.0, 1.0),
        "march_evaluations": 40,
        "march_tolerance": 0.01,
        "landscape_outputs": "label",
        "eps_units": "normalised",
        "samples": "0:10",
        "mean": (0.1, 0.2, 0.3),
        "std": 0.5,
        "address": "head:6379",
        "cpus_per_actor": 2,
        "max_actors": 4,
        "memory_per_actor": 1_500_000_000,
        "pieces_per_sample": 8,
        "time_limit": 60.0,
        "retry_failed": True,
    }


def test_defaults_are_those_of_the_api(api: Recorder) -> None:
    assert run(*CERTIFY, "--norm", "inf").exit_code == 0
    assert set(api.options) == {"output", "norm", "progress", "planned", "command"}


def test_several_property_files(api: Recorder) -> None:
    assert run("certify", "net.onnx", "a.vnnlib", "b.vnnlib", "-o", "out.h5").exit_code == 0
    assert api.arguments == (Path("net.onnx"), (Path("a.vnnlib"), Path("b.vnnlib")))


def test_the_table_goes_to_stdout_without_escape_codes(api: Recorder) -> None:
    result = run(*CERTIFY, "--eps", "0.1")
    assert "Clean accuracy" in result.stdout
    assert "\x1b" not in result.stdout
    assert result.stderr == ""


def test_quiet_prints_nothing(api: Recorder) -> None:
    result = run(*CERTIFY, "--eps", "0.1", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    assert api.options["progress"] is None


def test_failed_samples_exit_with_1_and_are_in_the_table(api: Recorder) -> None:
    api.outcome = SUMMARY
    result = run(*CERTIFY, "--eps", "0.1")
    assert result.exit_code == 1
    assert "ValueError: no bounds for sample 3" in result.stdout
    assert run(*CERTIFY, "--eps", "0.1", "-q").exit_code == 1


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ModelError("net.onnx: no such file"), 2, "error: net.onnx: no such file\n"),
        (ExecutorError("no\x1b[2J worker"), 2, "error: no\N{REPLACEMENT CHARACTER}[2J worker\n"),
        (
            Interrupted(37, 100, "out.h5"),
            130,
            "interrupted: 37 of 100 samples are kept in out.h5.parts; run the same command to continue\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_are_one_text_on_stderr(api: Recorder, error: BaseException, status: int, text: str) -> None:
    api.outcome = error
    result = run(*CERTIFY, "--eps", "0.1")
    assert result.exit_code == status
    assert result.stderr == text
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--eps", "0.1,x"), "Invalid value for '--eps': 'x' in '0.1,x' is not a finite number"),
        (("--eps", "logspace:-3:0"), "write logspace:START:STOP:COUNT"),
        (("--compute", "hessian"), "Invalid value for '--compute': 'hessian' is unknown; choose any of"),
        (("--norm", "3"), "Invalid value for '--norm'"),
        (("--method", "crown"), "Invalid value for '--method'"),
        (("--targets", "nearest"), "Invalid value for '--targets': got 'nearest'; choose untargeted"),
        (("--clip", "1,0"), "Invalid value for '--clip': got '1,0'; write LO,HI with LO < HI"),
        (("--scale", "0"), "Invalid value for '--scale': got '0'; write one number above 0"),
        (("--scale", "nan"), "Invalid value for '--scale': 'nan' in 'nan' is not a finite number"),
        (("--mean", "a"), "Invalid value for '--mean': 'a' in 'a' is not a finite number"),
        (("--time-limit", "-1"), "Invalid value for '--time-limit': got '-1'; write one number above 0"),
        (("--cpus-per-actor", "0"), "Invalid value for '--cpus-per-actor'"),
        (("--shuffle",), "No such option"),
        (("--executor", "serial", "--address", "h:1"), "address: got 'h:1', which only the ray executor uses"),
        (("--executor", "serial", "--max-actors", "2"), "--max-actors: got 2, which only the ray executor uses"),
        (
            ("--executor", "serial", "--cpus-per-actor", "1"),
            "--cpus-per-actor: got 1, which only the ray executor uses",
        ),
        (
            ("--executor", "serial", "--time-limit", "9"),
            "--time-limit: got 9.0, but only workers of the ray executor can be ended",
        ),
        (
            ("--compute", "lipschitz", "--targets", "3"),
            "targets: got 3, which is only for attack, margins, radius, radius_jacobian, verified",
        ),
        (("--compute", "landscape"), "eps: got (0.1,), which is only for attack, evaluation_error, jacobian,"),
        (("--method", "linear,recurjac"), "a result file holds one method: run once for each, with its own -o"),
        (("--method", "ibp"), "'ibp' is unknown; choose one of linear, coupled, recurjac, interval, fastlip"),
        (("--overwrite", "--retry-failed"), "--retry-failed: got True, but --overwrite computes every sample again"),
    ],
)
def test_misuse_exits_with_2_and_starts_nothing(api: Recorder, options: tuple[str, ...], message: str) -> None:
    result = run(*CERTIFY, "--eps", "0.1", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert api.options == {}


def test_output_is_required(api: Recorder) -> None:
    result = run("certify", "net.onnx", "data.npz", "--eps", "0.1")
    assert result.exit_code == 2
    assert "Missing option '-o' / '--output'" in result.stderr


def test_settings_that_need_radii_say_so(tmp_path: Path) -> None:
    result = run("certify", str(tmp_path / "net.onnx"), "data.npz", "-o", str(tmp_path / "out.h5"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --eps: none given, but lipschitz need")


def test_missing_files_are_told_without_a_traceback(tmp_path: Path) -> None:
    for arguments in (
        ("certify", str(tmp_path / "net.onnx"), "data.npz", "--eps", "0.1", "-o", str(tmp_path / "out.h5")),
        ("show", str(tmp_path / "net.onnx")),
        ("show", str(tmp_path / "out.h5")),
    ):
        done = in_subprocess(*arguments)
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert str(tmp_path) in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
