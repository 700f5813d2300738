"""Trains the demo's network and writes ``digits.onnx`` and ``digits.npz`` next to this file.

For developers only; the two files are shipped. Needs scikit-learn besides distverify's own packages::

    python -m distverify.demo.train [FOLDER]

Data: the 1,797 handwritten digits of 8x8 pixels and 17 grey levels (0-16) that come with scikit-learn, the
test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; UCI Machine Learning
Repository, 1998, https://doi.org/10.24432/C50P49, licence CC BY 4.0). Grey levels are divided by 16; nothing
else is changed.
"""

# mypy: disable-error-code="import-untyped,import-not-found"
# scikit-learn has no types, and only developers who train the network install it.

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SEED = 0
HIDDEN = (48, 32)
HELD_OUT = 200
# Noisy copies of every training image and their uniform noise: flatter functions have larger certified radii.
COPIES = 10
NOISE = 0.25
WEIGHT_DECAY = 1.0
EPOCHS = 40

Array = NDArray[np.float32]


def split() -> tuple[Array, NDArray[np.int64], Array, NDArray[np.int64]]:
    """Training and held-out images [N, 64] in [0, 1] with labels [N], stratified by digit."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.data / 16).astype(np.float32)
    train_x, test_x, train_y, test_y = train_test_split(
        images, digits.target.astype(np.int64), test_size=HELD_OUT, stratify=digits.target, random_state=SEED
    )
    return train_x, train_y, test_x, test_y


def fit(images: Array, labels: NDArray[np.int64]) -> Any:
    """A ReLU network trained on ``images`` [N, 64] and noisy copies of them; a fitted ``MLPClassifier``."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    rng = np.random.default_rng(SEED)
    noisy = [np.clip(images + rng.uniform(-NOISE, NOISE, images.shape), 0, 1) for _ in range(COPIES)]
    classifier = MLPClassifier(
        HIDDEN, alpha=WEIGHT_DECAY, max_iter=EPOCHS, tol=0.0, n_iter_no_change=EPOCHS, random_state=SEED
    )
    with warnings.catch_warnings():  # the number of epochs is fixed on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        return classifier.fit(np.concatenate([images, *noisy]), np.tile(labels, COPIES + 1))


def to_onnx(weights: list[NDArray[Any]], biases: list[NDArray[Any]], description: str) -> onnx.ModelProto:
    """The network as ONNX: Gemm and Relu in turns, float32, logits at the end; ``weights`` are [in, out]."""
    nodes, initialisers = [], []
    value = "image"
    for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        initialisers += [
            numpy_helper.from_array(np.ascontiguousarray(weight.T, dtype=np.float32), f"W{i}"),
            numpy_helper.from_array(bias.astype(np.float32), f"b{i}"),
        ]
        last = i == len(weights) - 1
        output = "logits" if last else f"z{i}"
        gemm = helper.make_node("Gemm", [value, f"W{i}", f"b{i}"], [output], name=f"dense{i}", transB=1)
        nodes.append(gemm)
        if not last:
            nodes.append(helper.make_node("Relu", [output], [f"a{i}"], name=f"relu{i}"))
        value = f"a{i}"
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", weights[0].shape[0]])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights[-1].shape[1]])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name = "distverify.demo.train"
    model.doc_string = description
    onnx.checker.check_model(model)
    return model


def main(folder: Path) -> None:
    """Train, report the held-out accuracy and write both files into ``folder``."""
    train_x, train_y, test_x, test_y = split()
    classifier = fit(train_x, train_y)
    accuracy = float((classifier.predict(test_x) == test_y).mean())
    shape = "-".join(str(n) for n in (train_x.shape[1], *HIDDEN, 10))
    description = (
        f"Handwritten digits, 8x8 grey levels / 16; {shape} ReLU, logits; {accuracy:.1%} of {HELD_OUT} "
        "held-out images right. Data: Optical Recognition of Handwritten Digits, UCI Machine Learning "
        "Repository, CC BY 4.0."
    )
    onnx.save(to_onnx(classifier.coefs_, classifier.intercepts_, description), folder / "digits.onnx")
    np.savez_compressed(folder / "digits.npz", x=test_x, y=test_y)
    print(description)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
