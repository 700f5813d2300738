"""``verify`` and ``supports`` as chapter 5 of the VNN-LIB standard describes them."""

from __future__ import annotations

import gzip
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import numpy_helper

from distverify.cli.main import main
from distverify.cli.verify import _compute
from tests.analysis.query.standard_models import write
from tests.query_cases import write_model

HEAD = "(vnnlib-version <2.0>)\n"
BOX = "(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))\n"
CHECKOUT = Path(__file__).parents[2]


def declared(element: str = "real", name: str = "f", shape: str = "[1,2]") -> str:
    return (
        f"(declare-network {name} (declare-input X {element} {shape})"
        f' (declare-hidden H {element} [1,2] "relu0") (declare-output Y {element} [1,1]))\n'
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = relu(x0 + x1) + relu(x0 - x1)."""
    path = tmp_path / "model.onnx"
    layers = [(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]
    write_model(path, layers, [2])
    return path


def ask(text: str, folder: Path, models: dict[str, str], serialise: Path | None = None) -> tuple[int, str]:
    query = folder / "query.vnnlib"
    query.write_text(text)
    return _compute(query, models, time.monotonic() + 20, serialise)


def test_unsat_and_sat_with_an_assignment_in_the_order_of_declarations(model: Path, tmp_path: Path) -> None:
    models = {"f": str(model)}
    assert ask(HEAD + declared() + BOX + "(assert (> Y[0,0] 2.0))", tmp_path, models) == (0, "unsat\n")
    text = HEAD + declared() + BOX + "(assert (>= Y[0,0] 2.0)) (assert (== X[0,1] 0.25))"
    assert ask(text, tmp_path, models) == (
        0,
        "sat\nX real [1,2]\n1.0\n0.25\nH real [1,2]\n1.25\n0.75\nY real [1,1]\n2.0\n",
    )


def test_float32_assignments_read_back_as_what_was_replayed(model: Path, tmp_path: Path) -> None:
    text = HEAD + declared("float32") + BOX + "(assert (== X[0,0] 0.1)) (assert (== X[0,1] 0.0))"
    status, told = ask(text, tmp_path, {"f": str(model)})
    assert (status, told.split("\n")[:4]) == (0, ["sat", "X float32 [1,2]", "0.1", "0.0"])
    assert told.split("\n")[-2] == "0.2"


def test_assignments_as_tensors(model: Path, tmp_path: Path) -> None:
    text = HEAD + declared("float32") + BOX + "(assert (>= Y[0,0] 2.0))"
    assert ask(text, tmp_path, {"f": str(model)}, tmp_path / "told") == (0, "sat\n")
    tensors = {}
    for name in "XHY":
        proto = onnx.TensorProto()
        proto.ParseFromString((tmp_path / "told" / f"{name}.pb").read_bytes())
        tensors[name] = numpy_helper.to_array(proto)
    assert [(t.dtype, t.shape) for t in tensors.values()] == [(np.float32, (1, 2))] * 2 + [(np.float32, (1, 1))]
    assert tensors["Y"] >= 2.0


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (HEAD + declared(), [], "^error: --network: network f has no model; give the ONNX file of f$"),
        (HEAD + declared(), ["f", "g"], "^error: --network: g is no network of the query, which declares f$"),
        (HEAD + declared(shape="[2]"), ["f"], r"has shape \[1,2\]; X is declared as \[2\]"),
        (HEAD + declared("float64"), ["f"], "is of type float32; X is declared as float64"),
        (HEAD + declared("bfloat16"), ["f"], "no sound analysis"),
        (HEAD + declared("int32"), ["f"], "^error: QUERY: X is of type int32, for which there is no sound analysis"),
        (HEAD + declared().replace("Y real", "Y float32"), ["f"], "one over the reals has no other type"),
        (HEAD + declared().replace("relu0", "nothing"), ["f"], "no node or tensor 'nothing'"),
        (
            HEAD + declared() + "(declare-network g (equal-to f) (declare-input A real [1,2]) (declare-output B real [1,1]))",
            ["f", "g"],
            "^error: --network: network g is declared equal to f, whose model it has; leave g out$",
        ),
        (
            HEAD + "(declare-network f (declare-input X real [1,2]) (declare-input Z real [1]) (declare-output Y real [1,1]))",
            ["f"],
            "has 1 inputs; network f declares 2",
        ),
        (declared(), ["f"], "begins with its version"),
    ],
)  # fmt: skip
def test_errors_that_the_standard_asks_for(
    text: str, names: list[str], message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, told = ask(
        text + "(assert (<= Y[0,0] 1.0))".replace("Y[0,0]", "0.0"), tmp_path, dict.fromkeys(names, str(model))
    )
    assert (status, told) == (2, "")
    assert re.search(message, capsys.readouterr().err.strip())


def test_types_of_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "double.onnx"
    write_model(path, [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))], [2], "float64")
    assert ask(HEAD + declared("float32") + BOX, tmp_path, {"f": str(path)})[0] == 2
    double = HEAD + declared("float64") + BOX
    # 0.1 + 0.2 is not 0.3 in double precision, and everything is above -1e-9.
    exact = "(assert (== X[0,0] 0.1)) (assert (== X[0,1] 0.2)) (assert (> Y[0,0] 0.3))"
    assert ask(double + exact, tmp_path, {"f": str(path)})[1].endswith("Y float64 [1,1]\n0.30000000000000004\n")
    assert ask(double + "(assert (< Y[0,0] -0.000000001))", tmp_path, {"f": str(path)}) == (0, "unsat\n")
    ask(HEAD + declared("float32") + BOX + "(assert (<= Y[0,0] 0.5))", tmp_path, {"f": str(path)})
    assert "is of type float64; X is declared as float32" in capsys.readouterr().err
    assert ask(HEAD + declared() + BOX + "(assert (<= Y[0,0] -0.5))", tmp_path, {"f": str(path)}) == (0, "unsat\n")


def test_queries_of_the_first_version(model: Path, tmp_path: Path) -> None:
    text = "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0"))
    text += "".join(f"(assert (>= X_{i} 0)) (assert (<= X_{i} 1))" for i in range(2))
    assert ask(text + "(assert (>= Y_0 2.5))", tmp_path, {"any": str(model)}) == (0, "unsat\n")
    status, told = ask(text + "(assert (>= Y_0 1.5))", tmp_path, {"any": str(model)})
    assert (status, told.split("\n")[:2]) == (0, ["sat", "X real [1,2]"])


def test_files_as_they_come(model: Path, tmp_path: Path) -> None:
    text = HEAD + "; é\n" + declared() + BOX + "(assert (> Y[0,0] 2.0))"
    forms = {
        "bom.vnnlib": b"\xef\xbb\xbf" + text.encode(),
        "crlf.vnnlib": text.replace("\n", "\r\n").encode(),
        "packed.vnnlib.gz": gzip.compress(text.encode()),
    }
    for name, content in forms.items():
        (tmp_path / name).write_bytes(content)
        assert _compute(tmp_path / name, {"f": str(model)}, None, None) == (0, "unsat\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"", "a query begins with its version"),
        (b"\xff\xfe(", "no text file"),
        (b"(vnnlib-version <2.0>)\0", "no text file"),
    ],
)
def test_files_that_are_no_queries(
    content: bytes | None, message: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "q.vnnlib").write_bytes(content)
    assert _compute(tmp_path / "q.vnnlib", {"f": str(model)}, None, None) == (2, "")
    told = capsys.readouterr()
    assert message in told.err
    assert told.out == ""


def test_assignments_of_several_networks_and_of_scalars(model: Path, tmp_path: Path) -> None:
    second = "(declare-network g (equal-to f) (declare-input A real [1,2]) (declare-output B real [1,1]))\n"
    text = HEAD + declared() + second + BOX + BOX.replace("X", "A") + "(assert (>= (- Y[0,0] B[0,0]) 2.0))"
    status, told = ask(text, tmp_path, {"f": str(model)})
    lines = told.splitlines()
    assert (status, lines[0]) == (0, "sat")
    assert [line for line in lines if "[" in line] == [
        "X real [1,2]",
        "H real [1,2]",
        "Y real [1,1]",
        "A real [1,2]",
        "B real [1,1]",
    ]
    assert lines[lines.index("A real [1,2]") + 1 :] == ["0.0", "0.0", "B real [1,1]", "0.0"]
    scalar = write("scalar", tmp_path)
    text = (
        HEAD
        + "(declare-network s (declare-input X Real []) (declare-output Y Real []))(assert (== X 1.25))(assert (> Y 1.0))"
    )
    assert ask(text, tmp_path, {"s": str(scalar)}) == (0, "sat\nX real []\n1.25\nY real []\n1.5\n")


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("--onnx-element-types", ["float32", "float64", "real"]),
        ("--vnnlib-versions", ["2.0", "2.0"]),
        ("--hidden-node-theories", ["NH", "H"]),
        ("--multiple-input-output-theories", ["SIO", "MIO"]),
        ("--multiple-inputs-output-theories", ["SIO", "MIO"]),
        ("--multiple-network-theories", ["SNET", "MENET", "MINET", "MNET"]),
        ("--multiple-node-comparison-theories", ["SNC", "MNC"]),
        ("--arithmetic-complexity-theories", ["BND", "OUTC", "LIN", "POLY"]),
        ("--optimised-disjunctive-reasoning", ["false"]),
        ("--serialise-assignments", ["true"]),
        ("--unsat-proofs", ["false"]),
        ("--onnx-operators-unsat-proofs", []),
    ],
)
def test_supports_tells_in_plain_lines(question: str, expected: list[str]) -> None:
    result = CliRunner().invoke(main, ["supports", question])
    assert (result.exit_code, result.stdout.splitlines()) == (0, expected)


def test_supports_tells_of_onnx() -> None:
    lowest, highest = CliRunner().invoke(main, ["supports", "--onnx-opset-versions"]).stdout.split()
    assert int(lowest) < int(highest)
    operators = CliRunner().invoke(main, ["supports", "--onnx-operators"]).stdout.split()
    assert {"Gemm", "Relu", "Conv", "Constant"} <= set(operators)


def test_supports_takes_one_question() -> None:
    result = CliRunner().invoke(main, ["supports"])
    assert result.exit_code == 2
    assert "got 0 questions" in result.stderr


@pytest.mark.parametrize(("option", "expected"), [("--name", "distverify\n"), ("--version", "0.1.0\n")])
def test_name_and_version_are_bare(option: str, expected: str) -> None:
    from distverify import __version__

    assert CliRunner().invoke(main, [option]).stdout == expected.replace("0.1.0", __version__)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--timeout", "0"], "seconds above 0"),
        (["--timeout", "soon"], "seconds above 0"),
        (["--timeout", "-1"], "seconds above 0"),
        (["--timeout", "nan"], "seconds above 0"),
        (["--network", "=f.onnx"], "give NAME=MODEL.onnx"),
        (["--unsat-proofs", "here"], "No such option"),
        (["--network", "f"], "give NAME=MODEL.onnx"),
        (["--network", "f=a", "--network", "f=b"], "given twice"),
    ],
)
def test_misuse(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["verify", "query.vnnlib", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.fixture
def hard(model: Path, tmp_path: Path) -> list[str]:
    """The command for a query that takes long to read."""
    query = tmp_path / "hard.vnnlib"
    query.write_text(HEAD + declared() + "(assert (or " + "(<= Y[0,0] 0.5) " * 400_000 + "))")
    return [sys.executable, "-m", "distverify", "verify", str(query), "--network", f"f={model}"]


@pytest.mark.slow
def test_timeout_is_kept(hard: list[str]) -> None:
    begun = time.monotonic()
    done = subprocess.run([*hard, "--timeout", "1.5"], capture_output=True, text=True, cwd=CHECKOUT, timeout=60)
    taken = time.monotonic() - begun
    assert (done.returncode, done.stdout) == (0, "timed-out\n")
    assert 1.3 < taken < 1.9


@pytest.mark.slow
def test_sigterm_is_answered(hard: list[str]) -> None:
    process = subprocess.Popen(hard, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT)
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=5)
    assert (process.returncode, told) == (0, "timed-out\n")


def test_a_small_query_waits_for_no_compiler(model: Path, tmp_path: Path) -> None:
    """Nothing is compiled, and Numba and SciPy are not even imported."""
    code = (
        "import sys, time; from pathlib import Path; from distverify.cli.verify import _compute\n"
        "for query in sys.argv[2:]:\n"
        "    print(_compute(Path(query), {'f': sys.argv[1]}, None, None)[1].split()[0])\n"
        "print({'numba', 'scipy', 'ray', 'h5py', 'onnx.reference'} & set(sys.modules) or 'light')\n"
    )
    queries = []
    for element, least in (("real", "2.0"), ("real", "1.5"), ("float32", "2.5"), ("float32", "1.5")):
        queries.append(tmp_path / f"{element}{least}.vnnlib")
        queries[-1].write_text(HEAD + declared(element) + BOX + f"(assert (> Y[0,0] {least}))")
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), *map(str, queries)],
        cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["unsat", "sat", "unsat", "sat", "light"]
