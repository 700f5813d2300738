"""The digest's formula stays: runs are continued, and results recognised, by digests that earlier versions made."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from distverify.network.graph import Network
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import LinearNode
from distverify.network.onnx.importer import load_onnx
from tests.network.onnx_models import SHARED, model, node, save

DEMO = "30a37c109abe95f2d4af7f09d37774bb422750f4814d0131086a5448a59b72f6"
SHARED_MODELS = {
    "Convnet_avgpool.onnx": "d12e12a9d55499d452e9cfba4b765aaffc548ee50fc2d7df8c3070edc2ee39c4",
    "Convnet_maxpool.onnx": "0519d4a94eebe7a50f1935c82ebb3636f7e813670c4a6258beeef45f3f550ee1",
    "acasxu_1_1.onnx": "99d7a8a372d1b6e5260453159f70859bc2fcfd790f914afbbe48d3abd4279109",
    "cifar10_small.onnx": "8de2496245cc1b346dd7aa65e2096b8944cb9c582a174b019fef4f18de9199d6",
    "cifar_base_kw.onnx": "66c7916e88d735ddb8cd69a062ca38b9709ff2357e18733658e2b02175b8bd0b",
    "mnist-net_256x2.onnx": "59eb7459e184307d476c2b4ca9500b30707bd66a8de9b7feee44b338c089802a",
    "mnist-net_256x4.onnx": "195b8c18aea51daddb3e2429d55bc92c08073ab271a594122665a8fae54cd79b",
    "resnet_2b.onnx": "dd8e09e35f85aecae04f7dfc2c8c5c6da10989a569e46ff524a4394f0b19c6e8",
}
LAYERS = {
    "tanh": "b95841aa4a7b0f21856e4ebf0a920bb57e820908ed14fba3cd8be9c75bc59d8c",
    "leaky_relu": "0f98cd83bf68d4084ece9743ca2ef83234d582a71a787f759764660734ae1f12",
}


def test_of_the_demo() -> None:
    assert load_onnx(str(files("distverify.demo") / "digits.onnx")).digest == DEMO


@pytest.mark.skipif(not SHARED.exists(), reason="the shared models are not here")
@pytest.mark.parametrize("name", SHARED_MODELS)
def test_of_real_networks(name: str) -> None:
    assert load_onnx(SHARED / "data" / name).digest == SHARED_MODELS[name]


def test_of_plain_layers() -> None:
    layers = [(np.arange(15.0).reshape(5, 3) / 8, np.arange(5.0)), (np.ones((2, 5)), np.array([-0.0, 0.5]))]
    assert Network.from_layers(layers, "tanh").digest == LAYERS["tanh"]
    assert Network.from_layers(layers, "leaky_relu", slope=0.1).digest == LAYERS["leaky_relu"]


def every_operator(folder: Path) -> Network:
    """A network with each kind of operator, activations with parameters, and a skip."""
    constants = {
        "w": np.arange(18.0).reshape(2, 1, 3, 3) / 16, "s": np.array([0.5, 2.0]).reshape(2, 1, 1), "half": np.array([0.5]),
        "which": np.array([0, 3, 1]), "d": np.arange(8.0).reshape(4, 2),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Mul", "r s", "m"), node("LeakyRelu", "m", "l", alpha=0.25),
        node("AveragePool", "l", "p", kernel_shape=[2, 2]), node("Add", "p r2", "a"), node("Tanh", "a", "t"),
        node("Flatten", "t", "f"), node("Gather", "f which", "g", axis=1), node("Sigmoid", "g", "i"),
        node("Slice", "f from to", "f2"), node("Relu", "f2", "z2"), node("Tanh", "z2", "z"), node("Concat", "i z half2", "j", axis=1),
        node("MatMul", "j d", "y"),
    ]  # fmt: skip
    nodes.insert(5, node("MaxPool", "l", "r2", kernel_shape=[2, 2]))
    constants |= {"from": np.array([0, 1]), "to": np.array([1, 2]), "half2": np.zeros((1, 0))}
    return load_onnx(save(model(nodes, constants, shape=(1, 1, 5, 5), output_shape=(1, 2)), folder))


def test_of_every_operator(tmp_path: Path) -> None:
    network = every_operator(tmp_path)
    kinds = {t.operator.kind for n in network.nodes if isinstance(n, LinearNode) for t in n.terms}
    assert kinds == {"dense", "diagonal", "identity", "convolution", "sparse"}
    assert {cls.kind for cls in LinearOperator.__subclasses__()} == kinds
    assert network.digest == "b249cb622002b1ad544cba3116a2deefd341bc00339115f2076351132e747355"
