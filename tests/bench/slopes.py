"""What optimised slopes cost and gain: layer bounds by `crown` and `alpha`, image by image, `python -m tests.bench.slopes`.

Processor time, medians of interleaved runs; t_mm is a matrix product between them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import bound_rows
from distverify.network.graph import Network
from distverify.network.normalisation import apply_normalisation
from distverify.network.onnx.importer import load_onnx
from distverify.region import Ball
from tests.bench.cases import CIFAR_NORMALISATION, DATA

CASES = [
    ("mnist-net_256x2", 0, 0.005), ("mnist-net_256x2", 0, 0.01), ("mnist-net_256x2", 2, 0.01), ("mnist-net_256x2", 0, 0.03),
    ("mnist-net_256x4", 0, 0.005), ("mnist-net_256x4", 0, 0.01), ("mnist-net_256x4", 0, 0.03), ("mnist-net_256x4", 1, 0.03),
    ("cifar_base_kw", 0, 0.002), ("cifar_base_kw", 0, 2 / 255), ("resnet_2b", 0, 0.002), ("resnet_2b", 0, 1 / 255),
    ("Convnet_avgpool", 0, 0.004),
]  # fmt: skip


def loaded(name: str, index: int) -> tuple[Network, np.ndarray]:
    """A network, and the image of that index of its test set."""
    if name in CIFAR_NORMALISATION:
        row = np.loadtxt(DATA / "cifar10_test.csv", delimiter=",", skiprows=index, max_rows=1)
        image = row[1:].reshape(32, 32, 3).transpose(2, 0, 1).reshape(-1) / 255.0
        return apply_normalisation(load_onnx(DATA / f"{name}.onnx"), *CIFAR_NORMALISATION[name]), image
    row = np.loadtxt(DATA / "mnist_test.csv", delimiter=",", skiprows=index, max_rows=1)
    return (load_onnx(DATA / f"{name}.onnx"), row[1:] / 255.0)


def seconds(call: Callable[..., object], *arguments: object) -> float:
    """Processor time of one call."""
    begun = time.process_time()
    call(*arguments)
    return time.process_time() - begun


def open_neurons(enclosure: Enclosure) -> str:
    """Of every activation node."""
    return ", ".join(str(int((glo != ghi).sum())) for glo, ghi in enclosure.slopes.values())


def main(wanted: str = "", repeats: int = 5) -> None:
    """Print the table; ``wanted`` is a part of the names of networks."""
    square = np.random.default_rng(0).standard_normal((1024, 1024))
    print("| case | crown, t_mm | alpha, t_mm | ratio | open | mean width | largest row |")
    print("|---|---|---|---|---|---|---|")
    for name, index, eps in CASES:
        if wanted not in name:
            continue
        network, x = loaded(name, index)
        region, rows = Ball(x, eps), np.eye(network.output_size)
        spent: dict[str, list[float]] = {"crown": [], "alpha": [], "product": []}
        for _ in range(repeats):
            spent["product"].append(seconds(np.matmul, square, square))
            for layers in ("crown", "alpha"):
                spent[layers].append(seconds(enclose, network, region, layers))
        product, crown, alpha = (float(np.median(spent[k])) for k in ("product", "crown", "alpha"))
        found = {layers: enclose(network, region, layers) for layers in ("crown", "alpha")}
        bounds = {k: bound_rows(e, rows, "linear") for k, e in found.items()}
        width = " -> ".join(f"{float((b.upper - b.lower).mean()):.5g}" for b in bounds.values())
        largest = " -> ".join(f"{float(row_constants(b, np.inf).max()):.5g}" for b in bounds.values())
        counts = " -> ".join(open_neurons(e) for e in found.values())
        print(
            f"| {name}, image {index}, eps {eps:.4g} | {crown / product:.3g} | {alpha / product:.3g} | {alpha / crown:.2f} "
            f"| {counts} | {width} | {largest} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
