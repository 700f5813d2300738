"""Data sets from files and from arrays: exact values, and clear errors before anything runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distverify.data.dataset import Dataset, dataset_from_arrays, load_dataset
from distverify.errors import DataError, SettingsError

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
RNG = np.random.default_rng(11)
X = RNG.normal(size=(30, 2, 3))
Y = RNG.integers(0, 4, size=30)


def store(path: Path, x: Any = X, y: Any = Y) -> Path:
    """``x`` and ``y`` in the format that the path's suffix names."""
    if path.suffix == ".npz":
        np.savez(path, x=x, **({} if y is None else {"y": y}))
    elif path.suffix == ".csv":
        np.savetxt(path, np.column_stack([y, np.asarray(x).reshape(len(x), -1)]), delimiter=",", fmt="%.17g")
    else:
        with h5py.File(path, "w") as file:
            file["x"] = x
            if y is not None:
                file["y"] = y
    return path


def load(path: Path, **options: Any) -> Dataset:
    return load_dataset(path, **{"input_size": 6, "output_size": 4, **options})


@pytest.fixture(params=["data.npz", "data.h5", "data.hdf5", "data.csv", "DATA.NPZ"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "DATA.NPZ":
        return store(tmp_path / "data.npz").rename(tmp_path / request.param)
    return store(tmp_path / request.param)


def test_all_formats_hold_the_same(path: Path) -> None:
    data = load(path)
    assert (data.inputs == X.reshape(30, 6)).all()
    assert data.labels.tolist() == Y.tolist()
    assert data.indices.tolist() == list(range(30))
    assert (data.inputs.dtype, data.labels.dtype, data.indices.dtype) == (np.float64, np.int64, np.int64)
    assert data.inputs.flags.c_contiguous
    assert data.shape == ((6,) if path.suffix == ".csv" else (2, 3))
    assert (data.name, data.size) == (path.name, 30)


@pytest.mark.parametrize("samples", ["3,7", "29,0:3,5", "::7", "12", "28,27,26"])
def test_selected_samples_in_their_order(path: Path, samples: str) -> None:
    data = load(path, samples=samples)
    assert (data.inputs == X.reshape(30, 6)[data.indices]).all()
    assert (data.labels == Y[data.indices]).all()
    assert data.indices[0] == int(samples.split(",")[0].split(":")[0] or 0)


def test_scale_divides(path: Path) -> None:
    assert (load(path, scale=255).inputs == X.reshape(30, 6) / 255).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i4", "u8", "f2", "f4", ">f8"])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_any_real_type_is_converted_exactly(dtype: str, suffix: str, tmp_path: Path) -> None:
    x = (np.abs(X) * 50).astype(dtype)
    data = load(store(tmp_path / f"data{suffix}", x))
    assert data.inputs.dtype.isnative
    assert (data.inputs == x.reshape(30, 6)).all()


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_labels_may_be_absent(suffix: str, tmp_path: Path) -> None:
    assert (load(store(tmp_path / f"data{suffix}", y=None)).labels == -1).all()


def test_labels_in_a_column_or_as_whole_floats(tmp_path: Path) -> None:
    assert (load(store(tmp_path / "data.npz", y=Y[:, None].astype(float))).labels == Y).all()


def test_fortran_order(tmp_path: Path) -> None:
    assert (load(store(tmp_path / "data.npz", np.asfortranarray(X))).inputs == X.reshape(30, 6)).all()


def test_compressed_files(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "data.npz", x=X, y=Y)
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(4, 2, 3), compression="gzip", shuffle=True, fletcher32=True)
    for name in ("data.npz", "data.h5"):
        assert (load(tmp_path / name, samples="::9").inputs == X.reshape(30, 6)[::9]).all()


@pytest.mark.parametrize(
    "text",
    [
        "7,0.5,1\n2,3,4\n",
        "label,a,b\n7,0.5,1\n2,3,4\n",
        "\ufeff7.0,0.5,1e0\r\n\r\n2,3,4",
        "7 , 0.5 , 1\n2,3,4\n",
    ],
)
def test_csv_forms(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(text, encoding="utf-8", newline="")
    data = load_dataset(tmp_path / "data.csv", input_size=2, output_size=10)
    assert (data.inputs.tolist(), data.labels.tolist()) == ([[0.5, 1.0], [3.0, 4.0]], [7, 2])


def test_real_images_load_fast() -> None:
    path = SHARED / "data" / "mnist_test.csv"
    if not path.exists():
        pytest.skip("the shared data are not here")
    start = time.process_time()
    data = load_dataset(path, input_size=784, output_size=10, scale=255)
    assert time.process_time() - start < 0.1
    assert data.inputs.shape == (100, 784)
    assert (data.inputs.min(), data.inputs.max()) == (0.0, 1.0)
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_digest_tells_data_and_selection_apart(tmp_path: Path) -> None:
    path = store(tmp_path / "data.npz", np.arange(180.0).reshape(30, 2, 3), np.zeros(30, int))
    digest = load(path).digest
    assert digest == load(store(tmp_path / "other.h5", np.arange(180).reshape(30, 2, 3), np.zeros(30))).digest
    others = [
        load(path, samples="0:29"),
        load(path, samples="1:30,0"),
        load(path, scale=2),
        load(store(tmp_path / "labels.npz", np.arange(180.0).reshape(30, 2, 3), np.ones(30, int))),
        load(store(tmp_path / "shape.npz", np.arange(180.0).reshape(30, 6), np.zeros(30, int))),
    ]
    assert len({digest, *(o.digest for o in others)}) == 6
    # Written down once: it must not depend on the machine or the version.
    assert digest == "3bd40b8ede4ac73ce68dbabaa9c3a14b9f5af795b4ea0b65d14a8242d75b7f03"


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            X[:, :, :2],
            Y,
            "x: each sample has 4 values, but the model takes 6; check that data and model belong",
        ),
        (
            X.reshape(30, 6)[:, [0, 0, 1, 2, 3, 4, 5]],
            Y,
            "has 7 values, .* takes 6; if one of them is the label, store",
        ),
        (X.astype(complex), Y, "x: has type complex128; give real numbers"),
        (X > 0, Y, "x: has type bool; give real numbers"),
        (np.full((30, 6), 2**53 + 1), Y, r"x: 180 whole numbers beyond 2\*\*53 are no exact float64"),
        (np.full((30, 6), 2**64 - 1, np.uint64), Y, r"x: 180 whole numbers beyond 2\*\*53"),
        (
            np.where(np.arange(180).reshape(30, 6) == 32, np.nan, 0),
            Y,
            "x: 1 values are NaN .* in sample 5, feature 2",
        ),
        (
            np.where(np.arange(180).reshape(30, 6) > 99, np.inf, 0),
            Y,
            "x: 80 values are NaN or infinite, the first in",
        ),
        (np.zeros((0, 6)), Y[:0], "x: holds no samples"),
        (np.array(1.0), Y, "x: is a single number; give an array"),
        (X, Y[:7], "y: holds 7 labels for 30 samples"),
        (X, np.zeros((30, 0)), r"y: has shape \(30, 0\); give one label per sample"),
        (
            X,
            np.where(Y[8] == Y, 4, 0),
            "y: .* labels are no whole number from 0 to 3, the first in sample .: 4; check",
        ),
        (X, Y - 10, "y: 30 labels are no whole number from 0 to 3"),
        (
            X,
            np.where(np.arange(30) == 8, 0.5, Y),
            "y: 1 labels are no whole number from 0 to 3, the first in sample 8: 0.5",
        ),
        (
            X,
            np.full(30, np.nan),
            "y: 30 entries are no number, the first in sample 0: nan; remove such samples, or leave",
        ),
        (X, np.full((30, 2), np.inf), "y: 60 entries are no number, the first in sample 0: inf"),
        (X, np.array(["a"] * 30, dtype="S1"), "y: has type .S1; give real numbers"),
    ],
)
@pytest.mark.parametrize("suffix", [".npz", ".h5", "arrays"])
def test_data_that_do_not_fit(x: Any, y: Any, message: str, suffix: str, tmp_path: Path) -> None:
    if suffix == "arrays":
        with pytest.raises(DataError, match=message):
            dataset_from_arrays(x, y, input_size=6, output_size=4)
        return
    path = store(tmp_path / f"data{suffix}", x, y)
    with pytest.raises(DataError, match=message):
        load(path)


def test_only_the_selected_samples_must_be_sound(tmp_path: Path) -> None:
    x, y = X.copy(), Y.copy()
    x[3, 0, 0], y[5] = np.nan, 99
    path = store(tmp_path / "data.h5", x, y)
    assert load(path, samples="6:30").size == 24
    with pytest.raises(DataError, match="the first in sample 3, feature 0"):
        load(path, samples="2,3")
    with pytest.raises(DataError, match="the first in sample 5: 99"):
        load(path, samples="4,5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1,2,3,4,5,6\n",
            "has 5 values, but the model takes 6; the first column is read as the label; put one",
        ),
        ("1,2,3,4,5,6,7,8\n", "has 7 values, but the model takes 6; one column is too many; only the label"),
        (
            "0.5,2,3,4,5,6,7\n",
            r"y: 1 labels are no whole number from 0 to 3, the first in sample 0 \(line 1\): 0\.5; the first column is read as",
        ),
        ("a,b,c,d,e,f,g\n\n1,2,3,4,5,6,nan\n", r"x: 1 values are NaN .*, the first in sample 0 \(line 3\), feature 5"),
        ("1,2,3,4,5,6,7\n1,2\n", r"data\.csv: line 2 has 2 values, the first one has 7; mend or remove it"),
        ("label,a,b,c,d,e,f\n\n1,2,3,4,5,6,x\n", "line 3 has 'x' in column 7 where a number is expected"),
        ("1,2,3,4,5,6,7\n1,2,3,,5,6,7\n", "line 2 has nothing in column 4 where a number is expected"),
        ("1;2;3;4;5;6;0,5\n", r"line 1 has a decimal comma \(0,5\) in column 7; write decimal points"),
        ("label,a,b,3,7,e,f\n1,2,3,4,5,6,7\n", "line 1 has 'label' in column 1 where a number is expected"),
        ("label,a,b\n1,2,3,4,5,6,7\n", "the header has 3 columns, the line after it 7; give as many names as values"),
        ("0,1,2\n1,2,3\n", r"line 1 is 0,1,2: a header of numbers, or a sample\? Put a line of names first"),
        ("5,0,3,4,5,6,7,8\n6,1,3,4,5,6,7,8\n", r"has 7 values, .* takes 6; one column is too many"),
        ("0,5,3,4,5,6,7,8\n1,6,3,4,5,6,7,8\n", "the first column counts the lines; write the table without its index"),
        ("0,1,2,3,4,5\n1,2,3,4,5,6\n", r"has 5 values, .* or say that there is none \(no_labels=True\)"),
        ("1,2,3,4,5,6,7," + "1" * 5000, "line 1 is longer than 4480 characters; give one sample in a line"),
        ("a,b\n", "holds no line of numbers"),
        ("", "holds no line of numbers"),
        ("1\n2\n", "has one column; give the label first"),
    ],
)
def test_csv_that_does_not_fit(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "data.csv")


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scale_must_be_positive(scale: float, path: Path) -> None:
    with pytest.raises(SettingsError, match=r"scale: got .*; give a finite positive number"):
        load(path, scale=scale)


def test_scale_must_not_overflow(path: Path) -> None:
    with pytest.raises(SettingsError, match="values divided by it overflow"):
        load(path, scale=1e-310)


@pytest.mark.parametrize(
    ("x", "y", "shape"),
    [
        (X, Y, (30, 6)),
        (X[0], 1, (1, 6)),
        (X[0].reshape(-1), None, (1, 6)),
        (X[:1], [1], (1, 6)),
        (X.tolist(), None, (30, 6)),
        (X.astype(np.float32), None, (30, 6)),
    ],
)
def test_arrays(x: Any, y: Any, shape: tuple[int, int]) -> None:
    data = dataset_from_arrays(x, y, input_size=6, output_size=4)
    assert data.inputs.shape == shape
    assert (data.inputs == np.asarray(x, dtype=np.float64).reshape(shape)).all()
    assert (data.name, data.labels.shape) == ("arrays", shape[:1])


def test_arrays_are_copied() -> None:
    x = X.reshape(30, 6).copy()
    data = dataset_from_arrays(x, input_size=6, output_size=4)
    assert not np.shares_memory(data.inputs, x)


def test_arrays_of_one_feature() -> None:
    assert dataset_from_arrays([1.0, 2.0, 3.0], input_size=1, output_size=2).inputs.shape == (3, 1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[1.0], [2.0, 3.0]], "x: cannot be made an array"),
        ("abc", "x: has type <U3"),
        (np.array([None] * 6), "x: has type object"),
    ],
)
def test_arrays_of_no_numbers(x: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataset_from_arrays(x, input_size=6, output_size=4)
