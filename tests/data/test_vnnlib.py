"""VNN-LIB files: what is read from them, exactly; what is refused; and which properties are verified."""

from __future__ import annotations

import gzip
import math
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distverify.analysis.property import decide_property, property_margin
from distverify.analysis.verify import Verdict
from distverify.api import certify
from distverify.data.property_set import is_instance_list, load_properties, read_instances
from distverify.data.vnnlib.cases import Case
from distverify.data.vnnlib.property import Property, digest, load_property, parse_property
from distverify.data.vnnlib.text import Unreadable
from distverify.errors import DataError, SettingsError
from distverify.network.graph import Network
from distverify.status import BY_CROWN, NOT_VERIFIED
from tests.networks import build_chain

DECLARED = "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n(declare-const Y_1 Real)\n"
BOX = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 -1)) (assert (<= X_1 0.5))\n"


def parsed(text: str) -> tuple[Case, ...]:
    return parse_property(DECLARED + text, 2, 2)


def test_box_and_constraint() -> None:
    (case,) = parsed(BOX + "(assert (<= Y_0 Y_1)) ; the wrong class wins\n")
    assert (case.lower.tolist(), case.upper.tolist()) == ([0.0, -1.0], [1.0, 0.5])
    (polytope,) = case.polytopes
    assert polytope.rows.tolist() == [[1.0, -1.0]]
    assert polytope.bounds.tolist() == [0.0]
    assert not polytope.inexact.any()


def test_arithmetic_and_constants_on_both_sides() -> None:
    (case,) = parsed(BOX + "(assert (>= (+ (* 2 Y_0) (- Y_1) 1.5) (- 3 (* Y_0 0.5))))")
    # 2.5 y0 - y1 >= 1.5, as -2.5 y0 + y1 <= -1.5.
    assert case.polytopes[0].rows.tolist() == [[-2.5, 1.0]]
    assert case.polytopes[0].bounds.tolist() == [-1.5]


def test_decimals_are_rounded_outwards() -> None:
    text = "(assert (>= X_0 0.1)) (assert (<= X_0 0.1)) (assert (>= X_1 -0.3)) (assert (<= X_1 0.7))"
    (case,) = parsed(text + "(assert (<= (* 0.1 Y_0) 0.3))")
    assert Fraction(float(case.lower[0])) <= Fraction(1, 10) <= Fraction(float(case.upper[0]))
    assert case.upper[0] == math.nextafter(case.lower[0], 1.0)
    assert Fraction(float(case.lower[1])) <= Fraction(-3, 10)
    assert Fraction(float(case.upper[1])) >= Fraction(7, 10)
    (polytope,) = case.polytopes
    assert Fraction(float(polytope.bounds[0])) >= Fraction(3, 10)
    off = abs(Fraction(float(polytope.rows[0, 0])) - Fraction(1, 10))
    assert 0 < off <= Fraction(float(polytope.inexact[0, 0]))


def test_disjunction_over_one_box_is_one_case() -> None:
    (case,) = parsed(BOX + "(assert (or (and (>= Y_0 1)) (and (>= Y_1 2) (<= Y_0 0)) (<= Y_1 -3)))")
    assert [p.bounds.size for p in case.polytopes] == [1, 2, 1]


def test_disjunction_of_boxes() -> None:
    boxes = "(assert (or (and (<= X_0 0.25) (<= Y_0 1)) (and (>= X_0 0.75) (<= Y_1 1))))"
    first, second = parsed(BOX + boxes)
    assert (first.lower[0], first.upper[0]) == (0.0, 0.25)
    assert (second.lower[0], second.upper[0]) == (0.75, 1.0)


def test_contradictions_leave_no_case() -> None:
    assert parsed(BOX + "(assert (<= X_0 -0.5)) (assert (<= Y_0 0))") == ()
    assert parsed(BOX + "(assert (<= 2 1))") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(assert (<= Y_0 Y_1)", "ends inside a parenthesis"),
        ("(assert (<= Y_0 Y_1)))", "a closing parenthesis too many"),
        ("hello", "'hello' outside of any parenthesis"),
        ("(" * 100 + ")" * 100, "nested deeper than 64"),
        ("(assert (<= Y_0 Y_1))", "X_0 no lower bound"),
        (BOX + "(assert (<= Y_0 Y_7))", "constrains Y_7, which it does not declare"),
        (BOX + "(assert (<= X_0 Y_0))", "relates X_0 and Y_0; inputs can be bounded by numbers only"),
        (BOX + "(assert (<= X_0 X_1))", "relates X_0 and X_1"),
        (BOX + "(assert (<= (* Y_0 Y_1) 1))", "multiplies two variables"),
        (BOX + "(assert (not (<= Y_0 1)))", "asserts 'not' of 1 operands"),
        (BOX + "(assert (<= Y_0 nan))", "'nan' where a number"),
        (BOX + "(assert (<= Y_0 1e999))", "beyond the range of float64"),
        (BOX + "(assert (<= Y_0 1e99999999))", "'1e99999999' where a number"),
        ("(declare-network N)", "the command 'declare-network'; known in VNN-LIB 1.0"),
        ("(declare-const Z_0 Real)", "declares something else"),
        ("(declare-const X_2 Real)", "declares 3 inputs and 2 outputs; the model has 2 and 2"),
        (BOX + "(assert (or" + " (<= Y_0 1)" * 200 + "))" + "(assert (or" + " (<= Y_1 1)" * 200 + "))", "more than 10000"),
        ("(assert (and))(assert ())", r"asserts '\[\]' of 0 operands"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text(DECLARED + text)
    with pytest.raises(DataError, match=message) as caught:
        load_property(path, input_size=2, output_size=2)
    assert str(caught.value).startswith(str(path))


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_property(tmp_path / "none.vnnlib", input_size=2, output_size=2)
    damaged = tmp_path / "p.vnnlib.gz"
    damaged.write_bytes(gzip.compress(b"(assert" * 1000)[:40])
    with pytest.raises(DataError, match="cannot be read"):
        load_property(damaged, input_size=2, output_size=2)
    (tmp_path / "b.vnnlib").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text file"):
        load_property(tmp_path / "b.vnnlib", input_size=2, output_size=2)


def test_a_gzip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib.gz"
    path.write_bytes(gzip.compress(b" " * (65 * 2**20)))
    with pytest.raises(DataError, match="larger than 32 MiB"):
        load_property(path, input_size=2, output_size=2)


def test_digest_tells_properties_apart() -> None:
    one, two = parsed(BOX + "(assert (<= Y_0 0))"), parsed(BOX + "(assert (<= Y_0 1e-300))")
    assert digest([Property("a", one)]) == digest([Property("b", one)])
    assert digest([Property("a", one)]) != digest([Property("a", two)])


# y0 = relu(x0 + x1) and, over the box, y1 = x0 - x1.
NETWORK = Network.from_layers(
    [(np.array([[1.0, 1.0], [1.0, -1.0]]), np.array([0.0, 5.0])), (np.eye(2), np.array([0.0, -5.0]))]
)


@pytest.mark.parametrize(
    ("constraint", "margin"),
    [
        ("(assert (<= Y_1 -0.75))", 0.25),  # y1 >= -0.5
        ("(assert (>= Y_1 2.5))", 0.5),  # y1 <= 2
        ("(assert (or (<= Y_1 -0.75) (>= Y_1 2.25)))", 0.25),
        ("(assert (or (<= Y_1 -0.75) (and (>= Y_1 0) (>= Y_0 9))))", 0.25),
        ("(assert (<= Y_1 0))", -0.5),
        ("(assert (= Y_1 3))", 1.0),
        ("(assert (<= 0 1))", -math.inf),  # every input is a counterexample
        ("(assert (<= 1 0))", math.inf),  # none is
    ],
)
def test_margins(constraint: str, margin: float) -> None:
    found = property_margin(NETWORK, Property("p", parsed(BOX + constraint)))
    assert found <= margin
    assert found == pytest.approx(margin, abs=1e-12)


def test_verified_properties_have_no_sampled_counterexample() -> None:
    rng = np.random.default_rng(0)
    network = build_chain([2, 10, 10, 2], ["relu", "tanh"], rng)
    points = rng.uniform([0, -1], [1, 0.5], (20000, 2))
    outputs = network(points)
    verified = 0
    for threshold in np.linspace(outputs[:, 0].min() - 2.0, outputs[:, 0].max(), 30):
        text = BOX + f"(assert (<= (+ (* 0.3 Y_0) (* -0.1 Y_1)) {0.3 * threshold:.6f}))"
        if property_margin(network, Property("p", parsed(text))) > 0:
            verified += 1
            assert (0.3 * outputs[:, 0] - 0.1 * outputs[:, 1] > 0.3 * threshold - 1e-6).all()
    assert 0 < verified < 30


def mnist_form(x: np.ndarray, label: int, eps: float) -> str:
    """As VNN-COMP's mnistfc: the box of a clipped ball, and a disjunction over the other classes."""
    lines = [f"(declare-const X_{i} Real)" for i in range(x.size)] + [f"(declare-const Y_{j} Real)" for j in range(10)]
    for i, value in enumerate(x):
        lines += [
            f"(assert (<= X_{i} {min(value + eps, 1.0):.16f}))",
            f"(assert (>= X_{i} {max(value - eps, 0.0):.16f}))",
        ]
    others = " ".join(f"(and (>= Y_{j} Y_{label}))" for j in range(10) if j != label)
    return "\n".join([*lines, f"(assert (or {others}))"])


SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_the_published_form_on_a_real_network(tmp_path: Path) -> None:
    rows = np.loadtxt(SHARED / "mnist_test.csv", delimiter=",", max_rows=2)
    lines = []
    for k, row in enumerate(rows):
        for eps in (0.005, 0.05):
            name = f"prop_{k}_{eps}.vnnlib"
            (tmp_path / name).write_text(mnist_form(row[1:] / 255.0, int(row[0]), eps))
            lines.append(f"mnist-net_256x2.onnx,{name},120")
    (tmp_path / "instances.csv").write_text("\n".join(["./onnx/other.onnx,no.vnnlib,1", *lines]))
    model = SHARED / "mnist-net_256x2.onnx"
    result = certify(model, tmp_path / "instances.csv", output=tmp_path / "out.h5", executor="serial")
    assert result["verified"].tolist() == [BY_CROWN, NOT_VERIFIED] * 2
    assert ((result["property_margin"] > 0) == (result["verified"] > 0)).all()
    assert result["property"].tolist() == [line.split(",")[1] for line in lines]
    assert "eps" not in result
    assert result.settings.compute == ("property",)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "holds.vnnlib", tmp_path / "open.vnnlib"]
    for path, constraint in zip(paths, ("(assert (<= Y_1 -0.75))", "(assert (<= Y_1 0))"), strict=True):
        path.write_text(DECLARED + BOX + constraint)
    return paths


def test_files_are_certified_and_continued(tmp_path: Path, files: list[Path]) -> None:
    out = tmp_path / "out.h5"
    result = certify(NETWORK, files, output=out, executor="serial")
    assert result["verified"].tolist() == [1, 0]
    assert result.dims["verified"] == ("sample",)
    assert result.summary().shares == {"properties": {None: 1}, "falsified": {None: 0}}
    assert certify(NETWORK, files, output=out, executor="serial").provenance == result.provenance
    one = certify(NETWORK, files, output=tmp_path / "one.h5", executor="serial", samples="1")
    assert one["property"].tolist() == ["open.vnnlib"]
    assert one["sample"].tolist() == [1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"compute": ("radius",)}, "compute: property files say what is verified"),
        ({"eps": 0.1}, "eps: property files say what is verified"),
        ({"norm": 2}, "norm: property files say"),
        ({"scale": 255.0}, "scale: property files say"),
        ({"method": "recurjac"}, "method: property files say"),
        ({"features": "0:1"}, "features: property files say"),
        ({"y": [0, 1]}, "y: property files say"),
    ],
)
def test_what_would_be_ignored_is_refused(files: list[Path], tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        certify(NETWORK, files, output=tmp_path / "out.h5", executor="serial", **arguments)


def test_instance_lists(tmp_path: Path, files: list[Path]) -> None:
    listed = tmp_path / "instances.csv"
    listed.write_text("net.onnx,open.vnnlib,10\nother.onnx,none.vnnlib,10\n")
    assert is_instance_list(listed)
    (tmp_path / "data.csv").write_text("1,0.5,0.25\n")
    assert not is_instance_list(tmp_path / "data.csv")
    assert not is_instance_list(tmp_path / "missing.csv")
    found = load_properties([listed], model="net.onnx", input_size=2, output_size=2)
    assert found.names == ("open.vnnlib",)
    with pytest.raises(DataError, match=r"names no property for third.onnx \(networks there: net.onnx, other.onnx\)"):
        load_properties([listed], model="third.onnx", input_size=2, output_size=2)
    listed.write_text("net.onnx,../secret.vnnlib,10\n")
    with pytest.raises(DataError, match=r"line 1 names \.\./secret.vnnlib, which lies outside"):
        load_properties([listed], model="net.onnx", input_size=2, output_size=2)
    listed.write_text("net.onnx,open.vnnlib,10\nrubbish\n")
    with pytest.raises(DataError, match=r"line 2 is not NETWORK\.onnx"):
        load_properties([listed], model="net.onnx", input_size=2, output_size=2)
    with pytest.raises(DataError, match="is no property file"):
        load_properties([files[0], tmp_path / "data.csv"], model="net.onnx", input_size=2, output_size=2)


@pytest.mark.parametrize(
    "text",
    [
        "net.onnx,open.vnnlib,10\nother.onnx,none.vnnlib,10\n",
        "\ufeffonnx,vnnlib,timeout\nnet.onnx,open.vnnlib,10\n",
        "# of the year 2021\n\nNetwork, Property, Seconds\n./net.onnx , ./open.vnnlib , 10.5\n",
        "v1,onnx/net.onnx,open.vnnlib,10\nv1,other.onnx,none.vnnlib,5\n",
        "2.0,net.onnx.gz,open.vnnlib,10\n",
        '"net.onnx","open.vnnlib","10"\r\n# the end\r\n',
        "net.onnx,open.vnnlib\n",
    ],
)
def test_forms_of_instance_lists(tmp_path: Path, files: list[Path], text: str) -> None:
    listed = tmp_path / "instances.csv"
    listed.write_text(text, encoding="utf-8", newline="")
    assert is_instance_list(listed)
    assert load_properties([listed], model="net.onnx", input_size=2, output_size=2).names == ("open.vnnlib",)


def test_time_limits_of_instances(tmp_path: Path) -> None:
    listed = tmp_path / "instances.csv"
    listed.write_text("v1,net.onnx,a.vnnlib,10\nnet.onnx,b.vnnlib\n")
    assert [(n, i.property, i.seconds) for n, i in read_instances(listed)] == [
        (1, "a.vnnlib", 10.0),
        (2, "b.vnnlib", None),
    ]
    listed.write_text("net.onnx,a.vnnlib,10\nnet.onnx,b.vnnlib,soon\n")
    with pytest.raises(DataError, match=r"line 2 is not NETWORK\.onnx,PROPERTY\.vnnlib,SECONDS"):
        read_instances(listed)


@pytest.mark.parametrize(("limit", "expected"), [(None, [10.0, None]), (7.0, [7.0, 7.0]), (30.0, [10.0, 30.0])])
def test_each_line_of_a_list_has_its_limit(
    tmp_path: Path,
    files: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    limit: float | None,
    expected: list[float | None],
) -> None:
    files[0].write_text(files[1].read_text())
    (tmp_path / "instances.csv").write_text("net.onnx,holds.vnnlib,10\nother.onnx,no.vnnlib,3\nnet.onnx,open.vnnlib\n")
    limits: list[float | None] = []

    def decided(network: Network, prop: Property, nodes: int, limit: float | None, *rest: Any, **more: Any) -> Verdict:
        limits.append(limit)
        return decide_property(network, prop, nodes, limit, *rest, **more)

    monkeypatch.setattr("distverify.analysis.property.decide_property", decided)
    NETWORK.save(tmp_path / "net.onnx")
    given = {} if limit is None else {"time_limit": limit}
    certify(
        tmp_path / "net.onnx",
        tmp_path / "instances.csv",
        nodes=3,
        output=tmp_path / "out.h5",
        executor="serial",
        **given,
    )
    assert sorted(limits, key=str) == sorted(expected, key=str)


def test_several_data_sets_are_no_properties(tmp_path: Path, files: list[Path]) -> None:
    with pytest.raises(
        DataError, match=r"data: got 2 data sets \(a\.npz, b\.npz\); give one, or several property files"
    ):
        certify(NETWORK, ["a.npz", "b.npz"], output=tmp_path / "out.h5", executor="serial", eps=0.1)
    listed = tmp_path / "instances.csv"
    listed.write_text("net.onnx,open.vnnlib,10\n")
    with pytest.raises(DataError, match=r"instances\.csv: is an instance list, which stands alone"):
        certify(NETWORK, [files[0], listed], output=tmp_path / "out.h5", executor="serial")


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text("\ufeff" + DECLARED + BOX + "(assert (<= Y_0 0))", encoding="utf-8")
    assert load_property(path, input_size=2, output_size=2).cases[0].upper.tolist() == [1.0, 0.5]


def test_a_bound_within_another_command_is_no_bound() -> None:
    with pytest.raises(Unreadable, match="has a command within another one"):
        parsed(BOX + "(assert (or (assert (<= X_0 0.5)) (<= Y_0 1)))")
    (case,) = parsed(BOX + "; (assert (<= X_0 0.5))\n(assert (<= Y_0 1)) ; (assert (>= X_1 0))")
    assert (case.lower.tolist(), case.upper.tolist()) == ([0.0, -1.0], [1.0, 0.5])


@pytest.mark.parametrize(
    "number", ["0.1", "-0.3", "1e-400", "-1E-400", ".5", "5.", "+7", "0.1000000000000000055511151231257827"]
)
def test_simple_bounds_are_rounded_as_all_others(number: str) -> None:
    """By the quick way and by the general one, to the same floats, on the right side of the decimal number."""
    quick = parsed(f"(assert (>= X_0 {number})) (assert (<= X_0 {number})) (assert (>= X_1 0)) (assert (<= X_1 1))")
    general = parsed(
        f"(assert (<= {number} X_0)) (assert (and (<= X_0 {number}))) (assert (>= X_1 0)) (assert (<= X_1 1))"
    )
    (one,), (other,) = quick, general
    assert (one.lower.tolist(), one.upper.tolist()) == (other.lower.tolist(), other.upper.tolist())
    assert Fraction(float(one.lower[0])) <= Fraction(number) <= Fraction(float(one.upper[0]))


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_real_files_are_read_fast() -> None:
    path = SHARED / "vnncomp2021" / "prop_0_0.03.vnnlib.gz"
    times = []
    for _ in range(5):
        begin = time.process_time()
        prop = load_property(path, input_size=784, output_size=10)
        times.append(time.process_time() - begin)
    assert min(times) < 0.02  # 6 ms on a free machine
    assert [len(case.polytopes) for case in prop.cases] == [9]
