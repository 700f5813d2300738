"""What the VNN-LIB 2.0 standard's chapters on declarations, theories and meaning have, construct by construct, answered."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from distverify.analysis.query.opening import open_query
from distverify.analysis.query.solve import solve
from distverify.errors import DistverifyError
from tests.analysis.query.standard_models import write

HEAD = "(vnnlib-version <2.0>)\n"


def network(
    name: str = "f", x: str = "X", y: str = "Y", element: str = "real", relation: str = "", hidden: str = ""
) -> str:
    """Two inputs, two outputs; ``hidden`` is a node's name in the graph."""
    inner = f'(declare-hidden H {element} [1,2] "{hidden}") ' if hidden else ""
    return f"(declare-network {name} {relation}(declare-input {x} {element} [1,2]) {inner}(declare-output {y} {element} [1,2]))\n"


def box(x: str = "X", low: str = "0.0", high: str = "1.0", size: int = 2) -> str:
    return "".join(f"(assert (and (>= {x}[0,{i}] {low}) (<= {x}[0,{i}] {high})))\n" for i in range(size))


def asserted(*formulas: str) -> str:
    return "".join(f"(assert {formula})\n" for formula in formulas)


def scalar(element: str) -> str:
    return f"(declare-network f (declare-input X {element} []) (declare-output Y {element} []))\n"


PAIR, TWO = {"f": "pair"}, {"f": "pair", "g": "half"}
ONE = network() + box()
WIDE = network() + box(high="2.0")
EQUAL = network() + network("g", "A", "C", relation="(equal-to f) ") + box() + box("A")
ALIKE = network() + network("g", "A", "C", relation="(isomorphic-to f) ") + box() + box("A")
SAME = asserted("(== X[0,0] A[0,0])", "(== X[0,1] A[0,1])")
TEACHER = network("teacher", "tX", "tY") + network("student", "sX", "sY") + box("tX") + box("sX")
TAUGHT_ALIKE = TEACHER + asserted("(== tX[0,0] sX[0,0])", "(== tX[0,1] sX[0,1])")
TAUGHT = {"teacher": "pair", "student": "half"}
SEVERAL = (
    "(declare-network m (declare-input image real [1,4]) (declare-input meta real [1,2])"
    " (declare-output bbox real [1,4]) (declare-output logits real [1,2]))\n"
    + box("image", size=4)
    + box("meta", "-1.0", "0.0")
)
VOLUME = "(declare-network f (declare-input X real [1,2,1,3]) (declare-output Y real [1,2,1,1]))\n" + "".join(
    asserted(f"(and (>= X[0,{i},0,{j}] 0.0) (<= X[0,{i},0,{j}] 1.0))") for i in range(2) for j in range(3)
)
MIX = {"f": "mixed"}
MIXED = "(declare-network f (declare-input A {0} [1]) (declare-input B {1} [1]) (declare-output Y {0} [1]))"

FORTY = [f"(or (<= X[0,0] 0.{i}1) (>= X[0,1] 0.{i}))" for i in range(10, 50)]

# The network is h0 = relu(x0 + x1), h1 = relu(x0 - x1), y = (h0 + h1, h0 - h1). Query, models, answer.
MEANING = {
    "subtraction associates to the left": (ONE + asserted("(== Y[0,0] (- 4.0 1.0 1.0 0.5))"), PAIR, "sat"),
    "and is strict": (ONE + asserted("(> Y[0,0] (- 4.0 1.0 1.0))"), PAIR, "unsat"),
    "sum of four": (ONE + asserted("(>= (+ X[0,0] X[0,1] Y[0,0] Y[0,1]) 6.0)"), PAIR, "sat"),
    "sum of four, strict": (ONE + asserted("(> (+ X[0,0] X[0,1] Y[0,0] Y[0,1]) 6.0)"), PAIR, "unsat"),
    "product with numbers on both sides": (ONE + asserted("(> (* 2.0 X[0,0] 3.0) 6.0)"), PAIR, "unsat"),
    "negative": (ONE + asserted("(<= (- X[0,0]) -1.0)"), PAIR, "sat"),
    "strict at the box": (ONE + asserted("(< X[0,0] 0.0)"), PAIR, "unsat"),
    "different from the only value": (ONE + asserted("(>= X[0,0] 1.0)", "(!= X[0,0] 1.0)"), PAIR, "unsat"),
    "different from an attained bound": (ONE + asserted("(>= Y[0,0] 2.0)", "(!= Y[0,0] 2.0)"), PAIR, "unsat"),
    "equal to a bound": (ONE + asserted("(== Y[0,0] 2.0)"), PAIR, "sat"),
    "equal to a third": (ONE + asserted("(== (* 3.0 X[0,0]) 1.0)", "(== (* 3.0 X[0,1]) 1.0)"), PAIR, "sat"),
    "inputs in two orders": (ONE + asserted("(< X[0,0] X[0,1])", "(> X[0,0] X[0,1])"), PAIR, "unsat"),
    "not itself": (ONE + asserted("(!= X[0,0] X[0,0])"), PAIR, "unsat"),
    "below itself": (ONE + asserted("(< Y[0,0] Y[0,0])"), PAIR, "unsat"),
    "at most itself": (ONE + asserted("(<= Y[0,0] Y[0,0])"), PAIR, "sat"),
    "numbers only": (network() + asserted("(== 0.5 0.50)"), PAIR, "sat"),
    "false numbers in an or": (ONE + asserted("(or (<= 1.0 0.0) (>= Y[0,0] 2.0))"), PAIR, "sat"),
    "zero times": (network() + asserted("(> (* 0.0 Y[0,0]) 0.0)"), PAIR, "unsat"),
    "no bounds": (network() + asserted("(< Y[0,0] 0.0)"), PAIR, "unsat"),
    "one bound": (network() + asserted("(>= X[0,0] 1.0)", "(< Y[0,0] 1.0)"), PAIR, "unsat"),
    "far bounds": (network() + box(low="-1000000000000.0", high="1000000000000.0") + asserted("(>= Y[0,0] 2000000000000.0)"), PAIR, "sat"),
    "closer than float64 tells": (ONE + asserted("(> Y[0,0] 1.99999999999999999999999999)"), PAIR, "sat"),
    "farther than float64 tells": (ONE + asserted("(> Y[0,0] 2.00000000000000000000000001)"), PAIR, "unsat"),
    "empty box": (network() + box(low="1.0", high="0.0") + asserted("(<= Y[0,0] 9.0)"), PAIR, "unsat"),
    "a point": (network() + box(low="0.1", high="0.1") + asserted("(== Y[0,0] 0.2)"), PAIR, "sat"),
    "and, or, and": (ONE + asserted(
        "(and (or (and (>= Y[0,0] 2.0) (or (<= X[0,1] 0.5) (< X[0,0] 0.2))) (< Y[0,0] -1.0)) (>= X[0,0] 1.0))"),
                     PAIR, "sat"),
    "or of three": (ONE + asserted("(or (> Y[0,0] 2.0) (< Y[0,0] 0.0) (> Y[0,1] 2.0))"), PAIR, "unsat"),
    "ten ors": (ONE + asserted(*(f"(or (<= X[0,0] 0.{i}) (>= X[0,0] 0.{i}5))" for i in range(10)), "(> Y[0,0] 2.0)"), PAIR, "unsat"),
    "more cases than are looked at": (ONE + asserted(*FORTY, "(>= Y[0,0] 2.0)"),
                                      PAIR, "sat"),
    "more cases, and none": (ONE + asserted(*FORTY, "(> Y[0,0] 2.0)"),
                             PAIR, "unsat"),
    "or of three hundred": (ONE + asserted("(or " + " ".join(f"(> Y[0,0] {i}.0)" for i in range(2, 302)) + ")"), PAIR, "unsat"),
    "a thousand sums": (ONE + asserted("(> " + "(+ X[0,0] " * 1000 + "X[0,0]" + ")" * 1000 + " 1001.0)"), PAIR, "unsat"),
    "a thousand negatives": (ONE + asserted("(> " + "(- " * 1000 + "X[0,0]" + ")" * 1000 + " 0.5)"), PAIR, "sat"),
    "and in or in and": (ONE + asserted("(or (> Y[0,0] 2.0) (and (<= X[0,0] 1.0) " * 99 + "(>= Y[0,0] 2.0)" + "))" * 99), PAIR, "sat"),
    "input times output": (ONE + asserted("(>= (* X[0,0] Y[0,0]) 2.0)"), PAIR, "sat"),
    "input times output, strict": (ONE + asserted("(> (* X[0,0] Y[0,0]) 2.0)"), PAIR, "unsat"),
    "square": (ONE + asserted("(< (* (- X[0,0] X[0,1]) (- X[0,0] X[0,1])) 0.0)"), PAIR, "unsat"),
    "product that is not zero": (WIDE + asserted("(== X[0,0] 0.0)", "(!= (* X[0,0] X[0,1]) 0.0)"), PAIR, "unsat"),
    "inputs that are not a number": (ONE + asserted("(!= X[0,0] 0.5)", "(!= X[0,1] 0.5)", "(> Y[0,0] 0.74)"), {"f": "curve"}, "unsat"),
    "inputs that are another number": (ONE + asserted("(!= X[0,0] 0.5)", "(> Y[0,0] 0.7)"), {"f": "curve"}, "sat"),
    "products that cancel": (ONE + asserted("(!= (- (* X[0,0] Y[0,1]) (* Y[0,1] X[0,0])) 0.0)"), PAIR, "unsat"),
}  # fmt: skip
DECLARATIONS = {
    "scalars": (scalar("real") + asserted("(>= X 0.0)", "(<= X 1.0)", "(> Y 1.0)"), {"f": "scalar"}, "unsat"),
    "scalars of float32": (scalar("float32") + asserted("(>= X 0.0)", "(<= X 1.0)", "(>= Y 1.0)"), {"f": "scalar"}, "sat"),
    "four axes": (VOLUME + asserted("(>= Y[0,1,0,0] 6.0)", "(<= Y[0,0,0,0] 0.0)"), {"f": "volume"}, "sat"),
    "four axes, strict": (VOLUME + asserted("(> Y[0,1,0,0] 6.0)"), {"f": "volume"}, "unsat"),
    "hidden tensor": (network(hidden="h") + box() + asserted("(> H[0,1] 1.0)"), PAIR, "unsat"),
    "hidden node": (network(hidden="hidden") + box() + asserted("(== H[0,1] X[0,0])"), PAIR, "sat"),
    "hidden before a relu": (network(hidden="z") + box() + asserted("(< H[0,1] 0.0)", "(> Y[0,0] Y[0,1])"), PAIR, "unsat"),
    "hidden that is an output": (network(hidden="y") + box() + asserted("(!= H[0,1] Y[0,1])"), PAIR, "unsat"),
    "several inputs": (SEVERAL + asserted("(>= logits[0,0] 4.0)"), {"m": "several"}, "sat"),
    "several inputs, strict": (SEVERAL + asserted("(> logits[0,0] 4.0)"), {"m": "several"}, "unsat"),
    "several outputs": (SEVERAL + asserted("(>= bbox[0,0] 2.0)", "(>= logits[0,1] 0.5)", "(<= bbox[0,1] 0.0)"), {"m": "several"}, "sat"),
    "all at once": (SEVERAL + asserted("(>= bbox[0,3] (+ logits[0,1] 1.5))", "(>= meta[0,1] 0.0)"), {"m": "several"}, "unsat"),
    "teacher and student": (TAUGHT_ALIKE + asserted("(!= tY[0,0] (* 2.0 sY[0,0]))"), TAUGHT, "unsat"),
    "at their own inputs": (TEACHER + asserted("(>= (- tY[0,0] sY[0,0]) 2.0)"), TAUGHT, "sat"),
    "equal": (EQUAL + SAME + asserted("(!= Y[0,0] C[0,0])"), PAIR, "unsat"),
    "equal over float32": ((EQUAL + SAME).replace("real", "float32") + asserted("(!= Y[0,0] C[0,0])"), PAIR, "unsat"),
    "equal, other elements": (EQUAL + SAME + asserted("(>= Y[0,1] 0.0)", "(> C[0,0] 2.0)"), PAIR, "unsat"),
    "equal, other elements, attained": (EQUAL + SAME + asserted("(>= Y[0,1] 2.0)", "(>= C[0,0] 2.0)"), PAIR, "sat"),
    "equal, ordered": (EQUAL + asserted("(<= X[0,0] A[0,0])", "(== X[0,1] A[0,1])", "(> Y[0,0] C[0,0])"), PAIR, "unsat"),
    "equal at different inputs": (EQUAL + asserted("(>= (- Y[0,0] C[0,0]) 2.0)"), PAIR, "sat"),
    "isomorphic": (ALIKE + SAME + asserted("(!= Y[0,0] (* 2.0 C[0,0]))"), TWO, "unsat"),
    "equal, with a model of its own": (EQUAL, TWO, "models: network g is declared equal to f"),
    "isomorphic, without a model": (ALIKE, PAIR, "models: network g has no model; give the ONNX file of g"),
}  # fmt: skip
TYPES = {
    "float32": (network(element="float32") + box() + asserted("(> Y[0,0] 2.001)"), PAIR, "unsat"),
    "float32, attained by an input": (network(element="float32") + box() + asserted("(> Y[0,0] 1.0)"), {"f": "same"}, "unsat"),
    "float32, attained": (network(element="float32") + box() + asserted("(>= Y[0,0] 1.0)"), {"f": "same"}, "sat"),
    "float32, above": (network(element="float32") + box() + asserted("(> Y[0,0] 0.99999)"), {"f": "same"}, "sat"),
    "float32, above a number that rounds to the bound": (
        network(element="float32") + box() + asserted("(> Y[0,0] 0.99999999)"), {"f": "same"}, "unknown"),
    "float32, a gap of the format": (network(element="float32") + box() + asserted("(> Y[0,0] 0.99999995)", "(< Y[0,0] 0.99999999)"),
                                     {"f": "same"}, "unsat"),
    "float32, different from the only value": (
        network(element="float32") + box(low="1.0") + asserted("(!= Y[0,0] 1.0)"), {"f": "same"}, "unsat"),
    "float32, lost in a sum": (
        network(element="float32") + asserted("(== X[0,0] 2000000000.0)", "(== X[0,1] 0.5)", "(<= (+ X[0,1] Y[0,0]) Y[0,0])"), PAIR, "sat"),
    "float32, a number lost in a sum": (
        network(element="float32") + asserted("(== X[0,0] 2000000000.0)", "(== X[0,1] 0.5)", "(<= (+ 1.0 Y[0,0]) Y[0,0])"), PAIR, "sat"),
    "float32, what cancels": (
        network(element="float32") + box() + asserted("(== (+ X[0,0] Y[0,0] X[0,1]) Y[0,0])", "(>= X[0,0] 0.5)"), PAIR, "unsat"),
    "real, what cancels": (ONE + asserted("(== (+ X[0,0] Y[0,0] X[0,1]) Y[0,0])", "(> X[0,0] 0.0)"), PAIR, "unsat"),
    "float32, different": (network(element="float32") + box(low="0.5") + asserted("(!= Y[0,0] 1.0)"), {"f": "same"}, "sat"),
    "float64": (network(element="float64") + box() + asserted("(>= Y[0,0] 2.0)"), {"f": "double"}, "sat"),
    "float32 of float64": (network(element="float32") + box(), {"f": "double"}, "'x' is of type float64; X is declared as float32"),
    "real of float64": (ONE + asserted("(> Y[0,0] 2.0)"), {"f": "double"}, "unsat"),
    "real of float16": (ONE + asserted("(>= Y[0,0] 2.0)"), {"f": "short"}, "sat"),
    "real of float16, strict": (ONE + asserted("(> Y[0,0] 2.0)"), {"f": "short"}, "unsat"),
    "real of bfloat16": (ONE + asserted("(> Y[0,0] 1.0)"), {"f": "brain"}, "unsat"),
    "real of int64": (ONE + asserted("(>= Y[0,0] 1.0)"), {"f": "whole"}, "sat"),
    "real of float32 and int32": (MIXED.format("real", "real") + asserted("(== A[0] 1.0)", "(== B[0] 1.0)", "(< Y[0] 2.0)"), MIX, "unsat"),
    "float32 and int32": (MIXED.format("float32", "int32") + asserted("(<= A[0] 1.0)", "(<= B[0] 1)"), MIX, "B is of type int32"),
    "real and float32": (MIXED.format("float32", "real") + asserted("(<= A[0] 1.0)"), MIX, "a query is about one kind of numbers"),
    "float16": (network(element="float16") + box(), {"f": "short"}, "X is of type float16, for which there is no"),
    "bfloat16": (network(element="bfloat16") + box(), {"f": "brain"}, "X is of type bfloat16, for which there is no"),
    "int64": (network(element="int64") + asserted("(>= Y[0,0] 1)"), {"f": "whole"}, "X is of type int64, for which there is no"),
    "bool": (network(element="bool") + asserted("(== X[0,0] Y[0,0])"), {"f": "truth"}, "X is of type bool, for which there is no"),
}  # fmt: skip
OTHERS = ("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "float8e8m0", "float4e2m1", "int32", "int16", "int8", "int4",
          "uint64", "uint32", "uint16", "uint8", "uint4", "complex64", "complex128", "string")  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("standard")


@pytest.mark.parametrize(
    ("text", "models", "answer"), [c for t in (MEANING, DECLARATIONS, TYPES) for c in t.values()], ids=[*MEANING, *DECLARATIONS, *TYPES]
)  # fmt: skip
def test_is_answered(text: str, models: dict[str, str], answer: str, folder: Path) -> None:
    query = folder / "query.vnnlib"
    query.write_text(HEAD + text + ("" if "assert" in text else asserted("(<= X[0,0] 1.0)")))
    try:
        told = solve(
            open_query(query, {name: write(model, folder) for name, model in models.items()}), time.monotonic() + 20
        ).status
    except DistverifyError as error:
        told = str(error)
    assert told == answer if answer in ("sat", "unsat") else answer in told


@pytest.mark.parametrize("element", OTHERS)
def test_types_without_sound_analysis_are_refused(element: str, folder: Path) -> None:
    query = folder / "query.vnnlib"
    query.write_text(HEAD + network(element=element) + asserted("(== X[0,0] Y[0,0])"))
    with pytest.raises(DistverifyError, match=f"X is of type {element}, for which .* Declare it as real"):
        open_query(query, {"f": write("pair", folder)})
