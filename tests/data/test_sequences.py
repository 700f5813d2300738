"""Samples from Python, one by one: the same arrays as those of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distverify.data.sequences import is_sequence_of_samples, read_samples
from distverify.errors import DataError

X = np.random.default_rng(2).normal(size=(5, 2, 3))
Y = np.array([0, 1, 2, 0, 1])


class Columns(dict[str, Any]):
    """As a feature of Hugging Face's data sets."""


class Table:
    """As a data set of Hugging Face: a mapping for each index."""

    features = Columns({"label": type("ClassLabel", (), {"names": ["a", "b", "c"]})()})

    def __init__(self, *names: str) -> None:
        self._names = names

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, k: int) -> dict[str, Any]:
        return dict(zip(self._names, (X[k].tolist(), int(Y[k])), strict=True))


class Unlabelled:
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, k: int) -> Any:
        return X[k]


@pytest.mark.parametrize(
    "made",
    [
        lambda: list(zip(X, Y, strict=True)),
        lambda: [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)],
        lambda: Table("image", "label"),
        lambda: [{"x": x, "y": y} for x, y in zip(X, Y, strict=True)],
    ],
)
def test_samples_with_labels(made: Any) -> None:
    source = made()
    assert is_sequence_of_samples(source)
    held = read_samples(source)
    assert (held.x == X).all()
    assert held.y is not None
    assert (held.y == Y).all()
    assert held.classes == (("a", "b", "c") if isinstance(source, Table) else ())


def test_torch_data_sets() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils.data import TensorDataset

    held = read_samples(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)))
    assert held.y is not None
    assert ((held.x == X).all(), held.y.tolist()) == (True, Y.tolist())


def test_samples_without_labels() -> None:
    assert is_sequence_of_samples(Unlabelled())
    held = read_samples(Unlabelled())
    assert ((held.x == X).all(), held.y) == (True, None)


def test_pictures_say_their_layout() -> None:
    pillow = pytest.importorskip("PIL.Image")
    pictures = np.random.default_rng(0).integers(0, 256, size=(2, 4, 5, 3), dtype=np.uint8)
    held = read_samples([(pillow.fromarray(p), 1) for p in pictures])
    assert ((held.x == pictures).all(), held.layout) == (True, "hwc")


@pytest.mark.parametrize("value", [X, X.tolist(), [(0.1, 0.2), (0.3, 0.4)], "x.npz", [], [[1, 2], [3, 4]], 3])
def test_arrays_are_no_sequences(value: Any) -> None:
    assert not is_sequence_of_samples(value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ([(X[0], 1), (X[1][:1], 1)], r"x: sample 1 has shape \(1, 3\), sample 0 has \(2, 3\)"),
        (Table("picture", "label"), "x: sample 0 has picture, label; call the samples x or image"),
        ([(X[0], 1), (X[1], None)], "y: 1 of 2 samples have a label"),
        ([(X[0], "cat")], "y: the label of sample 0: is str, no numbers"),
    ],
)
def test_what_is_no_sample_is_told(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_samples(source)
