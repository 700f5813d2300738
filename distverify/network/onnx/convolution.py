"""ONNX convolutions, their transposes, and batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from distverify.kernels.convolution import Geometry
from distverify.kernels.rounding import SOUND
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.exactness import sum_with_error
from distverify.network.linear.operator import Array
from distverify.network.nodes import Term
from distverify.network.onnx.operation import Handler, Operation, Signal
from distverify.network.onnx.windows import Pair, explicit_pads, image_shape, pair, result_shape, windows

# Of scale / sqrt(variance + epsilon): the sum, the root, the quotient.
_FACTOR_ROUNDINGS = 3


def _weight(op: Operation, x: Signal) -> Array:
    """The weights, [first channels, second channels, kernel height, kernel width]."""
    weight = op.numbers(op.constant(1))
    if weight.ndim != len(x.shape):
        op.error(f"weights of shape {weight.shape} do not fit values of shape {x.shape}")
    if tuple(op.attributes.get("kernel_shape") or weight.shape[2:]) != weight.shape[2:]:
        op.error(f"kernel_shape = {op.attributes['kernel_shape']}, but the weights have shape {weight.shape}")
    if weight.size == 0:
        op.error(f"weights of shape {weight.shape} hold no values")
    return weight[:, :, None] if weight.ndim == 3 else weight


def _bias(op: Operation, channels: int, output: Pair) -> tuple[Array | None, Array | None]:
    """The bias of every output, and its error."""
    if op.input(2) is None:
        return None, None
    stored = op.constant(2)
    bias = np.repeat(op.spread(stored, (channels,)), math.prod(output))
    return bias, SOUND.gamma(op.roundings(stored)) * np.abs(bias) if op.roundings(stored) else None


def _without_zeros(x: Signal) -> tuple[Signal, tuple[Pair, ...]]:
    """``x`` without the zeros that a Pad put around its image, and their numbers."""
    rank = len(x.shape) - 2
    if x.unpadded is None or any(x.unpadded[1][:2][i] != (0, 0) for i in (0, 1)):
        return x, ((0, 0), (0, 0))
    inner, pads = x.unpadded
    return inner, ((0, 0), pads[2]) if rank == 1 else pads[2:]


def _conv(op: Operation) -> Signal:
    x, extra = _without_zeros(op.signal())
    if op.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        # These pads depend on the size of the padded image.
        x, extra = op.signal(), ((0, 0), (0, 0))
    weight, groups = _weight(op, x), int(op.attributes["group"])
    kernel = weight.shape[2], weight.shape[3]
    w = windows(op, x, kernel, extra)
    if groups < 1 or weight.shape[1] * groups != w.channels or weight.shape[0] % groups:
        op.error(f"weights of shape {op.constant(1).shape} in {groups} groups do not fit values of shape {x.shape}")
    geometry = Geometry(
        groups, w.channels, *w.image, weight.shape[0], *w.output, *kernel, *w.strides, *w.dilations, *w.before
    )
    convolution = Convolution(np.ascontiguousarray(weight), geometry, roundings=op.roundings(op.constant(1)))
    shape = result_shape(x, weight.shape[0], w.output)
    op.check_shape(shape)
    return op.linear(shape, [Term(x.node, convolution)], *_bias(op, weight.shape[0], w.output))


def _conv_transpose(op: Operation) -> Signal:
    x = op.signal()
    weight, groups, rank = _weight(op, x), int(op.attributes["group"]), len(x.shape) - 2
    channels, image = image_shape(op, x)
    if groups < 1 or weight.shape[0] != channels or channels % groups:
        op.error(f"weights of shape {op.constant(1).shape} in {groups} groups do not fit values of shape {x.shape}")
    strides, dilations = pair(op, "strides", 1, rank), pair(op, "dilations", 1, rank)
    kernel = weight.shape[2], weight.shape[3]
    paddings = op.attributes.get("output_padding") or (0,) * rank
    wanted = op.attributes.get("output_shape")
    for what, numbers, lengths in (("output_padding", paddings, (rank,)), ("output_shape", wanted, (rank, rank + 2))):
        if numbers is not None and (len(numbers) not in lengths or min(numbers) < 0):
            op.error(f"{what} = {list(numbers)} makes no sense for images with {rank} axes")
    adjustment = [0] * (2 - rank) + [int(v) for v in paddings]
    full = [
        (n - 1) * s + (k - 1) * d + 1 + a
        for n, s, k, d, a in zip(image, strides, kernel, dilations, adjustment, strict=True)
    ]
    auto = op.attributes.get("auto_pad", b"NOTSET").decode()
    if wanted or auto in ("SAME_UPPER", "SAME_LOWER"):
        target = [n * s for n, s in zip(image, strides, strict=True)]
        if wanted:
            target = [1] * (2 - rank) + [int(v) for v in wanted[-rank:]]
        totals = [max(0, f - t) for f, t in zip(full, target, strict=True)]
        if op.opset < 11 and any(t % 2 for t in totals):
            op.error(
                f"operator set {op.opset} does not tell on which side odd pads are larger; convert the model to 11 or later"
            )
        # The larger half of odd pads comes first, except for SAME_UPPER.
        before = [t // 2 if auto == "SAME_UPPER" else t - t // 2 for t in totals]
    elif auto in ("NOTSET", "VALID"):
        before_pads, after = explicit_pads(op, rank) if auto == "NOTSET" else ((0, 0), (0, 0))
        before = list(before_pads)
        target = [f - b - a for f, b, a in zip(full, before, after, strict=True)]
    else:
        op.error(f"auto_pad = {auto!r} is unknown")
    outputs = weight.shape[1] * groups
    shape = result_shape(x, outputs, (target[0], target[1]))
    op.check_shape(shape)
    sizes = (groups, outputs, *target, channels, *image, *kernel, *strides, *dilations, *before)
    geometry = Geometry(*sizes)
    convolution = Convolution(
        np.ascontiguousarray(weight), geometry, transposed=True, roundings=op.roundings(op.constant(1))
    )
    return op.linear(shape, [Term(x.node, convolution)], *_bias(op, outputs, (target[0], target[1])))


def _batch_normalization(op: Operation) -> Signal:
    x = op.signal()
    if op.attributes.get("training_mode") or (op.opset < 7 and not op.attributes.get("is_test")):
        op.error("is in training mode; export the model in evaluation mode")
    if not op.attributes.get("spatial", 1):
        op.error("spatial = 0 is not supported")
    if len(x.shape) < 2:
        op.error(f"got values of shape {x.shape}; the second axis must hold the channels")
    channels = x.shape[1]
    scale, shift, mean, variance = (op.spread(op.constant(i), (channels,)) for i in (1, 2, 3, 4))
    divisor = variance + float(op.attributes["epsilon"])
    if not (divisor > 0).all():
        op.error("has a variance that is not positive; the model is damaged")
    factor = scale / np.sqrt(divisor)
    if not (np.isfinite(factor).all() and ((factor == 0.0) == (scale == 0.0)).all()):
        op.error("scales by a factor that leaves the range of float64; the model is damaged")
    offset = mean * factor
    bias, lost = sum_with_error(shift, -offset)
    lost = SOUND.gamma(_FACTOR_ROUNDINGS + 1) * np.abs(offset) + SOUND.eta * (mean != 0.0) + lost
    per_channel = (1, channels, *(1,) * (len(x.shape) - 2))
    factors, biases, errors = (op.spread(a.reshape(per_channel), x.shape) for a in (factor, bias, lost))
    return op.linear(x.shape, [Term(x.node, Diagonal(factors, roundings=_FACTOR_ROUNDINGS))], biases, errors)


CONVOLUTION_OPERATORS: Mapping[str, Handler] = {
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
}
