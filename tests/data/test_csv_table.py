"""Tables as spreadsheets and pandas write them hold the samples that their authors mean."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from distverify.data.dataset import Dataset, load_dataset
from distverify.errors import DataError

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 6))
Y = RNG.integers(0, 4, size=12)
FEATURES = pd.DataFrame(X)
LABEL_FIRST = pd.DataFrame(np.column_stack([Y, X]))
LABEL_LAST = FEATURES.assign(label=Y)


def load(folder: Path, text: str, *, labels: bool = True, output_size: int = 4, samples: str | None = None) -> Dataset:
    (folder / "data.csv").write_text(text, encoding="utf-8", newline="")
    return load_dataset(folder / "data.csv", input_size=6, output_size=output_size, labels=labels, samples=samples)


def written(frame: pd.DataFrame, **options: object) -> str:
    stream = io.StringIO()
    frame.to_csv(stream, **options)  # type: ignore[call-overload]
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        written(LABEL_FIRST, index=False, header=False),
        written(LABEL_FIRST, index=False),  # a header 0,1,2,...
        written(LABEL_FIRST),  # ... and an index
        written(LABEL_FIRST.rename(columns={0: "label"}), index=False),
        written(LABEL_FIRST.rename(columns={0: "label"})),
        written(LABEL_FIRST.rename(columns=lambda k: f"pixel{k}"), index=False),
        written(LABEL_FIRST.rename(columns=lambda k: f"pixel{k}"), index_label="id"),
        written(LABEL_LAST),
        written(LABEL_LAST, index=False),
        written(LABEL_LAST.rename(columns={"label": "Class"}), index=False),
        written(LABEL_FIRST, index=False, header=False, sep=";"),
        written(LABEL_FIRST, index=False, header=False, sep="\t"),
        written(LABEL_LAST, sep="\t"),
        written(LABEL_FIRST, index=False, quoting=1),
        written(LABEL_FIRST, index=False, header=False, lineterminator="\r\n"),
        written(pd.read_csv(io.StringIO(written(LABEL_FIRST)))),  # an index that was saved twice
    ],
)
def test_every_form_holds_the_same(tmp_path: Path, text: str) -> None:
    data = load(tmp_path, text)
    assert data.inputs.tolist() == X.tolist()
    assert data.labels.tolist() == Y.tolist()
    chosen = load(tmp_path, text, samples="7,2,11")
    assert chosen.inputs.tolist() == X[[7, 2, 11]].tolist()
    assert chosen.labels.tolist() == Y[[7, 2, 11]].tolist()


@pytest.mark.parametrize(
    "text",
    [
        written(FEATURES, index=False),
        written(FEATURES),
        written(FEATURES, index=False, header=False),
        written(LABEL_FIRST, index=False, header=False),
        written(LABEL_LAST),
    ],
)
def test_without_labels(tmp_path: Path, text: str) -> None:
    data = load(tmp_path, text, labels=False)
    assert data.inputs.tolist() == X.tolist()
    assert (data.labels == -1).all()


def test_targets_of_a_regression_need_a_name(tmp_path: Path) -> None:
    targets = FEATURES.assign(target=np.linspace(-1.0, 2.0, 12))
    data = load(tmp_path, written(targets, index=False))
    assert data.regression
    assert (data.labels == -1).all()
    assert data.inputs.tolist() == X.tolist()
    unnamed = written(targets[["target", *range(6)]], index=False, header=False)
    for outputs in (1, 4):
        with pytest.raises(DataError, match=r"y: .*name the column of the label in a header line .*no_labels=True"):
            load(tmp_path, unnamed, output_size=outputs)
    assert load(tmp_path, unnamed, labels=False).inputs.tolist() == X.tolist()


def test_only_what_is_chosen_is_read(tmp_path: Path) -> None:
    text = "1,2,3,4,5,6,7\nrubbish\n3,3,4,5,6,7,8\n"
    assert load(tmp_path, text, samples="0,2").labels.tolist() == [1, 3]
    with pytest.raises(DataError, match="line 2 has 1 values"):
        load(tmp_path, text)


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes("1\t2\n".encode("utf-16"))
    with pytest.raises(DataError, match=r"is no text file in UTF-8; .*save them as UTF-8"):
        load_dataset(tmp_path / "data.csv", input_size=1, output_size=2)
