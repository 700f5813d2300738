"""Exact evaluation of ONNX models from the numbers in the file, with derivatives; nothing of the importer is used.

Tensors are object arrays of :class:`Dual` numbers: rational ones where the model is piecewise linear, else 240-bit ones. Every
operator is written down from its definition in the ONNX standard, slowly and plainly, for small models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests.exact import MP, slope, to_mp, value
from tests.onnx_numbers import Dual, Number, Tensor, mapped, tensor_of

Attributes = Mapping[str, Any]

_ROOTS = {"BatchNormalization", "LayerNormalization", "Pow", "Sqrt"}
_TRANSCENDENTAL = _ROOTS | frozenset(
    "Atan Celu Elu Erf Exp Gelu Log LogSoftmax Mish Selu Sigmoid Sin Softmax Softplus Swish Tanh".split()  # noqa: SIM905
)


class ExactModel:
    """The function in an ONNX file, for one sample.

    Parameters
    ----------
    model : onnx.ModelProto
        With one input and one output.
    shape : sequence of int
        Of the input tensor, its batch axis included.
    """

    def __init__(self, model: onnx.ModelProto, shape: Sequence[int]) -> None:
        self.graph = model.graph
        self.shape = tuple(shape)
        self.opset = max(o.version for o in model.opset_import)
        self.rational = not _TRANSCENDENTAL & {n.op_type for n in self.graph.node}
        self.convert: Callable[[Any], Number] = Fraction if self.rational else to_mp
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.input = next(i.name for i in self.graph.input if i.name not in self.constants)

    def __call__(self, x: Sequence[Fraction]) -> list[Dual]:
        """The outputs, flattened, with their gradients."""
        seeds = [Dual(self.convert(v), {i: self.convert(1)}) for i, v in enumerate(x)]
        tensors: dict[str, Tensor] = dict(self.constants)
        tensors[self.input] = tensor_of(seeds).reshape(self.shape)
        for node in self.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            inputs = [tensors[name] if name else None for name in node.input]
            made = self._apply(node.op_type, inputs, attributes, len(node.output))
            tensors.update(zip(node.output, made, strict=True))
        return list(self.number(tensors[self.graph.output[0].name]).reshape(-1))

    def number(self, tensor: Tensor) -> Tensor:
        """``tensor`` of Duals; numbers from the file are taken exactly."""
        if tensor.dtype == object:
            return tensor
        flat = [Dual(self.convert(float(v))) for v in tensor.astype(np.float64).reshape(-1)]
        return tensor_of(flat).reshape(tensor.shape)

    def _apply(self, operator: str, inputs: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
        if operator == "Constant":
            return [numpy_helper.to_array(a["value"])]
        if operator in _MOVES:
            return _MOVES[operator](inputs, a, outputs)
        numbers = [None if t is None else self.number(t) for t in inputs]
        if operator in _ACTIVATIONS:
            kind, names = _ACTIVATIONS[operator]
            return [self._elementwise(np.asarray(numbers[0]), kind, [float(a.get(n, default)) for n, default in names])]
        result = _ARITHMETIC[operator](self, numbers, a)
        # NumPy takes the only entry out of arrays without axes.
        return [result if isinstance(result, np.ndarray) else tensor_of([result]).reshape(())]

    def _elementwise(self, x: Tensor, kind: str, parameters: Sequence[float]) -> Tensor:
        return mapped(lambda d: d.chained(value(kind, d.value, *parameters), slope(kind, d.value, *parameters)), x)


def _ints(tensor: Any) -> list[int]:
    return [int(v) for v in np.asarray(tensor).reshape(-1)]


# Operators that move values and compute nothing.


def _reshape(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    shape = [i[0].shape[k] if d == 0 else d for k, d in enumerate(_ints(i[1]))]
    return [i[0].reshape(shape)]


def _flatten(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    axis = a.get("axis", 1) % (i[0].ndim + 1)
    return [i[0].reshape(math.prod(i[0].shape[:axis]), -1)]


def _slice(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    starts, ends = _ints(i[1]), _ints(i[2])
    axes = _ints(i[3]) if len(i) > 3 and i[3] is not None else range(len(starts))
    steps = _ints(i[4]) if len(i) > 4 else [1] * len(starts)
    key = [slice(None)] * i[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        key[axis] = slice(start, None if step < 0 and end < -i[0].shape[axis] else end, step)
    return [i[0][tuple(key)]]


def _split(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    axis, size = a.get("axis", 0), i[0].shape[a.get("axis", 0)]
    each = -(-size // outputs)
    lengths = _ints(i[1]) if len(i) > 1 else [min(each, size - each * k) for k in range(outputs)]
    return list(np.split(i[0], np.cumsum(lengths)[:-1], axis=axis))


def _concat(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    if any(t.dtype == object for t in i):
        i = [t if t.dtype == object else mapped(lambda v: Dual(Fraction(float(v))), t) for t in i]
    return [np.concatenate(i, axis=a["axis"])]


def _pad(i: list[Any], a: Attributes, outputs: int) -> list[Tensor]:
    pads, rank = _ints(i[1]), i[0].ndim
    fill = Fraction(float(np.asarray(i[2]).reshape(()))) if len(i) > 2 and i[2] is not None else Fraction(0)
    shape = [d + pads[k] + pads[k + rank] for k, d in enumerate(i[0].shape)]
    out = tensor_of([Dual(fill) for _ in range(math.prod(shape))]).reshape(shape)
    out[tuple(slice(pads[k], pads[k] + d) for k, d in enumerate(i[0].shape))] = i[0]
    return [out]


_MOVES: dict[str, Callable[[list[Any], Attributes, int], list[Tensor]]] = {
    "Cast": lambda i, a, o: [i[0]],
    "Concat": _concat,
    "Dropout": lambda i, a, o: [i[0]],
    "Expand": lambda i, a, o: [np.array(np.broadcast_to(i[0], np.broadcast_shapes(i[0].shape, tuple(_ints(i[1])))))],
    "Flatten": _flatten,
    "Gather": lambda i, a, o: [np.take(i[0], i[1], axis=a.get("axis", 0))],
    "Identity": lambda i, a, o: [i[0]],
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": lambda i, a, o: [np.squeeze(i[0], tuple(_ints(i[1])))],
    "Transpose": lambda i, a, o: [np.transpose(i[0], a.get("perm"))],
    "Unsqueeze": lambda i, a, o: [np.expand_dims(i[0], tuple(_ints(i[1])))],
}


# Operators that compute.


def _total(values: Sequence[Dual]) -> Dual:
    total = Dual(0)
    for v in values:
        total = total + v
    return total


def _matmul(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    return np.asarray(np.matmul(i[0], i[1]))


def _gemm(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    left, right = i[0].T if a.get("transA") else i[0], i[1].T if a.get("transB") else i[1]
    out = left @ right * Dual(m.convert(a.get("alpha", 1.0)))
    if len(i) > 2:
        out = out + i[2] * Dual(m.convert(a.get("beta", 1.0)))
    return np.asarray(out)


def _reduce_extreme(i: list[Any], a: Attributes, choose: Callable[[list[Dual]], Dual]) -> Tensor:
    axes = a.get("axes") if len(i) < 2 else [int(v.value) for v in i[1].reshape(-1)]
    gone = {int(k) % i[0].ndim for k in (range(i[0].ndim) if axes is None else axes)}
    kept = [k for k in range(i[0].ndim) if k not in gone]
    rows = i[0].transpose([*kept, *sorted(gone)]).reshape(math.prod(i[0].shape[k] for k in kept), -1)
    shape = [1 if k in gone else d for k, d in enumerate(i[0].shape) if a.get("keepdims", 1) or k not in gone]
    return tensor_of([choose(list(row)) for row in rows]).reshape(shape)


def _reduce(m: ExactModel, i: list[Any], a: Attributes, mean: bool) -> Tensor:
    axes = (
        _ints([v.value for v in i[1].reshape(-1)])
        if len(i) > 1 and i[1] is not None
        else a.get("axes", range(i[0].ndim))
    )
    axes = sorted(k % i[0].ndim for k in axes)
    kept = [k for k in range(i[0].ndim) if k not in axes]
    count = math.prod(i[0].shape[k] for k in axes)
    rows = i[0].transpose(kept + axes).reshape(-1, count)
    sums = tensor_of([_total(row) for row in rows])
    if mean:
        sums = mapped(lambda v: v * Dual(m.convert(Fraction(1, count))), sums)
    keep = a.get("keepdims", 1)
    return sums.reshape([1 if k in axes else d for k, d in enumerate(i[0].shape) if keep or k not in axes])


def _geometry(
    a: Attributes, image: Sequence[int], kernel: Sequence[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    rank = len(image)
    strides, dilations = list(a.get("strides", [1] * rank)), list(a.get("dilations", [1] * rank))
    pads = list(a.get("pads", [0] * 2 * rank))
    ends = [pads[k + rank] for k in range(rank)]
    out = []
    for k in range(rank):
        room = image[k] + pads[k] + ends[k] - (kernel[k] - 1) * dilations[k] - 1
        out.append((-(-room // strides[k]) if a.get("ceil_mode") else room // strides[k]) + 1)
    return strides, dilations, pads[:rank], out


def _conv(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    x, w, groups = i[0][0], i[1], a.get("group", 1)
    strides, dilations, pads, size = _geometry(a, x.shape[1:], w.shape[2:])
    out = np.empty((w.shape[0], *size), dtype=object)
    for place in np.ndindex(*out.shape):
        o, position = place[0], place[1:]
        total = Dual(0) if len(i) < 3 else i[2][o]
        for tap in np.ndindex(*w.shape[1:]):
            c = o // (w.shape[0] // groups) * w.shape[1] + tap[0]
            at = [p * s - b + t * d for p, s, b, t, d in zip(position, strides, pads, tap[1:], dilations, strict=True)]
            if all(0 <= v < n for v, n in zip(at, x.shape[1:], strict=True)):
                total = total + x[(c, *at)] * w[(o, *tap)]
        out[place] = total
    return out[None]


def _conv_transpose(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    x, w, groups = i[0][0], i[1], a.get("group", 1)
    rank = x.ndim - 1
    strides, dilations = list(a.get("strides", [1] * rank)), list(a.get("dilations", [1] * rank))
    extra = list(a.get("output_padding", [0] * rank))
    full = [(n - 1) * s + (k - 1) * d + 1 + e
            for n, s, k, d, e in zip(x.shape[1:], strides, w.shape[2:], dilations, extra, strict=True)]  # fmt: skip
    if "output_shape" in a:
        size = list(a["output_shape"])[-rank:]
        totals = [f - n for f, n in zip(full, size, strict=True)]
        before = [t // 2 if a.get("auto_pad") == b"SAME_UPPER" else t - t // 2 for t in totals]
    else:
        pads = list(a.get("pads", [0] * 2 * rank))
        before, size = pads[:rank], [f - pads[k] - pads[k + rank] for k, f in enumerate(full)]
    out = np.empty((w.shape[1] * groups, *size), dtype=object)
    for place in np.ndindex(*out.shape):
        out[place] = Dual(0) if len(i) < 3 else i[2][place[0]]
    for place in np.ndindex(*x.shape):
        for tap in np.ndindex(*w.shape[1:]):
            o = place[0] // (x.shape[0] // groups) * w.shape[1] + tap[0]
            at = [
                p * s - b + t * d for p, s, b, t, d in zip(place[1:], strides, before, tap[1:], dilations, strict=True)
            ]
            if all(0 <= v < n for v, n in zip(at, size, strict=True)):
                out[(o, *at)] = out[(o, *at)] + x[place] * w[(place[0], *tap)]
    return out[None]


def _pool(m: ExactModel, i: list[Any], a: Attributes, mean: bool) -> Tensor:
    x = i[0][0]
    strides, dilations, pads, size = _geometry(a, x.shape[1:], a["kernel_shape"])
    out = np.empty((x.shape[0], *size), dtype=object)
    for place in np.ndindex(*out.shape):
        window = []
        for tap in np.ndindex(*a["kernel_shape"]):
            at = [p * s - b + t * d for p, s, b, t, d in zip(place[1:], strides, pads, tap, dilations, strict=True)]
            if all(0 <= v < n for v, n in zip(at, x.shape[1:], strict=True)):
                window.append(x[(place[0], *at)])
        count = math.prod(a["kernel_shape"]) if a.get("count_include_pad") else len(window)
        out[place] = _total(window) * Dual(m.convert(Fraction(1, count))) if mean else max(window)
    return out[None]


def _global_pool(m: ExactModel, i: list[Any], a: Attributes, mean: bool) -> Tensor:
    return _pool(m, i, {"kernel_shape": i[0].shape[2:]}, mean)


def _batch_normalization(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    scale, shift, mean, variance = (t.reshape(-1, *[1] * (i[0].ndim - 2)) for t in i[1:])
    epsilon = m.convert(a.get("epsilon", float(np.float32(1e-5))))
    factor = mapped(lambda s, v: Dual(s.value / MP.sqrt(v.value + epsilon)), scale, variance)
    return np.asarray((i[0] - mean) * factor + shift)


def _clip(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    lo = i[1].reshape(()).item() if len(i) > 1 and i[1] is not None else None
    hi = i[2].reshape(()).item() if len(i) > 2 and i[2] is not None else None
    return mapped(lambda v: min(v if lo is None else max(v, lo), hi) if hi is not None else max(v, lo), i[0])


def _softsign(d: Dual) -> Dual:
    size = 1 + abs(d.value)
    return d.chained(d.value / size, 1 / (size * size))


def _sqrt(d: Dual) -> Dual:
    root = MP.sqrt(d.value)
    return d.chained(root, 1 / (2 * root)) if d.gradient else Dual(root)


def _log(d: Dual) -> Dual:
    return d.chained(MP.log(d.value), 1 / d.value)


def _pow(base: Dual, exponent: Dual) -> Dual:
    if exponent.gradient:
        result = base.value**exponent.value
        return exponent.chained(result, result * MP.log(base.value))
    n = exponent.value
    n = int(n) if n == int(n) else n
    return base.chained(base.value**n, n * base.value ** (n - 1))


def _softmax(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    """Of the exponentials themselves, whatever their size."""
    axis = a.get("axis", -1)
    if i[0].shape[axis] == 1:
        # Of one value it is 1 whatever the value, which a quotient of 240 bits only nearly says.
        return mapped(lambda d: Dual(m.convert(1)), i[0])
    powers = mapped(lambda d: d.chained(MP.exp(d.value), MP.exp(d.value)), i[0])
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def _layer_normalization(m: ExactModel, i: list[Any], a: Attributes) -> Tensor:
    axes = list(range(a.get("axis", -1) % i[0].ndim, i[0].ndim))
    centred = i[0] - _reduce(m, [i[0]], {"axes": axes}, True)
    variance = _reduce(m, [centred * centred], {"axes": axes}, True)
    epsilon = Dual(m.convert(a.get("epsilon", float(np.float32(1e-5)))))
    result = centred / mapped(lambda v: _sqrt(v + epsilon), variance) * i[1]
    return np.asarray(result + i[2] if len(i) > 2 else result)


_ACTIVATIONS: dict[str, tuple[str, list[tuple[str, float]]]] = {
    "Relu": ("relu", []),
    "LeakyRelu": ("leaky_relu", [("alpha", float(np.float32(0.01)))]),
    "HardSigmoid": ("hard_sigmoid", [("alpha", float(np.float32(0.2))), ("beta", 0.5)]),
    "HardSwish": ("hard_swish", []),
    "Mish": ("mish", []),
    "Sigmoid": ("sigmoid", []),
    "Tanh": ("tanh", []),
    "Atan": ("arctan", []),
    "Softplus": ("softplus", []),
    "Sin": ("sin", []),
    "Erf": ("erf", []),
    "Elu": ("elu", [("alpha", 1.0), ("gamma", 1.0)]),
    "Exp": ("exp", []),
    "Log": ("log", []),
    "Floor": ("floor", []),
    "Round": ("nearest", []),
    "Sign": ("signum", []),
}
_ARITHMETIC: dict[str, Callable[[ExactModel, list[Any], Attributes], Tensor]] = {
    "Abs": lambda m, i, a: mapped(lambda v: v if v.value >= 0 else -v, i[0]),
    "Add": lambda m, i, a: i[0] + i[1],
    "AveragePool": lambda m, i, a: _pool(m, i, a, True),
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": lambda m, i, a: i[0] / i[1],
    "Gemm": _gemm,
    "GlobalAveragePool": lambda m, i, a: _global_pool(m, i, a, True),
    "GlobalMaxPool": lambda m, i, a: _global_pool(m, i, a, False),
    "MatMul": _matmul,
    "Max": lambda m, i, a: mapped(lambda *v: max(v), *i),
    "MaxPool": lambda m, i, a: _pool(m, i, a, False),
    "Min": lambda m, i, a: mapped(lambda *v: min(v), *i),
    "Mul": lambda m, i, a: i[0] * i[1],
    "Neg": lambda m, i, a: mapped(lambda v: -v, i[0]),
    "PRelu": lambda m, i, a: mapped(lambda v, s: v if v.value >= 0 else v * s, *i),
    "ReduceMax": lambda m, i, a: _reduce_extreme(i, a, max),
    "ReduceMean": lambda m, i, a: _reduce(m, i, a, True),
    "ReduceMin": lambda m, i, a: _reduce_extreme(i, a, min),
    "ReduceSum": lambda m, i, a: _reduce(m, i, a, False),
    "Softsign": lambda m, i, a: mapped(_softsign, i[0]),
    "Ceil": lambda m, i, a: mapped(lambda v: Dual(-value("floor", -v.value)), i[0]),
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": lambda m, i, a: mapped(_log, _softmax(m, i, a)),
    "Pow": lambda m, i, a: mapped(_pow, *i),
    "Reciprocal": lambda m, i, a: mapped(lambda v: Dual(m.convert(1)) / v, i[0]),
    "Softmax": lambda m, i, a: _softmax(m, i, a),
    "Sqrt": lambda m, i, a: mapped(_sqrt, i[0]),
    "Sub": lambda m, i, a: i[0] - i[1],
    "Sum": lambda m, i, a: sum(i[1:], start=i[0]),
    "Where": lambda m, i, a: mapped(lambda c, x, y: x if c.value else y, *i),
}
