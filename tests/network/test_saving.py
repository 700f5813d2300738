"""Networks that are saved come back: to the bit from ``.npz``, with the same values from ``.onnx``, also by another evaluator."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import distverify as dv
from distverify.demo import MODEL
from distverify.kernels.activations import ACTIVATIONS
from distverify.kernels.convolution import Geometry
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.sparse import averages, selection
from distverify.network.normalisation import apply_normalisation
from tests.networks import random_parameters

# Padded, strided, dilated, in groups; and turned round.
STRAIGHT = Geometry(2, 2, 6, 5, 4, 3, 4, 3, 2, 2, 1, 1, 1, 1, 0)
TURNED = Geometry(1, 3, 6, 5, 4, 3, 2, 3, 2, 2, 2, 1, 2, 1, 0)


def of_every_kind(kind: str, *, plain: bool = False) -> Network:
    """Dense, diagonal, selected and summed values, residual, with one activation; ``plain``: parameters that ONNX has."""
    rng = np.random.default_rng(3)
    builder = NetworkBuilder((2, 3))
    parameters = {} if plain else random_parameters(kind, 6, rng)
    first = builder.linear("first", [(0, Dense(rng.standard_normal((6, 6))))], rng.uniform(1.0, 2.0, 6))
    node = builder.activation("act", first, kind, parameters)
    terms = [
        (node, Diagonal(rng.standard_normal(6))),
        builder.skip(0),
        (node, selection(np.array([5, 0, 3, 1, 2, 4]), 6)),
    ]
    summed = builder.linear("sum", terms)
    return builder.build(
        builder.linear("last", [(summed, selection(np.array([[0, 1], [2, -1], [3, 4]]), 6))], np.ones(3))
    )


def of_images() -> Network:
    rng = np.random.default_rng(4)
    builder = NetworkBuilder(STRAIGHT.image)
    weight = rng.standard_normal((4, 1, 3, 2)).astype(np.float32)
    first = builder.linear("conv", [(0, Convolution(weight, STRAIGHT))], rng.standard_normal(4 * 12).astype(np.float32))
    node = builder.activation("relu", first, "relu")
    picked = builder.linear("pick", [(node, selection(np.arange(24), 48))])
    turned = rng.standard_normal((4, 3, 3, 2)).astype(np.float32)
    return builder.build(builder.linear("turned", [(picked, Convolution(turned, TURNED, transposed=True))]))


def evaluated(path: Path, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    single = proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    (values,) = ReferenceEvaluator(proto).run(None, {"input": x.astype(np.float32 if single else np.float64)})
    return np.asarray(values)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_an_archive_keeps_every_bit(kind: str, tmp_path: Path) -> None:
    network = of_every_kind(kind).in_precision("float32")
    network.save(tmp_path / "net.npz")
    again = dv.load_network(tmp_path / "net.npz")
    assert (again.digest, again.precision, again.input_shape) == (network.digest, "float32", (2, 3))


def test_an_archive_keeps_what_was_folded(tmp_path: Path) -> None:
    network = apply_normalisation(dv.load_network(MODEL), 0.1, 0.3)
    network.save(tmp_path / "net.npz")
    again = dv.load_network(tmp_path / "net.npz")
    assert again.digest == network.digest
    assert again.remarks == network.remarks
    assert again.unfolded is not None
    assert network.unfolded is not None
    assert again.unfolded.places == network.unfolded.places
    for network in (of_images(), Network.from_layers([(averages(np.arange(6)[None], 6, 3).rows(), np.zeros(1))])):
        network.save(tmp_path / "net.npz")
        assert dv.load_network(tmp_path / "net.npz").digest == network.digest


ONNX_HAS_NONE = ("gelu_cubic", "reciprocal", "power", "heaviside")


@pytest.mark.parametrize("kind", [k for k in ACTIVATIONS if k not in ONNX_HAS_NONE])
def test_an_onnx_file_has_the_same_values(kind: str, tmp_path: Path) -> None:
    network = of_every_kind(kind, plain=kind not in ("leaky_relu", "prelu"))
    if kind in ("hard_sigmoid", "leaky_relu"):  # whose defaults are no single precision numbers
        network = of_every_kind("relu" if kind == "hard_sigmoid" else kind)
    x = np.random.default_rng(0).uniform(0.0, 0.3, (4, 2, 3))
    if kind in ("log", "positive_power"):
        x = 0.0 * x  # the first layer's biases are positive
    path = tmp_path / "net.onnx"
    network.save(path)
    np.testing.assert_allclose(evaluated(path, x), network(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dv.load_network(path)(x), network(x), rtol=1e-12, atol=1e-12)


def test_images_are_written_as_convolutions(tmp_path: Path) -> None:
    network, path = of_images(), tmp_path / "net.onnx"
    network.save(path)
    x = np.random.default_rng(0).uniform(size=(3, *STRAIGHT.image)).astype(np.float32)
    assert {"Conv", "ConvTranspose"} <= {n.op_type for n in onnx.load(path).graph.node}
    np.testing.assert_allclose(evaluated(path, x), network(x), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dv.load_network(path)(x), network(x), rtol=1e-12, atol=1e-12)


def test_a_file_that_was_read_is_written_with_its_own_numbers(tmp_path: Path) -> None:
    network, path = dv.load_network(MODEL), tmp_path / "net.onnx"
    network.save(path)
    assert onnx.load(path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    x = np.random.default_rng(0).uniform(size=(3, network.input_size))
    np.testing.assert_array_equal(dv.load_network(path)(x), network(x))


PLAIN = Network.from_layers([(np.eye(2), np.zeros(2))])
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "another suffix": (lambda f: PLAIN.save(f / "a.h5"), r"path: got '.*a\.h5'; name a file that ends in \.npz"),
    "no path": (lambda f: PLAIN.save(3), "path: got int; give the path of a file"),  # type: ignore[arg-type]
    "no folder": (lambda f: PLAIN.save(f / "b" / "a.npz"), "cannot be written .*; check folder"),
    "no operator": (
        lambda f: of_every_kind("heaviside").save(f / "a.onnx"),
        "act: cannot be written .* save the network as .npz",
    ),
    "a parameter for each neuron": (
        lambda f: of_every_kind("clip").save(f / "a.onnx"),
        "lo differs between its neurons",
    ),
    "no single precision": (
        lambda f: of_every_kind("hard_sigmoid", plain=True).save(f / "a.onnx"),
        "has no single precision",
    ),
    "an archive of data": (
        lambda f: (np.savez(f / "x.npz", x=np.zeros(3)), dv.load_network(f / "x.npz")),
        "x.npz: holds no network; give a file of Network.save",
    ),
    "no archive": (lambda f: ((f / "x.npz").write_bytes(b"abc"), dv.load_network(f / "x.npz")), "the file is damaged"),
    "no file": (lambda f: dv.load_network(f / "none.npz"), "no such model file"),
    "a batch axis": (lambda f: dv.load_network(f / "none.npz", batch_axis=True), "batch_axis: is for ONNX files"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_told(case: str, tmp_path: Path) -> None:
    call, message = REFUSED[case]
    with pytest.raises(dv.DistverifyError, match=message):
        call(tmp_path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    of_images().save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    told = json.loads(arrays["network"].tobytes())
    changes: list[Callable[[dict[str, Any]], object]] = [
        lambda t: t.update(format="distverify network 9"),
        lambda t: t.update(output=99),
        lambda t: t.update(input_shape=[7]),
        lambda t: t["nodes"][1]["terms"][0].update(source=3),
        lambda t: t["nodes"][1]["terms"][0].update(arrays=[]),
        lambda t: t["nodes"][1]["terms"][0].update(operator="code"),
        lambda t: t["nodes"][1]["terms"][0]["sizes"].__setitem__(1, 10**6),
        lambda t: t["nodes"][1]["terms"][0]["sizes"].__setitem__(0, 0),
        lambda t: t["nodes"][2].update(activation="none"),
        lambda t: t["nodes"][2].update(parameters="a0"),
        lambda t: t["nodes"].pop(),
    ]
    for change in changes:
        damaged = json.loads(json.dumps(told))
        change(damaged)
        np.savez(path, **(arrays | {"network": np.frombuffer(json.dumps(damaged).encode(), np.uint8)}))
        with pytest.raises(dv.ModelError):
            dv.load_network(path)
