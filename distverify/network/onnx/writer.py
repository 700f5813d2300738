"""Networks as ONNX files, for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from distverify._version import __version__
from distverify.errors import ModelError
from distverify.kernels.activations import ACTIVATIONS
from distverify.network.graph import Network
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import ActivationNode, InputNode, LinearNode

_OPSET = 20  # the first with Gelu
_IR_VERSION = 10
# Activation -> ONNX operator, and ONNX attribute -> our parameter. Attributes are of single precision.
_OPERATORS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "arctan": ("Atan", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "elu": ("Elu", {"alpha": "alpha"}),
    "selu": ("Selu", {"alpha": "alpha", "gamma": "gamma"}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": "alpha", "beta": "beta"}),
    "hard_swish": ("HardSwish", {}),
    "mish": ("Mish", {}),
    "gelu": ("Gelu", {}),
    "sin": ("Sin", {}),
    "erf": ("Erf", {}),
    "exp": ("Exp", {}),
    "log": ("Log", {}),
    "signum": ("Sign", {}),
    "floor": ("Floor", {}),
    "nearest": ("Round", {}),
}
_CLIPS = ("clip", "hardtanh", "relu6")
_SLOPED = ("leaky_relu", "prelu", "identity")
# Sums of few of many values are written as rows of a matrix up to so many numbers.
_MOST_NUMBERS = 2**24


def write_onnx(network: Network, path: Path) -> None:
    """Write ``network`` to ``path``, its input [N, *input_shape], its output [N, outputs].

    Raises
    ------
    ModelError
        What ONNX has no operator for, or no exact number.
    """
    onnx.save(_Writer(network).model(), str(path))


class _Writer:
    """The message of one network."""

    def __init__(self, network: Network) -> None:
        before = network.unfolded
        self._nodes = network.nodes if before is None else before.nodes
        self._output = network.output if before is None else before.output
        self._shape = network.input_shape
        self._made: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._type = np.dtype(np.float32 if all(map(_is_single, self._numbers())) else np.float64)

    def _numbers(self) -> list[Array]:
        found: list[Array] = []
        for node in self._nodes:
            if isinstance(node, LinearNode):
                found += [node.bias, *(a for t in node.terms for a in t.operator.arrays if a.dtype.kind == "f")]
            elif isinstance(node, ActivationNode):
                found.append(node.parameters)
        return found

    def model(self) -> onnx.ModelProto:
        self._add("Reshape", ["input", self._constant(np.array([0, -1]))], "node_0")
        for k, node in enumerate(self._nodes):
            if isinstance(node, LinearNode):
                self._linear(k, node)
            elif not isinstance(node, InputNode):
                self._activation(k, node)
        self._add("Identity", [f"node_{self._output}"], "output")
        kind = TensorProto.FLOAT if self._type == np.float32 else TensorProto.DOUBLE
        graph = helper.make_graph(
            self._made,
            "network",
            [helper.make_tensor_value_info("input", kind, ["N", *self._shape])],
            [helper.make_tensor_value_info("output", kind, ["N", self._nodes[self._output].size])],
            self._constants,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        made.producer_name, made.producer_version = "distverify", __version__
        return made

    def _add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        name = output or f"value_{len(self._made)}"
        self._made.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def _constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant_{len(self._constants)}"
        exact = values.astype(self._type) if values.dtype.kind == "f" else values
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(exact), name))
        return name

    def _linear(self, k: int, node: LinearNode) -> None:
        if node.bias_error is not None:
            _refuse(node.name, "its bias is rounded")
        total = ""
        for source, operator in node.terms:
            value = self._applied(node.name, operator, f"node_{source}")
            total = self._add("Add", [total, value]) if total else value
        if node.bias.any():
            total = self._add("Add", [total, self._constant(node.bias)])
        self._add("Identity", [total], f"node_{k}")

    def _applied(self, name: str, operator: LinearOperator, value: str) -> str:
        """The value of ``operator`` of the value [N, size]."""
        if operator.roundings:
            _refuse(name, "its weights are quotients, rounded")
        if isinstance(operator, Identity):
            return value
        if isinstance(operator, Diagonal):
            return self._add("Mul", [value, self._constant(operator.scale)])
        if isinstance(operator, Dense):
            return self._add("MatMul", [value, self._constant(operator.weight.T)])
        if isinstance(operator, Convolution):
            return self._convolved(name, operator, value)
        assert isinstance(operator, Sparse)
        matrix = operator.matrix
        if (np.diff(matrix.indptr) == 1).all():  # a selection
            taken = self._add("Gather", [value, self._constant(matrix.indices.astype(np.int64))], axis=1)
            return taken if (matrix.data == 1.0).all() else self._add("Mul", [taken, self._constant(matrix.data)])
        if operator.out_size * operator.in_size > _MOST_NUMBERS:
            _refuse(name, f"it sums some of {operator.in_size:,} values for each of {operator.out_size:,}")
        return self._add("MatMul", [value, self._constant(operator.rows().T)])

    def _convolved(self, name: str, operator: Convolution, value: str) -> str:
        g, turned = operator.geometry, operator.transposed
        image, made = (g.out_image, g.image) if turned else (g.image, g.out_image)
        before = np.array(g.offsets)
        needed = np.array(g.strides) * (np.array(g.out_image[1:]) - 1) + np.array(g.reach) + 1
        after = needed - np.array(g.image[1:]) - before
        more: dict[str, Any] = {}
        if turned and (after < 0).any():
            more["output_padding"] = np.maximum(-after, 0).tolist()
        if (after <= -np.array(g.strides)).any():
            _refuse(name, "it leaves out a part of its image")
        shaped = self._add("Reshape", [value, self._constant(np.array([-1, *image]))])
        result = self._add(
            "ConvTranspose" if turned else "Conv",
            [shaped, self._constant(operator.weight)],
            group=g.groups,
            strides=list(g.strides),
            dilations=[g.dilation_y, g.dilation_x],
            kernel_shape=[g.kernel_height, g.kernel_width],
            pads=[*before.tolist(), *np.maximum(after, 0).tolist()],
            **more,
        )
        return self._add("Reshape", [result, self._constant(np.array([-1, int(np.prod(made))]))])

    def _activation(self, k: int, node: ActivationNode) -> None:
        value, out = f"node_{node.source}", f"node_{k}"
        named = dict(zip(ACTIVATIONS[node.kind].parameters, node.parameters, strict=False))
        if node.kind in _SLOPED:
            self._add("PRelu", [value, self._constant(named["slope"])], out)
        elif node.kind in _CLIPS:
            limits = [_one(node, name, values) for name, values in named.items()]
            self._add("Clip", [value, *(self._constant(np.array(v)) for v in limits)], out)
        elif node.kind == "gelu_tanh":
            self._add("Gelu", [value], out, approximate="tanh")
        elif node.kind == "silu":
            self._add("Mul", [value, self._add("Sigmoid", [value])], out)
        elif node.kind == "positive_power" and (named["exponent"] == 0.5).all():
            self._add("Sqrt", [value], out)
        elif node.kind in _OPERATORS and (node.kind != "elu" or (named["gamma"] == 1.0).all()):
            operator, attributes = _OPERATORS[node.kind]
            told = {theirs: _one(node, ours, named[ours]) for theirs, ours in attributes.items()}
            for theirs, number in told.items():
                if number != float(np.float32(number)):
                    _refuse(node.name, f"{theirs} = {number!r} has no single precision, which ONNX keeps it in")
            self._add(operator, [value], out, **told)
        else:
            _refuse(node.name, f"ONNX has no operator {node.kind!r} of these parameters")


def _is_single(values: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool((values.astype(np.float32) == values).all())


def _one(node: ActivationNode, name: str, values: Array) -> float:
    if not (values == values[0]).all():
        _refuse(node.name, f"{name} differs between its neurons")
    return float(values[0])


def _refuse(name: str, why: str) -> NoReturn:
    raise ModelError(f"{name}: cannot be written to an ONNX file, {why}; save the network as .npz")
