"""Result files that somebody else wrote, changed or damaged: one line and exit status 2, or the right answer."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from distverify.cli.main import main
from distverify.results.digest import CONTENT, sign
from distverify.results.journal.journal import Journal
from distverify.results.reader import open_result
from distverify.work import WorkUnit
from tests.results.runs import finish, make_manifest, make_payload

ROOT = Path(__file__).resolve().parents[2]
SECRET = "the content of a file of mine, long enough for anything that is read of it" * 100


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("input") / "out.h5"
    finish(path, make_manifest(8, 4))
    return path


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    return Path(shutil.copy(original, tmp_path / "out.h5"))


def commands(path: Path) -> list[list[str]]:
    return [
        ["show", str(path)],
        ["show", str(path), "--json"],
        ["show", str(path), "--short"],
        ["export", str(path), "-o", str(path.with_name("table.csv"))],
        ["export", str(path), "-o", str(path.with_name("arrays.npz"))],
    ]


def outcome(arguments: list[str]) -> tuple[int, str]:
    """Exit status and what stderr says, after a look that it is no traceback."""
    run = CliRunner().invoke(main, arguments)
    assert run.exception is None or isinstance(run.exception, SystemExit), (arguments, run.exc_info)
    assert run.exit_code in (0, 2), (arguments, run.output)
    if run.exit_code:
        assert run.stderr.startswith("error: "), run.stderr
        assert len(run.stderr.strip().splitlines()) == 1, run.stderr
    return run.exit_code, run.stderr


def refused(path: Path, message: str) -> None:
    for arguments in commands(path):
        status, told = outcome(arguments)
        assert (status, message in told) == (2, True), (arguments, told)


def test_what_others_add_is_left_alone(copy: Path, original: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file["my_notes"] = np.arange(5)
        file.create_group("mine")["radius"] = 1.0
        file["far"] = h5py.ExternalLink("elsewhere.h5", "/x")
        file["nowhere"] = h5py.SoftLink("/not/there")
        file.attrs["reviewed_by"] = "me"
        file["radius"].attrs["comment_of_mine"] = "fine"
        del file["radius"].attrs["comment_of_mine"]
    assert [outcome(arguments)[0] for arguments in commands(copy)] == [0] * 5
    assert list(open_result(copy)) == list(open_result(original))
    assert open_result(copy).unchanged() is True
    page = outcome(["report", str(copy), "-o", str(copy.with_suffix(".html"))])
    assert page[0] == 0


def replace(name: str, by: Callable[[h5py.File, np.ndarray], object]) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            values = file[name][()]
            del file[name]
            by(file, values)

    return change


def external(file: h5py.File, values: np.ndarray) -> None:
    storage = [(str(Path(file.filename).with_name("secret")), 0, values.nbytes)]
    file.create_dataset("radius", shape=values.shape, dtype=values.dtype, external=storage)


def virtual(source: str, name: str = "radius") -> Callable[[h5py.File, np.ndarray], object]:
    def make(file: h5py.File, values: np.ndarray) -> None:
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[:] = h5py.VirtualSource(source, name, values.shape)
        file.create_virtual_dataset("radius", layout)

    return make


def link(kind: Any) -> Callable[[h5py.File, np.ndarray], object]:
    def make(file: h5py.File, values: np.ndarray) -> None:
        file["elsewhere"] = values
        file["radius"] = kind

    return make


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace("radius", external), "radius is stored in a file elsewhere; it is not read"),
        (replace("radius", virtual("other.h5")), "shows other.h5, which is not in the folder of its run"),
        (replace("radius", virtual("/tmp/x.parts/other.h5")), "which is not in the folder of its run"),
        (replace("radius", virtual("../x.parts/other.h5")), "which is not in the folder of its run"),
        (replace("radius", virtual("out.h5.parts/../out.h5")), "which is not in the folder of its run"),
        (replace("radius", virtual(".", "elsewhere")), "is not in the folder of its run"),
        (replace("radius", link(h5py.SoftLink("/elsewhere"))), "radius is no array of the file itself"),
        (replace("radius", lambda f, v: f.create_group("radius")), "radius is no array of the file itself"),
        (replace("radius", lambda f, v: f.create_dataset("radius", data=v[:3])), "radius is float64 (3,), expected"),
        (replace("radius", lambda f, v: f.create_dataset("radius", data=v.astype("f4"))), "radius is float32 (8,)"),
        (replace("radius", lambda f, v: f.create_dataset("radius", (8,), "S9")), "radius is |S9 (8,)"),
        (replace("eps", lambda f, v: f.create_dataset("eps", data=[0.5, 0.01])), "eps is not what the settings say"),
        (replace("eps", lambda f, v: f.create_dataset("eps", data=v[:1])), "eps is float64 (1,)"),
        (replace("sample", lambda f, v: f.create_dataset("sample", data=v + 1)), "sample or the settings were changed"),
        (replace("sample", lambda f, v: None), "has no array sample"),
        (replace("input", lambda f, v: f.create_dataset("input", (10**12,), "i8")), "input is int64 (1000000000000,)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(copy: Path, change: Callable[[Path], None], message: str) -> None:
    change(copy)
    if message.startswith(("radius", "shows", "which", "is not")):
        for arguments in commands(copy)[:1] + commands(copy)[3:]:
            status, told = outcome(arguments)
            assert (status, message in told) == (2, True), (arguments, told)
    else:
        refused(copy, message)
    for name in ("table.csv", "arrays.npz"):
        assert not copy.with_name(name).exists()


def test_a_source_in_the_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    manifest = make_manifest(8, 4)
    with Journal.open(path, manifest) as journal:
        journal.commit(WorkUnit(0, 4), make_payload(manifest, WorkUnit(0, 4)))
    (shard,) = path.with_name("out.h5.parts").glob("*.h5")
    honest = shard.read_bytes()
    (tmp_path / "secret").write_text(SECRET)
    with h5py.File(shard, "r+") as file:
        values = file["radius"][:]
        del file["radius"]
        storage = [(str(tmp_path / "secret"), 0, values.nbytes)]
        file.create_dataset("radius", shape=values.shape, dtype=values.dtype, external=storage)
    assert "radius is stored in a file elsewhere" in outcome(["show", str(path)])[1]
    shard.write_bytes(honest)
    assert outcome(["show", str(path)])[0] == 0
    shard.rename(tmp_path / "away.h5")
    shard.symlink_to(tmp_path / "away.h5")
    assert "not in the folder of its run" in outcome(["show", str(path)])[1]
    shard.unlink()
    assert "is gone" in outcome(["show", str(path)])[1]


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.h5")
    refused(tmp_path / "fifo.h5", "is no ordinary file")
    refused(Path("/dev/zero"), "is no ordinary file")
    refused(tmp_path / "missing.h5", "no such file")
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file" / "out.h5", "no such file")
    refused(tmp_path, "is a folder")
    refused(Path(str(tmp_path / ("x" * 300))), "cannot be opened")


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f["radius"].__setitem__(2, 1e9),
        lambda f: f["hull_lower"].__setitem__((0, 0, 0), -1.0),
        lambda f: f["radius"].attrs.__setitem__("units", "m"),
        lambda f: f["status"].attrs.__setitem__("flag_meanings", "ok pending misclassified failed timed_out undecided"),
        lambda f: f["message"].__setitem__(1, b"fine"),
    ],
)
def test_one_change_anywhere_is_told(copy: Path, change: Callable[[h5py.File], None]) -> None:
    assert outcome(["show", str(copy), "--verify"])[0] == 0
    with h5py.File(copy, "r+") as file:
        change(file)
    assert open_result(copy).unchanged() is False
    status, told = outcome(["show", str(copy), "--verify"])
    assert (status, "changed since the run wrote it" in told) == (2, True)


def test_a_head_that_was_changed_is_told_by_every_reader(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs["provenance"] = file.attrs["provenance"].replace(b"net.onnx", b"nut.onnx")
    refused(copy, "its head does not have the digest that it had")


def test_without_a_digest_nothing_is_verified(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file.attrs[CONTENT]
    assert open_result(copy).unchanged() is None
    status, told = outcome(["show", str(copy), "--verify"])
    assert (status, "has no digest to compare with" in told) == (2, True)


def test_repacking_keeps_the_digest(copy: Path, tmp_path: Path) -> None:
    repacked = tmp_path / "repacked.h5"
    with h5py.File(copy) as old, h5py.File(repacked, "w") as new:
        for name in reversed(list(old)):
            new.create_dataset(name, data=old[name][()], dtype=old[name].dtype)
            for key, value in old[name].attrs.items():
                if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME"):
                    new[name].attrs[key] = value
        for key, value in old.attrs.items():
            new.attrs[key] = value
    assert open_result(repacked).unchanged() is True


def mutated_json(data: Any, chance: random.Random) -> Any:
    """``data`` with one value somewhere in it replaced or taken away."""
    data = json.loads(json.dumps(data))
    at = data
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = chance.choice(keys)
        if isinstance(at[key], dict | list) and at[key] and chance.random() < 0.7:
            at = at[key]
            continue
        if chance.random() < 0.3:
            del at[key]
        else:
            at[key] = chance.choice([None, -1, 1e300, "x", "\x1b[31m\n", [], {}, [[]], True, 10**30, "9" * 5000])
        return data


@pytest.mark.parametrize("seed", range(60))
def test_a_mutated_provenance_is_one_line_or_harmless(copy: Path, seed: int) -> None:
    chance = random.Random(seed)
    with h5py.File(copy, "r+") as file:
        data = json.loads(file.attrs["provenance"])
        file.attrs["provenance"] = json.dumps(mutated_json(data, chance))
        sign(file)  # by somebody who knows how
    for arguments in commands(copy):
        outcome(arguments)


# Files with random damage, one after the other, in a process of its own: HDF5 itself may fall over. argv: original, folder,
# seeds. A line for each: seed and outcome.
FUZZ = """
import faulthandler, random, sys
from pathlib import Path
from tests.results.test_result_files_as_input import commands, outcome
original, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    faulthandler.dump_traceback_later(60, exit=True)  # nothing hangs
    chance = random.Random(seed)
    data = bytearray(original)
    for _ in range(chance.choice([1, 1, 2, 8, 64])):
        at = chance.randrange(len(data)) if chance.random() < 0.5 else chance.randrange(min(len(data), 8000))
        way = chance.random()
        if way < 0.5:
            data[at] ^= 1 << chance.randrange(8)
        elif way < 0.8:
            data[at : at + 8] = chance.choice([b"\\xff" * 8, b"\\0" * 8, chance.randbytes(8)])
        else:
            other = chance.randrange(len(data))
            data[at : at + 32] = data[other : other + 32]
    path = folder / "out.h5"
    path.write_bytes(data)
    print(seed, flush=True)
    arguments = commands(path)
    print(seed, outcome(chance.choice(arguments))[0], flush=True)
"""


def fuzz(original: Path, folder: Path, first: int, last: int) -> tuple[int, str]:
    command = [sys.executable, "-c", FUZZ, str(original), str(folder), str(first), str(last)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    return run.returncode, f"{run.stdout[-100:]}\n{run.stderr[-3000:]}"


@pytest.mark.parametrize(
    ("first", "last"), [(0, 40), pytest.param(40, 4000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_a_damaged_file_is_one_line_or_harmless(original: Path, tmp_path: Path, first: int, last: int) -> None:
    status, told = fuzz(original, tmp_path, first, last)
    assert status == 0, told
