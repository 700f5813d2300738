"""What is measured: real networks where ../shared is there, and networks of random weights with given shares of unstable neurons."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distverify.analysis.in_pieces import analyse_in_pieces
from distverify.analysis.radius import certified_radius
from distverify.analysis.sample import analyse_sample
from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import bound_rows
from distverify.bounds.reduced import Group, Reduced
from distverify.bounds.reduction import Reduction
from distverify.kernels.convolution import Geometry
from distverify.kernels.rounding import SOUND, Rounding
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.sparse import averages
from distverify.network.nodes import ActivationNode, LinearNode
from distverify.network.normalisation import apply_normalisation
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.crews import CrewHere

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@dataclass(frozen=True)
class Case:
    """One row of the table: ``parts`` are timed one by one, ``figures`` says what came out."""

    name: str
    parts: dict[str, Callable[[], object]]
    figures: Callable[[], str]


def digits(name: str) -> tuple[Network, np.ndarray]:
    """A network of 784 inputs and the first image of the test set."""
    row = np.loadtxt(DATA / "mnist_test.csv", delimiter=",", max_rows=1)
    return load_onnx(DATA / f"{name}.onnx"), row[1:] / 255.0


CIFAR_NORMALISATION: dict[str, tuple[Sequence[float], float | Sequence[float]]] = {
    "cifar_base_kw": ((0.485, 0.456, 0.406), 0.225),
    "resnet_2b": ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
}


def colours(name: str) -> tuple[Network, np.ndarray]:
    """A network of 3 x 32 x 32 inputs in [0, 1] and the first image of the test set."""
    row = np.loadtxt(DATA / "cifar10_test.csv", delimiter=",", max_rows=1)
    image = row[1:].reshape(32, 32, 3).transpose(2, 0, 1).reshape(-1) / 255.0
    return apply_normalisation(load_onnx(DATA / f"{name}.onnx"), *CIFAR_NORMALISATION[name]), image


def ball_case(title: str, network: Network, x: np.ndarray, eps: float, method: str = "linear") -> Case:
    """Layer bounds, Jacobian of all outputs and Lipschitz constants over one ball."""
    region, rows = Ball(x, eps), np.eye(network.output_size)
    enclosure = enclose(network, region)
    bounds = bound_rows(enclosure, rows, method)
    parts = {
        "layers": lambda: enclose(network, region),
        "jacobian": lambda: bound_rows(enclosure, rows, method),
        "lipschitz": lambda: row_constants(bounds, np.inf),
    }
    mean, largest = float((bounds.upper - bounds.lower).mean()), float(row_constants(bounds, np.inf).max())
    return Case(f"{title}, eps {eps:g}, `{method}`", parts, lambda: f"mean width {mean:.5g}, Lipschitz {largest:.5g}")


def radius_case(title: str, network: Network, x: np.ndarray) -> Case:
    """The certified radius of one image, both ways."""
    found = certified_radius(network, x)
    return Case(
        f"{title}, certified radius",
        {"radius": lambda: certified_radius(network, x)},
        lambda: f"CROWN {found.crown:.5f}, Jacobian {found.jacobian:.5f}",
    )


def random_network(widths: list[int], seed: int = 0) -> Network:
    """A ReLU network with weights of variance 2 / inputs."""
    rng = np.random.default_rng(seed)
    return Network.from_layers(
        [
            (rng.standard_normal((o, i)) * np.sqrt(2 / i), 0.1 * rng.standard_normal(o))
            for i, o in itertools.pairwise(widths)
        ]
    )


def convolution(image: int, side: int, outputs: int, kernel: int, stride: int, rng: np.random.Generator) -> Convolution:
    """A square convolution with padding 1 and weights of variance 2 / inputs; ``image`` channels of ``side`` x ``side``."""
    out = (side + 2 - kernel) // stride + 1
    geometry = Geometry(1, image, side, side, outputs, out, out, kernel, kernel, stride, stride, 1, 1, 1, 1)
    scale = np.sqrt(2 / (image * kernel * kernel))
    return Convolution(rng.standard_normal((outputs, image, kernel, kernel)) * scale, geometry)


def convolutions_and_dense(seed: int = 0) -> tuple[Network, np.ndarray]:
    """Four convolutions and three dense layers on 3 x 32 x 32, and a point."""
    rng, node, channels, side = np.random.default_rng(seed), 0, 3, 32
    builder = NetworkBuilder((channels * side * side,))
    for i, (outputs, kernel, stride) in enumerate([(32, 3, 1), (32, 4, 2), (64, 3, 1), (64, 4, 2)]):
        operator = convolution(channels, side, outputs, kernel, stride, rng)
        node = builder.activation(f"relu{i}", builder.linear(f"conv{i}", [(node, operator)]), "relu")
        channels, side = outputs, operator.geometry.out_height
    size = channels * side * side
    for i, width in enumerate([512, 512, 10]):
        node = builder.linear(f"dense{i}", [(node, Dense(rng.standard_normal((width, size)) * np.sqrt(2 / size)))])
        node, size = (builder.activation(f"on{i}", node, "relu"), width) if width == 512 else (node, width)
    return builder.build(node), rng.random(3 * 32 * 32)


def pooled(side: int, seed: int = 0) -> tuple[Network, np.ndarray]:
    """A convolution to 16 channels, their means, and a dense layer, on 3 x side x side, and a point."""
    rng, builder = np.random.default_rng(seed), NetworkBuilder((3 * side * side,))
    operator = convolution(3, side, 16, 3, 1, rng)
    node = builder.activation("relu", builder.linear("conv", [(0, operator)]), "relu")
    means = averages(np.arange(operator.out_size).reshape(16, -1), operator.out_size, side * side)
    node = builder.linear("mean", [(node, means)])
    node = builder.linear("out", [(node, Dense(rng.standard_normal((10, 16)) * np.sqrt(2 / 16)))])
    return builder.build(node), rng.random(3 * side * side)


def with_unstable(network: Network, x: np.ndarray, share: float, rounding: Rounding = SOUND) -> Enclosure:
    """The enclosure of a point at which the given share of the neurons of each layer is taken to be unstable."""
    rng = np.random.default_rng(1)
    values = network.values(x)
    zero = np.zeros(network.input_size)
    reduced = Reduced(Ball(x, 0.0), rounding, zero, zero, [Group(0, None, (zero, zero), None, zero, zero)])
    enclosure = Enclosure(network, Ball(x, 0.0), rounding, reduced)
    reduction = Reduction(reduced)
    for index, node in enumerate(network.nodes):
        if index == 0:
            continue
        if isinstance(node, LinearNode):
            reduction.linear(index, node)
        if not isinstance(node, ActivationNode):
            continue
        on = (values[node.source][0] > 0).astype(np.float64)
        lower, upper = on.copy(), on.copy()
        unstable = rng.permutation(node.size)[: round(share * node.size)]
        lower[unstable], upper[unstable] = 0.0, 1.0
        nothing = np.zeros(node.size)
        enclosure.slopes[index] = lower, upper
        reduction.activation(index, node, (lower, upper), (on, nothing, on, nothing), (nothing, nothing), nothing)
    reduction.finish(network.output)
    return enclosure


def random_case(network: Network, share: float) -> Case:
    """The Jacobian of ten rows with fixed slopes: shared products and recursion."""
    x, rows = np.random.default_rng(2).random(network.input_size), np.eye(network.output_size)
    enclosure = with_unstable(network, x, share)
    bounds = bound_rows(enclosure, rows, "linear")
    width = float((bounds.upper - bounds.lower).mean())
    parts = {
        "shared": lambda: with_unstable(network, x, share),
        "jacobian": lambda: bound_rows(enclosure, rows, "linear"),
    }
    return Case(f"random 784-1024x6-10, {share:.0%} unstable, `linear`", parts, lambda: f"mean width {width:.5g}")


def pieces_case(network: Network, eps: float, pieces: int) -> Case:
    """Lipschitz constants around one sample, as a whole and in pieces that one worker computes one after the other."""
    x, settings = np.random.default_rng(2).random(network.input_size), Settings(eps=(eps,), compute=("lipschitz",))
    crew = CrewHere(network)

    def whole() -> object:
        return analyse_sample(network, Sample(x), settings)["lipschitz"]

    def parts() -> object:
        return analyse_in_pieces(network, Sample(x), settings, pieces, crew)["lipschitz"]

    off = np.max(np.abs(np.divide(np.asarray(parts()), np.asarray(whole())) - 1.0))
    widths = "-".join(str(n.size) for n in network.nodes if not isinstance(n, ActivationNode))
    return Case(
        f"random {widths}, eps {eps:g}, whole and in {pieces} pieces", {"whole": whole, "pieces": parts},
        lambda: f"apart by {off:.1g}",
    )  # fmt: skip


def all_cases(quick: bool = False) -> Iterator[Case]:
    """Every case that can run here; ``quick`` leaves out the larger ones."""
    if DATA.is_dir():
        for name in ("mnist-net_256x2",) if quick else ("mnist-net_256x2", "mnist-net_256x4"):
            network, x = digits(name)
            for eps in (0.005,) if quick else (0.005, 0.01, 0.03):
                yield ball_case(name, network, x, eps)
            if not quick:
                yield ball_case(name, network, x, 0.005, "recurjac")
            yield radius_case(name, network, x)
        acas = load_onnx(DATA / "acasxu_1_1.onnx")
        yield ball_case("acasxu_1_1", acas, np.zeros(acas.input_size), 0.01)
        for name in () if quick else CIFAR_NORMALISATION:
            yield ball_case(name, *colours(name), 0.002)
        if not quick:
            yield ball_case("Convnet_avgpool", *digits("Convnet_avgpool"), 0.004)
            yield ball_case("Convnet_maxpool", *digits("Convnet_maxpool"), 0.002)
    if not quick:
        yield ball_case("random conv 3-32-32-64-64, dense 512-512-10", *convolutions_and_dense(), 0.0005)
        yield ball_case("random 3x64x64, conv 16, mean, dense 10", *pooled(64), 0.002)
    yield pieces_case(random_network([784, 64, 64, 128] if quick else [784, 256, 256, 768]), 0.01, 4)
    network = random_network([784, 64, 64, 64, 10] if quick else [784, *[1024] * 6, 10])
    for share in (0.1,) if quick else (0.02, 0.1, 0.3):
        yield random_case(network, share)
