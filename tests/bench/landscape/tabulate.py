"""Landscape radii, and Lipschitz constants from tiny balls to the whole space, of small trained networks.

The setting of RecurJac's experiments (Zhang, Zhang, Hsieh, AAAI 2019, section 5): five layers, leaky ReLU of 20 or tanh of 50 units
each, here trained on the 8x8 digits of the demo. Prints the tables of README.md next to this file::

    python tests/bench/landscape/tabulate.py      # needs scikit-learn; about a minute
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

import distverify as dv
from distverify.demo.train import split

Floats = NDArray[np.float64]

SLOPE = 0.3
LAYERS = 5
NETWORKS = {"leaky 5 x 20": ("leaky_relu", 20), "tanh 5 x 50": ("tanh", 50)}
EPS = np.logspace(-3, 3, 7)
SAMPLES = 10
EPOCHS, BATCH, RATE, SEED = 60, 64, 2e-3, 0


def train(x: Floats, labels: NDArray[np.int64], kind: str, width: int) -> list[tuple[Floats, Floats]]:
    """The layers (W, b) of a classifier, trained by Adam on the cross entropy."""
    rng = np.random.default_rng(SEED)
    sizes = [x.shape[1], *[width] * (LAYERS - 1), 10]
    parameters = [a for n, m in pairwise(sizes) for a in (rng.standard_normal((m, n)) / math.sqrt(n), np.zeros(m))]
    first, second = [np.zeros_like(p) for p in parameters], [np.zeros_like(p) for p in parameters]
    step = 0
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(len(x)), len(x) // BATCH):
            step += 1
            for k, gradient in enumerate(gradients(parameters, x[rows], labels[rows], kind)):
                first[k] += 0.1 * (gradient - first[k])
                second[k] += 0.001 * (gradient**2 - second[k])
                scale = math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                parameters[k] -= RATE * scale * first[k] / (np.sqrt(second[k]) + 1e-8)
    return list(zip(parameters[::2], parameters[1::2], strict=True))


def gradients(parameters: list[Floats], x: Floats, labels: NDArray[np.int64], kind: str) -> list[Floats]:
    """Of the mean cross entropy, in the order of ``parameters``."""
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    values, slopes = [x], []
    for weight, bias in layers[:-1]:
        z = values[-1] @ weight.T + bias
        values.append(np.tanh(z) if kind == "tanh" else np.where(z > 0, z, SLOPE * z))
        slopes.append(1 - values[-1] ** 2 if kind == "tanh" else np.where(z > 0, 1.0, SLOPE))
    logits = values[-1] @ layers[-1][0].T + layers[-1][1]
    back = np.exp(logits - logits.max(axis=1, keepdims=True))
    back /= back.sum(axis=1, keepdims=True)
    back[np.arange(len(x)), labels] -= 1.0
    back /= len(x)
    found: list[Floats] = []
    for k in range(len(layers) - 1, -1, -1):
        found[:0] = [back.T @ values[k], back.sum(axis=0)]
        if k:
            back = (back @ layers[k][0]) * slopes[k - 1]
    return found


def main() -> None:
    """Train both networks and print the tables."""
    train_x, train_y, test_x, test_y = split()
    landscape = [
        "| network | accuracy | " + " | ".join(f"{q:.0%} quantile" for q in (0.1, 0.5, 0.9)) + " |",
        "|---" * 5 + "|",
    ]
    columns = [f"eps {e:g}" for e in EPS] + ["global", "product of norms"]
    curves = ["| network | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, (kind, width) in NETWORKS.items():
        layers = train(train_x.astype(np.float64), train_y, kind, width)
        network = dv.Network.from_layers(layers, kind, slope=SLOPE if kind == "leaky_relu" else None)
        right = np.flatnonzero(network(test_x).argmax(axis=1) == test_y)
        chosen = test_x[right[:SAMPLES]].astype(np.float64)
        labels = test_y[right[:SAMPLES]]
        radii = [dv.stationary_free_radius(network, x, rows=[y])[0] for x, y in zip(chosen, labels, strict=True)]
        quantiles = " | ".join(f"{q:.4f}" for q in np.quantile(radii, (0.1, 0.5, 0.9)))
        landscape.append(f"| {name} | {len(right) / len(test_y):.1%} | {quantiles} |")
        local = [np.median([dv.lipschitz_constant(network, dv.Ball(x, e)).vector for x in chosen]) for e in EPS]
        product = math.prod(float(np.abs(w).sum(axis=1).max()) for w, _ in layers)
        figures = [*local, dv.lipschitz_constant(network).vector, product]
        curves.append(f"| {name} | " + " | ".join(f"{v:.4g}" for v in figures) + " |")
    print(*landscape, "", *curves, sep="\n")


if __name__ == "__main__":
    main()
