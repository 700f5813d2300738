"""Products, quotients, powers, choices, Softmax and normalisation of values that depend on the input, against the files' numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from distverify.attacks.of_file import file_evaluator
from distverify.bounds.jacobian import jacobian_bounds
from distverify.bounds.outputs import output_bounds
from distverify.errors import ModelError
from distverify.network.nodes import ActivationNode
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from tests.network.onnx_models import model, node, save
from tests.network.test_onnx_truth import checked
from tests.networks import Floats

X0 = [0.3, 1.2, -0.7, 0.9]
POSITIVE = [0.3, 1.2, 0.7, 2.0]

# What is computed, the constants, around where, and the activations that the network should have.
GRAPHS = {
    "square": ([node("Mul", "x x", "y")], {}, X0, {"power"}),
    "cube": ([node("Mul", "x x", "s"), node("Mul", "s x", "y")], {}, X0, {"power"}),
    "pow": ([node("Pow", "x c", "y")], {"c": np.array(4.0)}, X0, {"power"}),
    "pows": ([node("Pow", "x c", "y")], {"c": np.array([2.0, 3.0, 2.0, 5.0])}, X0, {"power"}),
    "root": ([node("Pow", "x c", "y")], {"c": np.array(0.75)}, POSITIVE, {"positive_power"}),
    "inverse_square": ([node("Pow", "x c", "y")], {"c": np.array(-2.0)}, X0, {"power", "reciprocal"}),
    "first_power": ([node("Pow", "x c", "p"), node("Mul", "p p", "y")], {"c": np.array(1.0)}, X0, {"power"}),
    "exponential": ([node("Pow", "c x", "y")], {"c": np.array([2.0, 0.5, 10.0, 1.0])}, X0, {"exp"}),
    "polynomial": (
        [node("Mul", "x x", "s"), node("Mul", "s c", "t"), node("Add", "t d", "p"), node("Mul", "x p", "y")],
        {"c": np.array(0.3), "d": np.array(-1.0)}, X0, {"power"},
    ),
    "exp": ([node("Exp", "x", "y")], {}, X0, {"exp"}),
    "log": ([node("Log", "x", "y")], {}, POSITIVE, {"log"}),
    "sqrt": ([node("Sqrt", "x", "y")], {}, POSITIVE, {"positive_power"}),
    "reciprocal": ([node("Reciprocal", "x", "y")], {}, X0, {"reciprocal"}),
    "inverse_root": ([node("Sqrt", "x", "s"), node("Reciprocal", "s", "y")], {}, POSITIVE, {"positive_power"}),
    "constant_over": ([node("Div", "c x", "y")], {"c": np.array([1.0, -2.0, 0.5, 1e-8])}, X0, {"reciprocal"}),
    "product": ([node("Tanh", "x", "t"), node("Mul", "x t", "y")], {}, X0, {"tanh", "power"}),
    "rows": (
        [node("Tanh", "x", "t"), node("ReduceSum", "x a", "r"), node("Mul", "r t", "y")], {"a": np.array([1])}, X0,
        {"tanh", "power"},
    ),
    "odd_scales": (
        [node("Mul", "x c", "a"), node("Sin", "x", "s"), node("Mul", "s d", "b"), node("Mul", "a b", "y")],
        {"c": np.array([1e30, 1e-30, 1e80, 1.0]), "d": np.array([1e-30, 1e30, 1e-70, 1e9])}, X0, {"sin", "power"},
    ),
    "quotient": ([node("Exp", "x", "e"), node("Div", "x e", "y")], {}, X0, {"exp", "reciprocal", "power"}),
    "quotient_by_root": (
        [node("Mul", "x x", "s"), node("ReduceSum", "s a", "t"), node("Sqrt", "t", "r"), node("Div", "x r", "y")],
        {"a": np.array([1])}, X0, {"power", "positive_power"},
    ),
    "softmax": ([node("Softmax", "x", "s"), node("Mul", "s c", "y")], {"c": np.array(3.0)}, X0, {"exp", "reciprocal"}),
    "softmax_of_two": (
        [node("Reshape", "x r", "h"), node("Softmax", "h", "s", axis=1), node("Mul", "s c", "m"), node("Flatten", "m", "y")],
        {"r": np.array([1, 2, 2]), "c": np.array(-2.0)}, X0, {"sigmoid"},
    ),
    "log_softmax": (
        [node("LogSoftmax", "x", "s"), node("Mul", "s c", "y")], {"c": np.array(3.0)}, [30.0, -50.0, 2.0, 0.0],
        {"exp", "log"},
    ),
    "log_softmax_of_two": (
        [node("Reshape", "x r", "h"), node("LogSoftmax", "h", "s"), node("Mul", "s c", "m"), node("Flatten", "m", "y")],
        {"r": np.array([1, 2, 2]), "c": np.array(-2.0)}, X0, {"softplus"},
    ),
    "layer_normalization": (
        [node("LayerNormalization", "x w b", "y", epsilon=1e-3)],
        {"w": np.array([1.0, -2.0, 3.0, 0.0]), "b": np.arange(4.0)}, X0, {"power", "positive_power"},
    ),
    "layer_normalization_far_out": (
        [node("LayerNormalization", "x w", "y")], {"w": np.ones(4)}, [1e4, 1e4 + 1, 1e4 - 1, 1e4 + 2],
        {"power", "positive_power"},
    ),
    "largest": ([node("ReduceMax", "x a", "m"), node("Sub", "x m", "y")], {"a": np.array([1])}, X0, {"relu"}),
    "smallest_of_all": ([node("ReduceMin", "x", "m"), node("Add", "x m", "y")], {}, X0, {"relu"}),
    "largest_of_rows": (
        [node("Reshape", "x r", "h"), node("ReduceMax", "h a", "m", keepdims=0), node("Reshape", "m s", "k"), node("Sub", "h k", "d"),
         node("Flatten", "d", "y")],
        {"r": np.array([1, 2, 2]), "a": np.array([-1]), "s": np.array([1, 2, 1])}, X0, {"relu"},
    ),
    "matrices": (
        [node("Reshape", "x r", "h"), node("Tanh", "h", "t"), node("MatMul", "h t", "m"), node("Flatten", "m", "y")],
        {"r": np.array([1, 2, 2])}, X0, {"tanh", "power"},
    ),
    "matrices_of_gemm": (
        [node("Reshape", "x r", "h"), node("Tanh", "h", "t"), node("Gemm", "h t c", "m", transB=1, alpha=0.5, beta=3.0),
         node("Reshape", "m s", "y")],
        {"r": np.array([2, 2]), "s": np.array([1, 4]), "c": np.array([1.0, -2.0])}, X0, {"tanh", "power"},
    ),
    "ceiling": ([node("Ceil", "x", "y")], {}, X0, {"floor"}),
    "floor": ([node("Floor", "x", "y")], {}, X0, {"floor"}),
    "rounded": ([node("Round", "x", "y")], {}, [0.3, 1.5, -0.7, 2.5], {"nearest"}),
    "sign": ([node("Sign", "x", "y")], {}, [0.3, 0.0, -0.7, 0.9], {"signum"}),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_bounds_hold_for_the_numbers_in_the_file(name: str, tmp_path: Path) -> None:
    nodes, constants, x0, kinds = GRAPHS[name]
    proto = model(nodes, constants, shape=(1, 4), output_shape=(1, 4), opset=18)
    for eps in (1e-9, 0.05):
        network = checked(proto, tmp_path, x0, eps)
    assert "agrees with" in network.remarks["reference"]
    assert {n.kind for n in network.nodes if isinstance(n, ActivationNode)} == kinds


def bounds_at(nodes: list[onnx.NodeProto], constants: dict[str, Floats], x0: list[float], eps: float, folder: Path) -> tuple[
    Floats, Floats
]:  # fmt: skip
    """Widths of outputs and of the Jacobian over a box, each over what 2,000 points of it attain."""
    shape = (1, len(x0))
    network = load_onnx(save(model(nodes, constants, shape=shape, output_shape=None, opset=18), folder))
    region = Ball(np.array(x0), eps)
    x = region.x0 + eps * np.random.default_rng(0).uniform(-1.0, 1.0, (2000, len(x0)))
    x[:64] = region.x0 + eps * np.sign(x[:64] - region.x0)
    values, bounds = network(x), output_bounds(network, region)
    assert (bounds.lower <= values.min(axis=0)).all()
    assert (bounds.upper >= values.max(axis=0)).all()
    jacobian = jacobian_bounds(network, region, method="coupled")
    with np.errstate(divide="ignore"):
        return (bounds.upper - bounds.lower) / np.ptp(values, axis=0), jacobian.upper - jacobian.lower


@pytest.mark.parametrize(
    ("name", "eps", "widest"),
    [("product", 0.1, 1.2), ("quotient", 0.05, 2.0), ("softmax", 0.1, 1.5), ("layer_normalization", 0.02, 2.5), ("exp", 0.2, 1.01)],
)  # fmt: skip
def test_bounds_are_about_as_wide_as_the_function(name: str, eps: float, widest: float, tmp_path: Path) -> None:
    nodes, constants, x0, _ = GRAPHS[name]
    widths, slopes = bounds_at(nodes, constants, x0, eps, tmp_path)
    assert np.median(widths[np.isfinite(widths)]) <= widest
    assert np.isfinite(slopes).all()


def test_a_product_is_as_tight_as_mccormick_where_its_factors_vary_alike(tmp_path: Path) -> None:
    """Of x y on [-1, 1]^2 the planes leave [-1, 1]; two squares do too."""
    nodes = [node("Split", "x s", "a"), node("Mul", "a b", "y")]
    nodes[0].output.append("b")
    nodes[0].attribute.append(helper.make_attribute("axis", 1))
    network = load_onnx(save(model(nodes, {"s": np.array([1, 1])}, shape=(1, 2), output_shape=(1, 1)), tmp_path))
    bounds = output_bounds(network, Ball(np.zeros(2), 1.0))
    assert bounds.lower[0] == pytest.approx(-1.0, abs=1e-6)
    assert bounds.upper[0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("operator", ["Reciprocal", "Log", "Sqrt"])
def test_where_a_function_does_not_exist_there_is_no_bound(operator: str, tmp_path: Path) -> None:
    network = load_onnx(save(model([node(operator, "x", "y")], shape=(1, 2), output_shape=(1, 2)), tmp_path))
    bounds = output_bounds(network, Ball(np.array([0.1, 3.0]), 0.5))
    assert np.isinf([bounds.lower[0], bounds.upper[0]]).all()
    assert np.isfinite([bounds.lower[1], bounds.upper[1]]).all()
    jacobian = jacobian_bounds(network, Ball(np.array([0.1, 3.0]), 0.5))
    assert np.isinf([jacobian.lower[0, 0], jacobian.upper[0, 0]]).any()
    apart = jacobian_bounds(network, Ball(np.array([0.7, 3.0]), 0.5))
    assert np.isfinite([apart.lower, apart.upper]).all()


F = np.float32
WRITTEN_GELUS = {
    "torch": [
        node("Mul", "x x", "s"), node("Mul", "x s", "c"), node("Mul", "c kappa", "k"), node("Add", "x k", "a"),
        node("Mul", "a beta", "b"), node("Tanh", "b", "t"), node("Add", "t one", "u"), node("Mul", "x u", "v"),
        node("Mul", "v half", "y"),
    ],
    "pow": [
        node("Pow", "x three", "c"), node("Mul", "kappa c", "k"), node("Add", "x k", "a"), node("Mul", "beta a", "b"),
        node("Tanh", "b", "t"), node("Add", "one t", "u"), node("Mul", "x half", "h"), node("Mul", "h u", "y"),
    ],
    "fast": [
        node("Mul", "x beta", "b"), node("Mul", "kappa x", "k"), node("Mul", "k x", "q"), node("Add", "q one", "p"),
        node("Mul", "b p", "i"), node("Tanh", "i", "t"), node("Add", "t one", "u"), node("Mul", "x half", "h"),
        node("Mul", "h u", "y"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("form", WRITTEN_GELUS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_out_gelu_with_tanh(form: str, dtype: type, tmp_path: Path) -> None:
    """One activation, of the constants as they are in the file: those of float32 are not those of GELU."""
    numbers = {"beta": math.sqrt(2.0 / math.pi), "kappa": 0.044715, "one": 1.0, "half": 0.5, "three": 3.0}
    constants = {k: np.array(v, dtype) for k, v in numbers.items()}
    kind = TensorProto.FLOAT if dtype == np.float32 else TensorProto.DOUBLE
    proto = model(WRITTEN_GELUS[form], constants, shape=(1, 4), output_shape=(1, 4), opset=13, dtype=kind)
    for eps in (1e-12, 0.5):
        network = checked(proto, tmp_path, [0.2, -1.7, 2.9, -0.4], eps)
    assert [n.kind for n in network.nodes if isinstance(n, ActivationNode)] == ["gelu_cubic"]


def test_choices_by_the_input(tmp_path: Path) -> None:
    """Where(x > t, a, b): the steps of a discontinuous one leave bounds of values, and no derivative."""
    leaky = [node("Greater", "x zero", "g"), node("Mul", "x tenth", "m"), node("Where", "g x m", "y")]
    constants = {"zero": np.array(0.0), "tenth": np.array(0.1), "half": np.array(0.5), "one": np.array(1.0)}
    network = load_onnx(save(model(leaky, constants, shape=(1, 4), output_shape=(1, 4)), tmp_path))
    assert network(np.array(X0))[0] == pytest.approx([0.3, 1.2, -0.07, 0.9])
    assert jacobian_bounds(network, Ball(np.array(X0), 0.1)).upper[2, 2] == pytest.approx(0.1)
    jump = {
        "constants": [node("LessOrEqual", "x half", "g"), node("Where", "g one zero", "y")],
        "values": [node("Less", "x half", "g"), node("Not", "g", "h"), node("Sin", "x", "s"), node("Where", "h s x", "y")],
        "cast": [node("GreaterOrEqual", "half x", "g"), node("Cast", "g", "y", to=TensorProto.DOUBLE)],
    }  # fmt: skip
    for name, nodes in jump.items():
        network = load_onnx(save(model(nodes, constants, shape=(1, 3), output_shape=(1, 3)), tmp_path))
        x = np.array([0.5, 0.5 + 1e-9, 0.2])
        expected = {"values": np.array([math.sin(0.5), math.sin(0.5 + 1e-9), 0.2])}.get(name, np.array([1.0, 0.0, 1.0]))
        assert network(x)[0] == pytest.approx(expected, abs=1e-12)
        bounds = output_bounds(network, Ball(x, 0.0))
        assert (bounds.lower <= expected + 1e-15).all()
        assert (bounds.upper >= expected - 1e-15).all()
        wide = output_bounds(network, Ball(x, 0.01))
        assert np.isfinite(wide.lower).all()
        with pytest.raises(
            ModelError, match=r"network: jumps \(heaviside in .*bound its outputs, margins or radii instead"
        ):
            jacobian_bounds(network, Ball(x, 0.01))


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([node("Equal", "x half", "g")], [1.0, 0.0, 0.0]),
        ([node("Equal", "x half", "g0"), node("Not", "g0", "g")], [0.0, 1.0, 1.0]),
        ([node("Greater", "x fifth", "a"), node("Less", "x half", "b"), node("And", "a b", "g")], [0.0, 1.0, 0.0]),
        ([node("Greater", "x half", "a"), node("Less", "x fifth", "b"), node("Or", "a b", "g")], [0.0, 0.0, 0.0]),
        ([node("LessOrEqual", "x fifth", "a"), node("Equal", "x half", "b"), node("Or", "a b", "g")], [1.0, 0.0, 1.0]),
        ([node("Greater", "x fifth", "a"), node("Less", "x half", "b"), node("Xor", "a b", "g")], [1.0, 0.0, 1.0]),
        ([node("LessOrEqual", "x fifth", "a"), node("Xor", "mask a", "g")], [1.0, 0.0, 0.0]),
        ([node("LessOrEqual", "x half", "a"), node("And", "a mask", "g")], [1.0, 0.0, 1.0]),
        ([node("Greater", "x half", "a"), node("Or", "mask a", "g")], [1.0, 0.0, 1.0]),
    ],
)
def test_conditions_of_conditions(nodes: list[onnx.NodeProto], expected: list[float], tmp_path: Path) -> None:
    constants = {"half": np.array(0.5), "fifth": np.array(0.2), "mask": np.array([True, False, True])}
    nodes = [*nodes, node("Cast", "g", "y", to=TensorProto.DOUBLE)]
    network = load_onnx(save(model(nodes, constants, shape=(1, 3), output_shape=(1, 3)), tmp_path))
    x = np.array([0.5, 0.3, 0.2])
    assert network(x)[0] == pytest.approx(expected)
    for eps in (0.0, 0.01, 1.0):
        bounds = output_bounds(network, Ball(x, eps))
        values = network(x + eps * np.random.default_rng(0).uniform(-1.0, 1.0, (200, 3)))
        assert (bounds.lower <= np.minimum(values.min(axis=0), expected)).all()
        assert (bounds.upper >= np.maximum(values.max(axis=0), expected)).all()


@pytest.mark.parametrize(
    ("left", "right", "shape"),
    [((3,), (3,), ()), ((3,), (3, 2), (2,)), ((2, 3), (3,), (2,)), ((2, 1, 3), (3, 2), (2, 1, 2)), ((2, 1, 2, 3), (2, 3, 1), (2, 2, 2, 1))],
)  # fmt: skip
def test_matrix_products_of_all_ranks(
    left: tuple[int, ...], right: tuple[int, ...], shape: tuple[int, ...], tmp_path: Path
) -> None:
    """Of two inputs, in their own shapes."""
    from distverify.network.onnx.bound import Wanted, bind, open_model

    ports = [
        helper.make_tensor_value_info(n, TensorProto.DOUBLE, s) for n, s in (("a", left), ("b", right), ("y", shape))
    ]
    graph = helper.make_graph([node("MatMul", "a b", "y")], "product", ports[:2], ports[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    sizes = math.prod(left), math.prod(right)
    places = np.split(np.arange(sum(sizes)), [sizes[0]])
    wanted = Wanted(open_model(tmp_path / "m.onnx"), [("a", left, places[0]), ("b", right, places[1])], [("y", shape)])
    builder, ((made,),) = bind(sum(sizes), [wanted])
    x = np.random.default_rng(0).standard_normal(sum(sizes))
    expected = x[: sizes[0]].reshape(left) @ x[sizes[0] :].reshape(right)
    assert builder.build(made)(x)[0] == pytest.approx(expected.reshape(-1), abs=1e-12)


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    """They are read, and give their values, one after the other; constant outputs too."""
    proto = model([node("MatMul", "x a", "h"), node("Mul", "h z", "y"), node("Relu", "z", "r"), node("Identity", "c", "k")],
                  {"a": np.ones((3, 2)), "c": np.array([7.0])}, shape=(1, 3), output_shape=(1, 2))  # fmt: skip
    proto.graph.input.append(helper.make_tensor_value_info("z", TensorProto.DOUBLE, (1, 2)))
    for name in ("k", "r"):
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))
    path = save(proto, tmp_path)
    network = load_onnx(path)
    x = np.array([1.0, 2.0, 3.0, 0.5, -2.0])
    assert (network.input_size, network.output_size) == (5, 5)
    assert network(x)[0] == pytest.approx([3.0, -12.0, 7.0, 0.5, 0.0])
    assert network.remarks["inputs"] == "one after the other: x [1, 3], z [1, 2]"
    assert network.remarks["outputs"] == "one after the other: y [1, 2], k [1], r [1, 2]"
    assert "agrees with" in network.remarks["reference"]
    assert file_evaluator(path, 5)(x) == pytest.approx(network(x)[0])
    jacobian = jacobian_bounds(network, Ball(x, 1e-6))
    truth = np.zeros((5, 5))
    truth[0, :4], truth[1, :3], truth[1, 4], truth[3, 3] = [0.5, 0.5, 0.5, 6.0], -2.0, 6.0, 1.0
    assert (jacobian.lower <= truth).all()
    assert (jacobian.upper >= truth).all()
    np.testing.assert_allclose(jacobian.lower, truth, atol=1e-4)


def test_an_output_that_is_constant(tmp_path: Path) -> None:
    network = load_onnx(save(model([node("Neg", "c", "y")], {"c": np.array([1.0, -2.0])}, output_shape=(2,)), tmp_path))
    bounds = output_bounds(network, Ball(np.zeros(4), 1.0))
    assert bounds.lower == pytest.approx([-1.0, 2.0])
    assert bounds.upper == pytest.approx([-1.0, 2.0])
    assert jacobian_bounds(network, Ball(np.zeros(4), 1.0)).upper.max() <= 1e-299


REFUSED = {
    "power_of_values": ([node("Pow", "x x", "y")], {}, "raises a value that depends on the input to a power that does"),
    "huge_power": ([node("Pow", "x c", "y")], {"c": np.array(1e3)}, "raises to the power 1000; at most 64 is supported"),
    "mixed_powers": ([node("Pow", "x c", "y")], {"c": np.array([2.0, 0.5, 2.0, 2.0])}, "whole powers and others to fractions"),
    "negative_base": ([node("Pow", "c x", "y")], {"c": np.array(-2.0)}, "raises numbers that are not positive"),
    "numbers_as_conditions": (
        [node("Greater", "x c", "g"), node("And", "g c", "h"), node("Where", "h x c", "y")], {"c": np.array(0.0)},
        "input 1 is of type float64; it must be true or false",
    ),
    "matrices_that_do_not_fit": (
        [node("Reshape", "x r", "h"), node("MatMul", "h h", "m"), node("Flatten", "m", "y")], {"r": np.array([1, 4])},
        r"matrices of shapes \(1, 4\) and \(1, 4\) do not fit together",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    nodes, constants, message = REFUSED[name]
    with pytest.raises(ModelError, match=message):
        load_onnx(save(model(nodes, constants), tmp_path))
