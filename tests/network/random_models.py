"""Random ONNX models of every kind of operator, with weights of odd scales, for comparison with exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_MAX_VALUES = 24
_SMOOTH = ("Sigmoid", "Tanh", "Atan", "Softplus", "Sin", "Erf", "Elu", "Mish")
_PIECEWISE = ("Relu", "LeakyRelu", "HardSigmoid", "Softsign", "HardSwish", "Abs")
_SCALES = (1.0, 1.0, 1.0, 1e-3, 1e3, 1e-8, 1e8)


class RandomModel:
    """Builds one model, operator after operator; ``shape`` is that of the last tensor, batch axis included."""

    def __init__(self, rng: np.random.Generator, *, operators: int) -> None:
        self.rng = rng
        self.dtype = np.float32 if rng.random() < 0.6 else np.float64
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.input_shape = (1, 2, 3, 3) if rng.random() < 0.4 else (1, int(rng.integers(1, 5)))
        self.shape: tuple[int, ...] = self.input_shape
        self.name = "x"
        self._smooth = 0
        for _ in range(operators):
            self._step()
        self._finish()

    @property
    def model(self) -> onnx.ModelProto:
        kind = TensorProto.FLOAT if self.dtype == np.float32 else TensorProto.DOUBLE
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("x", kind, self.input_shape)],
            [helper.make_tensor_value_info(self.name, kind, self.shape)],
            [numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)

    def _numbers(self, *shape: int) -> NDArray[Any]:
        """Weights: mostly ordinary, some huge or tiny, some that cancel, some whole numbers."""
        numbers = self.rng.standard_normal(shape) * self.rng.choice(_SCALES)
        if self.rng.random() < 0.2:
            numbers = np.round(numbers * 4)
        if self.rng.random() < 0.1:
            numbers = np.where(self.rng.random(shape) < 0.5, 1e15, -1e15) + numbers
        return np.asarray(numbers.astype(self.dtype))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def add(self, operator: str, *constants: NDArray[Any], inputs: list[str] | None = None, **attributes: Any) -> str:
        """Append a node that reads the last tensor and ``constants``."""
        names = [self.name] if inputs is None else inputs
        self.name = f"t{len(self.nodes)}"
        names = names + [self.constant(c) for c in constants]
        self.nodes.append(helper.make_node(operator, names, [self.name], **attributes))
        return self.name

    def _step(self) -> None:
        choices: list[Callable[[], None]] = [
            self._activation,
            self._activation,
            self._constant,
            self._joined,
            self._moved,
            self._curved,
            self._curved,
        ]
        choices += [self._matmul, self._skip] if len(self.shape) == 2 else [self._image, self._image, self._image]
        choices[self.rng.integers(len(choices))]()

    def _finish(self) -> None:
        if len(self.shape) > 2:
            self.add("Flatten")
            self.shape = (1, math.prod(self.shape))
        self.add("MatMul", self._numbers(self.shape[1], 2))
        self.shape = (1, 2)

    def _activation(self) -> None:
        if self._smooth < 2 and self.rng.random() < 0.4:
            self._smooth += 1
            self.add(str(self.rng.choice(_SMOOTH)))
        elif self.rng.random() < 0.2:
            lo = np.sort(self.rng.standard_normal(2)).astype(self.dtype)
            self.add("Clip", lo[0], lo[1])
        else:
            self.add(str(self.rng.choice(_PIECEWISE)))

    def _constant(self) -> None:
        operator = str(self.rng.choice(["Add", "Sub", "Mul", "Div", "Min", "Max", "PRelu"]))
        numbers = self._numbers(*self.shape[1:])
        if operator == "Div":
            numbers = np.where(np.abs(numbers) < 1e-12, 1, numbers).astype(self.dtype)
        self.add(operator, numbers)

    def _curved(self) -> None:
        """Products and quotients of two values, powers, roots, logarithms, and what is made of them; steps."""
        kind = str(
            self.rng.choice(
                ["product", "square", "power", "quotient", "root", "log", "exp", "softmax", "layer", "step"]
            )
        )
        source = self.name
        if kind == "step":
            self.add(str(self.rng.choice(["Floor", "Ceil", "Round", "Sign"])))
        elif kind == "square":
            self.add("Mul", inputs=[source, source])
        elif kind == "power":
            self.add("Pow", np.array(self.rng.choice([2.0, 3.0, 1.0]), self.dtype))
            self._smooth += 1
        elif kind == "product":
            other = self.add("Mul", self._numbers(*self.shape[1:]))
            other = self.add("Add", self._numbers(*self.shape[1:]))
            self.add("Mul", inputs=[source, other])
        elif self._smooth < 3:
            self._smooth += 1
            self._of_positive_values(kind, source)

    def _of_positive_values(self, kind: str, source: str) -> None:
        half = np.array(0.5, self.dtype)
        if kind == "softmax":
            self.add(str(self.rng.choice(["Softmax", "LogSoftmax"])), axis=int(self.rng.integers(1, len(self.shape))))
        elif kind == "layer":
            size = self.shape[-1]
            self.add("LayerNormalization", self._numbers(size), self._numbers(size), axis=-1)
        elif kind == "exp":
            self.add("Tanh")
            self.add("Exp")
        else:
            self.add("Abs")
            positive = self.add("Add", half)
            if kind == "quotient":
                self.add("Div", inputs=[source, positive])
            elif kind == "root":
                self.add(*(("Sqrt",) if self.rng.random() < 0.5 else ("Pow", half - 2)))
            else:
                self.add("Log")

    def _joined(self) -> None:
        source, shape = self.name, self.shape
        if self.rng.random() < 0.5 or math.prod(shape) * 2 > _MAX_VALUES:
            self.add("Neg")
            scaled = self.add("Mul", self._numbers(*shape[1:]))
            self.add("Add", inputs=[source, scaled])
        else:
            other = self.add("Mul", self._numbers(1))
            self.add("Concat", inputs=[source, other], axis=1)
            self.shape = (1, 2 * shape[1], *shape[2:])

    def _moved(self) -> None:
        axis = int(self.rng.integers(1, len(self.shape)))
        size = self.shape[axis]
        choice = self.rng.integers(6)
        if choice == 5 and size > 1:
            name, first = f"t{len(self.nodes)}", int(self.rng.integers(1, size))
            lengths = self.constant(np.array([first, size - first]))
            self.nodes.append(helper.make_node("Split", [self.name, lengths], [f"{name}a", f"{name}b"], axis=axis))
            self.name = f"{name}b"
            self.shape = (*self.shape[:axis], size - first, *self.shape[axis + 1 :])
        elif choice == 0:
            which = self.rng.integers(0, size, int(self.rng.integers(1, 4)))
            self.add("Gather", which, axis=axis)
            self.shape = (*self.shape[:axis], which.size, *self.shape[axis + 1 :])
        elif choice == 1:
            start = int(self.rng.integers(size))
            self.add("Slice", np.array([start]), np.array([size]), np.array([axis]))
            self.shape = (*self.shape[:axis], size - start, *self.shape[axis + 1 :])
        elif choice == 2:
            order = [0, *(self.rng.permutation(len(self.shape) - 1) + 1).tolist()]
            self.add("Transpose", perm=order)
            self.shape = tuple(self.shape[k] for k in order)
        elif choice == 3:
            condition = self.rng.random(self.shape[1:]) < 0.5
            name = self.constant(condition)
            other = self.constant(self._numbers(*self.shape[1:]))
            self.add("Where", inputs=[name, self.name, other])
        else:
            mean = self.rng.random() < 0.5
            self.add("ReduceMean" if mean else "ReduceSum", np.array([axis]), keepdims=1)
            self.shape = (*self.shape[:axis], 1, *self.shape[axis + 1 :])

    def _matmul(self) -> None:
        columns = int(self.rng.integers(1, 6))
        weight = self._numbers(self.shape[1], columns)
        if self.rng.random() < 0.5:
            self.add("MatMul", weight)
        else:
            alpha, beta = (float(v) for v in self.rng.choice([1.0, 0.5, 0.1, -3.0], 2))
            self.add("Gemm", weight.T.copy(), self._numbers(columns), transB=1, alpha=alpha, beta=beta)
        self.shape = (1, columns)

    def _skip(self) -> None:
        source, size = self.name, self.shape[1]
        branch = self.add("MatMul", self._numbers(size, size))
        self.add("Add", inputs=[source, branch])

    def _image(self) -> None:
        channels, height, width = self.shape[1:]
        choice = self.rng.integers(5)
        kernel = [int(self.rng.integers(1, min(3, n) + 1)) for n in (height, width)]
        if choice == 0:
            outputs = int(self.rng.integers(1, 3))
            self.add("Conv", self._numbers(outputs, channels, *kernel), self._numbers(outputs))
            self.shape = (1, outputs, height - kernel[0] + 1, width - kernel[1] + 1)
        elif choice == 1 and math.prod(self.shape) * 4 <= _MAX_VALUES:
            self.add("ConvTranspose", self._numbers(channels, 1, 2, 2), strides=[2, 2])
            self.shape = (1, 1, 2 * height, 2 * width)
        elif choice == 2:
            scale, shift, mean = (self._numbers(channels) for _ in range(3))
            variance = (np.abs(self._numbers(channels)) + 1e-10).astype(self.dtype)
            self._smooth += 2  # the root makes the model transcendental for the oracle
            self.add("BatchNormalization", scale, shift, mean, variance)
        else:
            self.add("AveragePool" if choice == 3 else "MaxPool", kernel_shape=kernel)
            self.shape = (1, channels, height - kernel[0] + 1, width - kernel[1] + 1)
