"""Damaged and hostile data files: no pickles, no other files, no memory for declared sizes."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from distverify.data import memory
from distverify.data.dataset import Dataset, load_dataset
from distverify.errors import DataError


def load(path: Path, samples: str | None = None, input_size: int = 3) -> Dataset:
    return load_dataset(path, input_size=input_size, output_size=4, samples=samples)


def npz(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray, *, shape: str | None = None, **options: Any) -> bytes:
    """The .npy form of ``array``, with another ``shape`` written in its header."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    content = stream.getvalue()
    if shape is not None:
        old = f"{array.shape}, }}".encode()
        new = f"{shape}, }}".encode()
        at = content.index(old)
        end = content.index(b"\n", at)
        content = content[:at] + new + b" " * (end - at - len(new)) + content[end:]
    return content


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_never_read(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    array = np.array([[Bomb(trace)] * 3], dtype=object)
    path = npz(tmp_path / "data.npz", x=npy(array))
    with pytest.raises(DataError, match=r"holds Python objects \(a pickle\), which are never read"):
        load(path)
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(array))
    with pytest.raises(DataError, match=r"the file is damaged, or no .npz file"):
        load(tmp_path / "bare.npz")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            "(9999999999999, 3)",
            r"shape \(9999999999999, 3\) of float64 needs 239999999999976 bytes, the file has 24",
        ),
        ("(2, 3)", "needs 48 bytes, the file has 24; it is damaged"),
        ("(-1, -3)", r"declares shape \(-1, -3\)"),
        ("(1, 'a')", "is no NumPy array"),
    ],
)
def test_declared_shape_is_checked_first(shape: str, message: str, tmp_path: Path) -> None:
    path = npz(tmp_path / "data.npz", x=npy(np.zeros((1, 3)), shape=shape))
    with pytest.raises(DataError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no NumPy array"),
        (b"no array at all", "is no NumPy array"),
        (npy(np.zeros((1, 3)), version=(3, 0)), r"\.npy format 3\.0 is not supported"),
        (npy(np.zeros((1, 3)))[:40], "is no NumPy array"),
        (
            npy(np.zeros(1, dtype=[("a", float, 3)])),
            r"x: has type \[\('a', '<f8', \(3,\)\)\]; give real numbers",
        ),
    ],
)
def test_members_that_are_no_arrays(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(npz(tmp_path / "data.npz", x=content))


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = npz(tmp_path / "data.npz", x=npy(np.zeros((20_000, 3))))
    assert path.stat().st_size < 5_000
    monkeypatch.setattr(memory, "available_memory", lambda: 700_000)
    with pytest.raises(DataError, match=r"x: needs .* GiB of memory, .* available; choose fewer samples"):
        load(path)


def test_a_wrong_checksum_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.full((4, 3), 0.5))
    content = bytearray(path.read_bytes())
    content[content.index(np.full(3, 0.5).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read \(Bad CRC-32"):
        load(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_missing_x_lists_what_is_there(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".npz":
        np.savez(path, images=np.zeros(3), labels=np.zeros(3))
    else:
        with h5py.File(path, "w") as file:
            file["images"], file["labels"] = np.zeros(3), np.zeros(3)
    with pytest.raises(DataError, match=r"has no array x \(found: images, labels\); store inputs as x"):
        load(path)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5"])
@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04" * 9, b"something else"])
def test_damaged_files(suffix: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"data{suffix}"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"cannot be read \(.*\); the file is damaged, or no \{suffix} file"):
        load(path)


@pytest.mark.parametrize("name", ["data.npz", "data.h5"])
def test_every_truncation_is_an_error(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    x = np.arange(12.0).reshape(4, 3)
    if name == "data.npz":
        np.savez(path, x=x)
    else:
        with h5py.File(path, "w") as file:
            file["x"] = x
    content = path.read_bytes()
    cut = tmp_path / f"cut{path.suffix}"
    for length in range(0, len(content), 7):
        cut.write_bytes(content[:length])
        with pytest.raises(DataError, match="cut"):
            load(cut)


def test_binary_csv(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="is no text file"):
        load(tmp_path / "data.csv")


def test_unknown_kind(tmp_path: Path) -> None:
    (tmp_path / "data.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"unknown kind of data file; give one of \.npz, \.h5, \.hdf5, \.csv"):
        load(tmp_path / "data.pkl")


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv: cannot be opened \(No such file or directory\)"):
        load(tmp_path / "absent.csv")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(DataError, match="not a regular file"):
        load(tmp_path / "folder.h5")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="not a regular file"):
        load(tmp_path / "pipe.csv")


@pytest.mark.parametrize("link", ["external", "soft", "external_storage", "virtual"])
def test_hdf5_that_leads_to_other_files(link: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.zeros((4, 3))
    (tmp_path / "secret.bin").write_bytes(bytes(96))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        if link == "external":
            file["x"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
        elif link == "soft":
            file["x"] = h5py.SoftLink("/elsewhere")
            file["elsewhere"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/x")
        elif link == "external_storage":
            storage = [(str(tmp_path / "secret.bin"), 0, 96)]
            file.create_dataset("x", shape=(4, 3), dtype="f8", external=storage)
        else:
            layout = h5py.VirtualLayout(shape=(4, 3), dtype="f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape=(4, 3))
            file.create_virtual_dataset("x", layout)
    with pytest.raises(DataError, match=r"x: is a link, which is not followed|values lie in other files"):
        load(tmp_path / "data.h5")


def test_hdf5_of_other_things(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("x")
    with pytest.raises(DataError, match="x: is no array"):
        load(tmp_path / "group.h5")
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["x"] = ["a", "b", "c"]
    with pytest.raises(DataError, match="x: has type object; give real numbers"):
        load(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["x"] = h5py.Empty("f8")
    with pytest.raises(DataError, match="x: is no array"):
        load(tmp_path / "empty.h5")


def test_hdf5_declared_size_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape=(10**13, 3), dtype="f8", chunks=(100, 3))
    with pytest.raises(DataError, match="GiB of memory"):
        load(path)
    assert load(path, "9999999999999,0").inputs.tolist() == [[0.0] * 3] * 2


def test_hdf5_reads_the_selected_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["x"], file["y"] = np.arange(300.0).reshape(100, 3), np.zeros(100, int)
    asked: list[slice] = []
    original = h5py.Dataset.__getitem__

    def recorded(dataset: h5py.Dataset, key: Any, *more: Any) -> Any:
        asked.append(key)
        return original(dataset, key, *more)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", recorded)
    assert load(path, "7,3:6,50").indices.tolist() == [7, 3, 4, 5, 50]
    assert asked == [slice(3, 6), slice(7, 8), slice(50, 51)] * 2
