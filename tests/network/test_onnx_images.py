"""Operators on images against ONNX's reference implementation: convolutions, pools, index maps, normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from distverify.errors import ModelError
from distverify.network.nodes import LinearNode
from distverify.network.normalisation import apply_normalisation
from distverify.network.onnx.importer import load_onnx
from tests.network.onnx_models import SHARED, model, node, reference, save

RNG = np.random.default_rng(11)
I64 = np.int64
IMAGE = {"shape": (1, 4, 7, 6)}
SIGNAL = {"shape": (1, 4, 9)}


def weight(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=I64)


def conv(w: np.ndarray, options: dict[str, Any] = IMAGE, **attributes: Any) -> Any:
    return [node("Conv", "x w b", "y", **attributes)], {"w": w, "b": weight(w.shape[0])}, options


def deconv(w: np.ndarray, options: dict[str, Any] = IMAGE, **attributes: Any) -> Any:
    bias = weight(w.shape[1] * attributes.get("group", 1))
    return [node("ConvTranspose", "x w b", "y", **attributes)], {"w": w, "b": bias}, options


def pool(operator: str, options: dict[str, Any] = IMAGE, **attributes: Any) -> Any:
    return [node(operator, "x", "y", **attributes)], {}, options


def with_constants(operator: str, options: dict[str, Any] = IMAGE, **constants: Any) -> Any:
    attributes = constants.pop("attributes", {})
    return [node(operator, "x " + " ".join(constants), "y", **attributes)], constants, options


OPSET = {"opset": 13}
OLD = {"opset": 9}
# name: (nodes, constants, options of ``model``)
CASES = {
    "conv": conv(weight(3, 4, 3, 2)),
    "conv_stride_pads": conv(weight(3, 4, 3, 3), strides=[2, 1], pads=[1, 0, 2, 1]),
    "conv_wide_pads": conv(weight(2, 4, 2, 2), pads=[3, 4, 3, 4], strides=[3, 3]),
    "conv_dilations": conv(weight(3, 4, 3, 2), dilations=[2, 3], pads=[1, 1, 1, 1]),
    "conv_groups": conv(weight(6, 2, 3, 3), group=2),
    "conv_depthwise": conv(weight(8, 1, 3, 3), group=4, strides=[2, 2]),
    "conv_same_upper": conv(weight(3, 4, 2, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_same_lower": conv(weight(3, 4, 2, 3), auto_pad="SAME_LOWER"),
    "conv_valid": conv(weight(3, 4, 2, 3), auto_pad="VALID"),
    "conv_1x1_stride": conv(weight(3, 4, 1, 1), strides=[2, 2]),
    "conv_whole_image": conv(weight(3, 4, 7, 6)),
    "conv_1d": conv(weight(3, 4, 3), SIGNAL, strides=[2], pads=[1, 2]),
    "conv_1d_groups": conv(weight(4, 2, 3), SIGNAL, group=2, dilations=[2]),
    "conv_without_bias": ([node("Conv", "x w", "y")], {"w": weight(3, 4, 3, 2)}, IMAGE),
    "deconv": deconv(weight(4, 3, 3, 2)),
    "deconv_stride_pads": deconv(weight(4, 3, 3, 3), strides=[2, 3], pads=[1, 0, 2, 1], output_padding=[1, 2]),
    "deconv_dilations": deconv(weight(4, 3, 3, 2), dilations=[2, 1]),
    "deconv_same": deconv(weight(4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "deconv_shape": deconv(weight(4, 3, 3, 3), auto_pad="SAME_LOWER", strides=[2, 2], output_shape=[14, 12]),
    "deconv_1d": deconv(weight(4, 3, 3), SIGNAL, strides=[2], pads=[1, 1]),
    "batch_normalization": (
        [node("Conv", "x w", "h"), node("BatchNormalization", "h s b m v", "y", epsilon=0.01)],
        {"w": weight(3, 4, 3, 3), "s": weight(3), "b": weight(3), "m": weight(3), "v": weight(3) ** 2},
        {**IMAGE, "opset": 15},
    ),
    "average": pool("AveragePool", kernel_shape=[3, 2]),
    "average_pads": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 0], strides=[2, 2]),
    "average_include": pool("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 0], count_include_pad=1),
    "average_same": pool("AveragePool", kernel_shape=[2, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    "average_ceil": pool("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average_1d": pool("AveragePool", SIGNAL, kernel_shape=[3], strides=[2]),
    "global_average": pool("GlobalAveragePool"),
    "global_max": pool("GlobalMaxPool"),
    "max": pool("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "max_overlap": pool("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
    "max_dilations": pool("MaxPool", kernel_shape=[2, 2], dilations=[2, 3]),
    "max_same": pool("MaxPool", kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
    "max_ceil": pool("MaxPool", kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1),
    "max_one": pool("MaxPool", kernel_shape=[1, 1], strides=[2, 2]),
    "max_1d": pool("MaxPool", SIGNAL, kernel_shape=[3], strides=[2], pads=[1, 1]),
    "transpose": ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}, IMAGE),
    "transpose_reversed": ([node("Transpose", "x", "y")], {}, IMAGE),
    "pad": with_constants("Pad", p=i64(0, 0, 1, 2, 0, 1, 0, 3)),
    "pad_value": with_constants("Pad", p=i64(0, 0, 1, 2, 0, 0, 0, 3), v=np.array(1.5)),
    "pad_reflect": with_constants("Pad", p=i64(0, 0, 1, 2, 0, 0, 1, 1), attributes={"mode": "reflect"}),
    "pad_edge": with_constants("Pad", p=i64(0, 0, 1, 2, 0, 0, 1, 1), attributes={"mode": "edge"}),
    "pad_axes": (
        [node("Pad", "x p - a", "y")],
        {"p": i64(1, 2, 3, 4), "a": i64(-1, 1)},
        {**IMAGE, "opset": 18},
    ),
    "pad_conv": (
        [node("Pad", "x p", "h"), node("Conv", "h w", "y", pads=[0, 1, 0, 0], strides=[2, 2])],
        {"p": i64(0, 0, 1, 2, 0, 0, 2, 3), "w": weight(3, 4, 3, 3)},
        IMAGE,
    ),
    "pad_channels_conv": (
        [node("Pad", "x p", "h"), node("Conv", "h w", "y")],
        {"p": i64(0, 1, 1, 2, 0, 0, 2, 3), "w": weight(3, 5, 3, 3)},
        IMAGE,
    ),
    "pad_same_conv": (
        [node("Pad", "x p", "h"), node("Conv", "h w", "y", auto_pad="SAME_UPPER", strides=[2, 2])],
        {"p": i64(0, 0, 1, 0, 0, 0, 1, 1), "w": weight(3, 4, 3, 3)},
        IMAGE,
    ),
    "pad_conv_1d": (
        [node("Pad", "x p", "h"), node("Conv", "h w", "y")],
        {"p": i64(0, 0, 1, 0, 0, 2), "w": weight(3, 4, 3)},
        SIGNAL,
    ),
    "slice": with_constants("Slice", s=i64(1, -2), e=i64(100, -5), a=i64(2, 3), t=i64(2, -1)),
    "slice_to_the_front": with_constants("Slice", s=i64(-1), e=i64(-(2**62)), a=i64(1), t=i64(-1)),
    "slice_default_axes": with_constants("Slice", s=i64(0, 1), e=i64(1, 3)),
    "slice_old": ([node("Slice", "x", "y", starts=[1], ends=[3], axes=[2])], {}, {**IMAGE, **OLD}),
    "gather": with_constants("Gather", i=np.array([[0, -1], [2, 2]]), attributes={"axis": 1}),
    "gather_one": with_constants("Gather", i=np.array(2), attributes={"axis": 3}),
    "concat": ([node("Relu", "x", "r"), node("Concat", "x c r", "y", axis=1)], {"c": weight(1, 2, 7, 6)}, IMAGE),
    "concat_last": ([node("Concat", "x x", "y", axis=-1)], {}, IMAGE),
    "expand": with_constants("Expand", {"shape": (1, 4, 1)}, s=i64(2, 1, 3)),
    "add_repeated": ([node("GlobalAveragePool", "x", "m"), node("Sub", "x m", "y")], {}, IMAGE),
    "mul_repeated": with_constants("Mul", {"shape": (1, 4, 1)}, c=weight(1, 1, 3)),
    "div_repeated": with_constants("Div", {"shape": (1, 4, 1)}, c=weight(3)),
    "reduce_mean": ([node("ReduceMean", "x", "y", axes=[2, -1])], {}, {**IMAGE, **OPSET}),
    "reduce_mean_flat": ([node("ReduceMean", "x", "y", axes=[1], keepdims=0)], {}, {**IMAGE, **OPSET}),
    "reduce_mean_input": (
        [node("ReduceMean", "x a", "y")],
        {"a": i64(3)},
        {**IMAGE, "opset": 18},
    ),
    "reduce_sum": with_constants("ReduceSum", a=i64(1, 2), attributes={"keepdims": 0}),
    "reduce_sum_all": ([node("ReduceSum", "x", "y")], {}, IMAGE),
    "reduce_sum_nothing": ([node("ReduceSum", "x", "y", noop_with_empty_axes=1)], {}, IMAGE),
    "flatten_last": (
        [node("Conv", "x w", "h"), node("Transpose", "h", "t", perm=[0, 2, 3, 1]), node("Flatten", "t", "f"),
         node("Gemm", "f v", "y")],
        {"w": weight(3, 4, 3, 3), "v": weight(60, 5)},
        IMAGE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_operator_equals_the_reference(case: str, tmp_path: Path) -> None:
    nodes, constants, options = CASES[case]
    proto = model(nodes, constants, **options)
    network = load_onnx(save(proto, tmp_path))
    for _ in range(3):
        x = RNG.normal(size=options["shape"])
        expected = reference(proto, x)
        assert network(x.reshape(1, -1))[0] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_pads_that_crop(tmp_path: Path) -> None:
    nodes, constants, options = with_constants("Pad", p=i64(0, 0, -1, 2, 0, 0, -2, 0), v=np.array(2.0))
    network = load_onnx(save(model(nodes, constants, **options), tmp_path))
    x = RNG.normal(size=IMAGE["shape"])
    expected = np.pad(x[:, :, 1:-2], ((0, 0), (0, 0), (0, 0), (2, 0)), constant_values=2.0)
    assert network(x)[0] == pytest.approx(expected.reshape(-1))


def test_groups_of_transposed_convolutions_are_independent(tmp_path: Path) -> None:
    """ONNX's reference fails on groups."""
    nodes, constants, options = deconv(weight(4, 3, 3, 2), group=2, strides=[2, 1], pads=[1, 0, 0, 1])
    x = RNG.normal(size=IMAGE["shape"])
    expected = []
    for half in (slice(0, 2), slice(2, 4)):
        alone = [node("ConvTranspose", "x w", "y", strides=[2, 1], pads=[1, 0, 0, 1])]
        proto = model(alone, {"w": constants["w"][half]}, shape=(1, 2, 7, 6))
        expected.append(reference(proto, x[:, half]).reshape(3, -1))
    network = load_onnx(save(model(nodes, constants, **options), tmp_path))
    found = network(x)[0].reshape(6, -1) - constants["b"][:, None]
    assert found == pytest.approx(np.concatenate(expected), rel=1e-12, abs=1e-12)


def kinds(network: Any) -> list[str]:
    return ["+".join(type(t.operator).__name__ for t in n.terms) for n in network.nodes if isinstance(n, LinearNode)]


@pytest.mark.parametrize("case", ["batch_normalization", "pad_conv", "pad_conv_1d"])
def test_folded_into_the_convolution(case: str, tmp_path: Path) -> None:
    nodes, constants, options = CASES[case]
    assert kinds(load_onnx(save(model(nodes, constants, **options), tmp_path))) == ["Convolution"]


def test_scales_around_a_convolution_are_folded(tmp_path: Path) -> None:
    nodes = [
        node("Div", "x s", "a"), node("Sub", "a m", "b"), node("Conv", "b w", "c", group=2, pads=[1, 1, 1, 1]),
        node("Mul", "c k", "d"), node("ConvTranspose", "d v", "e"), node("Mul", "e l", "y"),
    ]  # fmt: skip
    constants = {
        "s": weight(4, 1, 1), "m": weight(4, 1, 1), "w": weight(6, 2, 3, 3), "k": weight(6, 1, 1),
        "v": weight(6, 4, 2, 2), "l": weight(4, 1, 1),
    }  # fmt: skip
    proto = model(nodes, constants, **IMAGE)
    network = load_onnx(save(proto, tmp_path))
    assert kinds(network) == ["Convolution", "Convolution"]
    x = RNG.normal(size=IMAGE["shape"])
    assert network(x)[0] == pytest.approx(reference(proto, x), rel=1e-12, abs=1e-12)


def test_a_permutation_is_folded_into_the_dense_layer(tmp_path: Path) -> None:
    nodes, constants, options = CASES["flatten_last"]
    assert kinds(load_onnx(save(model(nodes, constants, **options), tmp_path))) == ["Convolution", "Dense"]


def test_normalisation_per_channel_is_folded_into_the_convolution(tmp_path: Path) -> None:
    nodes, constants, options = CASES["conv_stride_pads"]
    network = load_onnx(save(model(nodes, constants, **options), tmp_path))
    mean, std = weight(4), 0.5 + weight(4) ** 2
    raw = apply_normalisation(network, mean, std)
    assert kinds(raw) == ["Convolution"]
    x = RNG.normal(size=(5, *IMAGE["shape"][1:]))
    expected = network((x - mean[:, None, None]) / std[:, None, None])
    assert raw(x) == pytest.approx(expected, rel=1e-11, abs=1e-11)


REFUSED = {
    "conv_channels": (conv(weight(3, 3, 3, 3)), r"weights of shape \(3, 3, 3, 3\) in 1 groups do not fit values"),
    "conv_rank": (conv(weight(3, 4, 3)), r"weights of shape \(3, 4, 3\) do not fit values of shape \(1, 4, 7, 6\)"),
    "conv_kernel": (conv(weight(3, 4, 3, 3), kernel_shape=[2, 2]), r"kernel_shape = \[2, 2\], but the weights"),
    "conv_too_large": (conv(weight(3, 4, 8, 3)), "reaches over 8 values does not fit an image of 7"),
    "conv_3d": (conv(weight(3, 4, 3, 3, 3), {"shape": (1, 4, 5, 5, 5)}), "one- and two-dimensional images"),
    "conv_strides": (conv(weight(3, 4, 3, 3), strides=[0, 1]), r"strides = \[0, 1\] makes no sense"),
    "conv_pads": (conv(weight(3, 4, 3, 3), pads=[1, 1]), r"pads = \[1, 1\] make no sense"),
    "conv_auto_pad": (conv(weight(3, 4, 3, 3), auto_pad="SAME"), "auto_pad = 'SAME' is unknown"),
    "conv_huge_pads": (conv(weight(3, 4, 3, 3), pads=[10**6] * 4), "has more than 4194304 values"),
    "conv_by_signal": (([node("Conv", "x x", "y")], {}, IMAGE), "input 1 must be a constant, but depends on"),
    "deconv_channels": (deconv(weight(3, 4, 3, 3)), "do not fit values of shape"),
    "several_images": (conv(weight(3, 4, 3, 3), {"shape": (2, 4, 7, 6)}), "export the model for a batch of one"),
    "pool_of_pads": (pool("MaxPool", kernel_shape=[1, 1], pads=[1, 1, 1, 1]), "lies in the pads only"),
    "training": (
        ([node("BatchNormalization", "x s s s s", "y", training_mode=1)], {"s": np.ones(4)}, {**IMAGE, "opset": 15}),
        "is in training mode; export",
    ),
    "variance": (
        ([node("BatchNormalization", "x s s s v", "y")], {"s": np.ones(4), "v": -np.ones(4)}, {**IMAGE, "opset": 15}),
        "a variance that is not positive",
    ),
    "gather_outside": (with_constants("Gather", i=i64(4), attributes={"axis": 1}), "entries that axis 1"),
    "concat_unfit": (
        ([node("Concat", "x c", "y", axis=1)], {"c": weight(1, 4, 7, 5)}, IMAGE), "cannot be joined along axis 1",
    ),
    "pad_mode": (
        with_constants("Pad", p=i64(*(0,) * 8), attributes={"mode": "mirror"}), "mode 'mirror' is not supported",
    ),
    "pad_count": (with_constants("Pad", p=i64(1, 1)), "got 2 pads for 4 axes"),
    "pad_huge": (with_constants("Pad", p=i64(*(10**9,) * 8)), "has more than 4194304 values"),
    "expand_huge": (with_constants("Expand", s=i64(10**9, 1, 1, 1)), "has more than 4194304 values"),
    "slice_empty": (with_constants("Slice", s=i64(3), e=i64(3), a=i64(2)), "holds no values"),
    "slice_step": (with_constants("Slice", s=i64(3), e=i64(3), a=i64(2), t=i64(0)), "do not fit together"),
    "axis": (pool("Concat", axis=7), "axis 7 does not exist among 4 axes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_reason(case: str, tmp_path: Path) -> None:
    (nodes, constants, options), message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        load_onnx(save(model(nodes, constants, **options), tmp_path))


REAL = ["cifar_base_kw", "resnet_2b", "cifar10_small", "Convnet_avgpool", "Convnet_maxpool"]


@pytest.mark.parametrize("name", REAL)
def test_real_networks_equal_the_reference(name: str) -> None:
    path = SHARED / "data" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the shared models are not here")
    network, proto = load_onnx(path), onnx.load(path)
    x = RNG.uniform(size=(1, *network.input_shape)).astype(np.float32)
    expected = reference(proto, x)
    assert network(x)[0] == pytest.approx(expected, rel=1e-5, abs=1e-5 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    ("name", "mean", "std", "correct"),
    [
        ("cifar_base_kw", (0.485, 0.456, 0.406), 0.225, 73),
        ("resnet_2b", (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616), 77),
        ("cifar10_small", 0.0, 1.0, 61),
    ],
)
def test_real_networks_classify_the_real_images(name: str, mean: Any, std: Any, correct: int) -> None:
    path = SHARED / "data" / f"{name}.onnx"
    if not path.exists():
        pytest.skip("the shared models are not here")
    network = apply_normalisation(load_onnx(path), mean, std)
    table = np.loadtxt(SHARED / "data" / "cifar10_test.csv", delimiter=",")
    images = table[:, 1:].reshape(-1, 32, 32, 3) / 255
    if network.input_shape[0] == 3:
        images = images.transpose(0, 3, 1, 2)
    assert int((network(images).argmax(axis=1) == table[:, 0]).sum()) == correct
