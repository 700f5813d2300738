"""Damaged data and property files are read or refused in one line, in bounded time and memory; never a traceback."""

from __future__ import annotations

import gzip
import io
import random
import resource
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from distverify.data.dataset import load_dataset
from distverify.data.property_set import is_instance_list, load_properties
from distverify.data.vnnlib.property import load_property
from distverify.errors import DataError, SettingsError
from tests.data.mutations import mutated

CHECKOUT = Path(__file__).resolve().parents[2]
ROUNDS = 150
SECONDS = 10.0
X = np.arange(24.0).reshape(8, 3) / 7.0
Y = np.arange(8) % 4
PROPERTY = """; a comment
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const X_2 Real)
(declare-const Y_0 Real)
(declare-fun Y_1 () Real)
(declare-const Y_2 Real)
(declare-const Y_3 Real)
(assert (<= X_0 0.5)) (assert (>= X_0 -1e-3)) (assert (<= X_1 1)) (assert (>= X_1 0)) (assert (<= X_2 1)) (assert (>= X_2 0))
(assert (or (and (>= Y_0 Y_1) (<= X_0 0.25)) (and (<= (+ (* 2 Y_2) (- Y_3) 0.1) 3)) (= Y_0 0.7)))
"""
INSTANCES = "onnx,vnnlib,timeout\n# a comment\nv1,net.onnx,p.vnnlib,60\nother.onnx,q.vnnlib,10\n"


def seeds() -> dict[str, bytes]:
    files = {"data.csv": "\n".join(f"{y},{','.join(map(str, x))}" for x, y in zip(X, Y, strict=True)).encode()}
    files["named.csv"] = b"id;label;a;b;c\n" + b"".join(b"%d;1;0.5;0.25;1e-3\n" % k for k in range(8))
    for name, write in (("plain.npz", np.savez), ("small.npz", np.savez_compressed)):
        stream = io.BytesIO()
        write(stream, x=X, y=Y)
        files[name] = stream.getvalue()
    files["p.vnnlib"] = PROPERTY.encode()
    files["q.vnnlib.gz"] = gzip.compress(PROPERTY.encode(), mtime=0)
    files["instances.csv"] = INSTANCES.encode()
    return files


def read(path: Path) -> None:
    """As a run reads it; what is refused is fine."""
    try:
        if path.name.startswith("instances"):
            if is_instance_list(path):
                load_properties([path], model="net.onnx", input_size=3, output_size=4)
        elif ".vnnlib" in path.name:
            load_property(path, input_size=3, output_size=4)
        else:
            load_dataset(path, input_size=3, output_size=4)
    except (DataError, SettingsError) as error:
        told = str(error)
    else:
        told = ""
    assert "\n" not in told


@pytest.mark.parametrize("name", sorted(seeds()))
def test_mutated_files_are_read_or_refused(tmp_path: Path, name: str) -> None:
    content = seeds()[name]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "p.vnnlib").write_text(PROPERTY)
    read(tmp_path / name)
    generator = random.Random(name)
    for _ in range(ROUNDS):
        path = tmp_path / f"mutated-{name}" if not name.startswith("instances") else tmp_path / name
        path.write_bytes(mutated(content, generator))
        begin = time.thread_time()
        read(path)
        assert time.thread_time() - begin < SECONDS


def test_mutated_hdf5_files_end_no_process(tmp_path: Path) -> None:
    """In a process of its own: the library is in C, and a damaged file may bring it down."""
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(2, 3), compression="gzip", fletcher32=True)
        file["y"] = Y
    code = f"""
        import random, sys
        from pathlib import Path
        sys.path.insert(0, {str(CHECKOUT)!r})
        from tests.data.mutations import mutated
        from tests.data.test_fuzz import read
        content = Path("data.h5").read_bytes()
        generator = random.Random(5)
        for _ in range({ROUNDS}):
            Path("mutated.h5").write_bytes(mutated(content, generator))
            read(Path("mutated.h5"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


DECLARED = PROPERTY.split("(assert (or")[0]
EITHER = "(or (<= Y_0 1) (<= Y_1 1))"
ONE = "(<= Y_0 1) "


def zeros() -> bytes:
    """A compressed array of 1.1 GiB in 5 MB."""
    stream, rows, part = io.BytesIO(), 50_000_000, bytes(24_000_000)
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("x.npy", "w", force_zip64=True) as member,
    ):
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (rows, 3)})
        for _ in range(rows * 24 // len(part)):
            member.write(part)
    return stream.getvalue()


# Small files, or files of one long line, that once took all the time or memory there is.
BOMBS: dict[str, Callable[[], bytes]] = {
    "and.vnnlib": lambda: f"{DECLARED}(assert (and {ONE * 100_000}))".encode(),
    "or.vnnlib": lambda: f"{DECLARED}(assert (or {ONE * 100_000}))".encode(),
    "product.vnnlib": lambda: f"{DECLARED}(assert (and {EITHER * 13} (and {ONE * 2000})))".encode(),
    "asserts.vnnlib": lambda: f"{DECLARED}{f'(assert {EITHER})' * 40}".encode(),
    "sum.vnnlib": lambda: (
        f"{DECLARED}(assert (<= (+ {' '.join(f'0.{k}e-{k % 999}' for k in range(30_000))}) Y_0))".encode()
    ),
    "open.vnnlib": lambda: b"(" * 4_000_000,
    "blanks.vnnlib": lambda: f"{DECLARED}(assert{' ' * 4_000_000}".encode(),
    "instances.csv": lambda: b"net.onnx" + b" " * 60_000 + b",p.vnnlib" + b" " * 60_000 + b"x\n" * 2,
    "line.csv": lambda: b"1," * 10_000_000,
    "lines.csv": lambda: b"1\n" * 500_000,
    "zeros.npz": zeros,
}


@pytest.mark.parametrize("name", BOMBS)
def test_nothing_takes_all_time_or_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    (tmp_path / "p.vnnlib").write_text(PROPERTY)
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    read(path)
    assert time.thread_time() - begin < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KiB


def test_hdf5_of_declared_zeros(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file.create_dataset("x", shape=(10**8, 3), dtype="f8", chunks=(1000, 3))
    with pytest.raises(DataError, match=r"x: 0 bytes in the file become .* GiB, so nearly all values are the same"):
        load_dataset(tmp_path / "data.h5", input_size=3, output_size=4)
    assert load_dataset(tmp_path / "data.h5", input_size=3, output_size=4, samples="5").inputs.tolist() == [[0.0] * 3]
