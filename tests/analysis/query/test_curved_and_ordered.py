"""Products of variables, and two copies of a network with ordered inputs."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest

from distverify.analysis.query.opening import open_query
from distverify.analysis.query.solve import SAT, UNSAT, solve
from tests.query_cases import write_model

HEAD = "(vnnlib-version <2.0>)\n"
NET = "(declare-network f (declare-input X {0} [1,2]) (declare-output Y {0} [1,2]))\n"
BOX = "(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] -1.0) (<= X[0,1] 1.0)))\n"
# Outputs are h0 + h1 and h0 - h1 for h0 = relu(x0 + x1), h1 = relu(x0 - x1).
CURVED = {
    "(>= (* X[0,0] X[0,1]) 0.9)": SAT,
    "(>= (* X[0,0] X[0,1]) 1.1)": UNSAT,
    "(<= (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1])) -0.1)": UNSAT,
    "(and (<= (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1])) 0.5) (>= (+ X[0,0] X[0,1]) 1.1))": UNSAT,
    "(and (<= (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1])) 0.5) (>= (+ X[0,0] X[0,1]) 0.9))": SAT,
    "(>= (* Y[0,0] Y[0,1]) 4.1)": UNSAT,
    "(>= (* Y[0,0] Y[0,1]) 3.5)": SAT,
    "(>= (* X[0,0] X[0,0] X[0,0] X[0,1]) 1.01)": UNSAT,
}


@pytest.mark.parametrize("element", ["real", "float32"])
@pytest.mark.parametrize(("formula", "status"), CURVED.items(), ids=str)
def test_products(formula: str, status: str, element: str, tmp_path: Path) -> None:
    write_model(
        tmp_path / "f.onnx",
        [(np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2)), (np.array([[1.0, 1.0], [1.0, -1.0]]), np.zeros(2))],
        [2],
    )
    query = tmp_path / "query.vnnlib"
    query.write_text(HEAD + NET.format(element) + BOX + f"(assert {formula})")
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30).status == status


# Bounds that are attained: at corners, at kinks of the network, inside of the box, at numbers that no binary one is.
ATTAINED = {
    "(> (* X[0,0] X[0,1]) 1.0)": UNSAT,
    "(>= (* X[0,0] X[0,1]) 1.0)": SAT,
    "(> (* Y[0,0] Y[0,1]) 4.0)": UNSAT,
    "(>= (* Y[0,0] Y[0,1]) 4.0)": SAT,
    "(< (* Y[0,0] Y[0,1]) -4.0)": UNSAT,
    "(== (* Y[0,0] Y[0,1]) 4.0)": SAT,
    "(> (* X[0,0] X[0,0] X[0,0] Y[0,0]) 2.0)": UNSAT,
    "(< (* (- X[0,0] 0.3) (- X[0,0] 0.3)) 0.0)": UNSAT,
    "(<= (* (- X[0,0] 0.3) (- X[0,0] 0.3)) 0.0)": SAT,
    "(< (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1]) (* X[0,0] X[0,1]) (* -0.6 X[0,0])) -0.12)": UNSAT,
    "(or (< (* X[0,0] X[0,0]) 0.0) (> (- (* X[0,0] X[0,1]) X[0,1]) 2.0))": UNSAT,
    "(== (* X[0,0] X[0,0]) 1.00001)": UNSAT,
}


@pytest.mark.parametrize(("formula", "status"), ATTAINED.items(), ids=str)
def test_bounds_that_are_attained(formula: str, status: str, tmp_path: Path) -> None:
    matrix = np.array([[1.0, 1.0], [1.0, -1.0]])
    write_model(tmp_path / "f.onnx", [(matrix, np.zeros(2)), (matrix, np.zeros(2))], [2])
    query = tmp_path / "query.vnnlib"
    query.write_text(HEAD + NET.format("real") + BOX + f"(assert {formula})")
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30).status == status


ATTAINED_IN_FLOATS = {
    "(> (* X[0,0] X[0,1]) 1.0)": UNSAT,
    "(>= (* X[0,0] X[0,1]) 1.0)": SAT,
    "(> (+ X[0,0] X[0,1]) 2.0)": UNSAT,
    "(> (+ X[0,0] X[0,1] 0.00000001) 2.0)": "unknown",  # true where sums are not rounded
    "(> (+ 0.0000002 X[0,0] X[0,1]) 2.0)": SAT,
    "(< (* (- X[0,0] 0.3) (- X[0,0] 0.3)) 0.0)": UNSAT,
    "(or (< (* X[0,0] X[0,0]) 0.0) (> (- (* X[0,0] X[0,1]) X[0,1]) 2.0))": UNSAT,
}


@pytest.mark.parametrize(("formula", "status"), ATTAINED_IN_FLOATS.items(), ids=str)
def test_bounds_that_are_attained_in_float32(formula: str, status: str, tmp_path: Path) -> None:
    matrix = np.array([[1.0, 1.0], [1.0, -1.0]])
    write_model(tmp_path / "f.onnx", [(matrix, np.zeros(2)), (matrix, np.zeros(2))], [2])
    query = tmp_path / "query.vnnlib"
    query.write_text(HEAD + NET.format("float32") + BOX + f"(assert {formula})")
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30).status == status


def ordered(comparison: str) -> str:
    text = HEAD
    for name, relation, x, y in (("f", "", "A", "B"), ("g", "(equal-to f) ", "C", "D")):
        text += f"(declare-network {name} {relation}(declare-input {x} real [1,2]) (declare-output {y} real [1,1]))\n"
        text += f"(assert (and (>= {x}[0,0] 0.0) (<= {x}[0,0] 1.0) (>= {x}[0,1] 0.0) (<= {x}[0,1] 1.0)))\n"
    declared = [line for line in text.splitlines() if "assert" not in line]
    asserted = [line for line in text.splitlines() if "assert" in line]
    order = "(assert (<= A[0,0] C[0,0]))\n(assert (== A[0,1] C[0,1]))\n"
    return "\n".join([*declared, *asserted, order + f"(assert {comparison})"])


@pytest.mark.parametrize(("comparison", "status"), [("(> B[0,0] D[0,0])", UNSAT), ("(< B[0,0] D[0,0])", SAT)])
@pytest.mark.parametrize("width", [4, 60])
def test_monotone_networks(comparison: str, status: str, width: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    layers = [
        (np.abs(rng.standard_normal((width, 2))), rng.standard_normal(width)),
        (np.abs(rng.standard_normal((1, width))), np.zeros(1)),
    ]
    write_model(tmp_path / "f.onnx", layers, [2])
    query = tmp_path / "query.vnnlib"
    query.write_text(ordered(comparison))
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30).status == status


FEW = [(np.eye(2), np.zeros(2)), (np.ones((1, 2)), np.zeros(1))]


@pytest.mark.parametrize(
    ("element", "asserted", "status"),
    [
        ("real", "(assert (>= Y[0,0] 1000000.0))", SAT),  # of inputs without bounds
        ("float32", "(assert (>= Y[0,0] 1000000.0))", SAT),
        ("real", "(assert (<= Y[0,0] -0.5))", UNSAT),
        ("real", "(assert (>= (+ X[0,0] X[0,1]) 1.0)) (assert (<= (+ X[0,0] X[0,1]) 0.9))", UNSAT),
        ("real", "(assert (<= (* X[0,0] X[0,0]) -1.0))", UNSAT),
        ("real", "(assert (< (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1]) (* -0.6 X[0,0])) -0.09))", UNSAT),
        ("real", "(assert (<= (+ (* X[0,0] X[0,0]) (* X[0,1] X[0,1]) (* -0.6 X[0,0])) -0.09))", SAT),
        ("real", "(assert (<= (* X[0,0] X[0,0] X[0,0] X[0,0]) -1.0))", "unknown"),
        ("float32", "(assert (>= X[0,0] 1.0)) (assert (< X[0,0] 1.0))", UNSAT),
        ("real", "(assert (<= 1.0 0.0))", UNSAT),
        ("float32", "(assert (== X[0,0] 0.1)) (assert (== X[0,1] 0.0)) (assert (== Y[0,0] 0.1))", SAT),
    ],
)
def test_inputs_without_bounds_and_at_boundaries(element: str, asserted: str, status: str, tmp_path: Path) -> None:
    write_model(tmp_path / "f.onnx", FEW, [2])
    query = tmp_path / "query.vnnlib"
    query.write_text(HEAD + NET.format(element).replace(f"Y {element} [1,2]", f"Y {element} [1,1]") + asserted)
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30).status == status


def test_models_that_cannot_be_read_are_sampled(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Mod", ["x", "w"], ["y"], fmod=1)
    ports = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 2]) for name in "xy"]
    held = [onnx.numpy_helper.from_array(np.full((1, 2), 0.7, dtype=np.float32), "w")]
    graph = onnx.helper.make_graph([node], "odd", ports[:1], ports[1:], held)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "f.onnx")
    query = tmp_path / "query.vnnlib"
    for asserted, status in (
        ("(>= Y[0,0] 0.5)", SAT),
        ("(>= Y[0,0] 0.8)", "unknown"),
        ("(and (>= X[0,0] 0.5) (<= X[0,0] 0.4))", UNSAT),
    ):
        query.write_text(HEAD + NET.format("float32") + BOX + f"(assert {asserted})")
        answer = solve(open_query(query, {"f": tmp_path / "f.onnx"}), time.monotonic() + 30)
        assert answer.status == status
    assert solve(open_query(query, {"f": tmp_path / "f.onnx"})).status == UNSAT


@pytest.mark.parametrize("sign", [1, -1])
def test_witnesses_lie_in_the_decimal_box(sign: int, tmp_path: Path) -> None:
    """The float64 number that is nearest to 0.1 is above it, and a search ends there; too wide for exact search."""
    write_model(
        tmp_path / "f.onnx", [(np.full((250, 1), float(sign)), np.zeros(250)), (np.ones((1, 250)), np.zeros(1))], [1]
    )
    low, high = ("0.0", "0.1") if sign > 0 else ("-0.1", "0.0")
    text = (
        "(vnnlib-version <2.0>)(declare-network f (declare-input X real [1,1]) (declare-output Y real [1,1]))"
        f"(assert (>= X[0,0] {low})) (assert (<= X[0,0] {high})) (assert (>= Y[0,0] 24.9999999))"
    )
    (tmp_path / "q.vnnlib").write_text(text)
    answer = solve(open_query(tmp_path / "q.vnnlib", {"f": tmp_path / "f.onnx"}), time.monotonic() + 20)
    assert answer.status == "sat"
    assert abs(Fraction(answer.witness.values[0])) <= Fraction("0.1")
