"""Runs of many small units, while programs of all kinds read them: during the run, through its end and after it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distverify.results.reader import open_result

ROOT = Path(__file__).resolve().parents[2]
OPEN_FILES = 256

# Commits a unit per sample, whose radius is its position; argv: output, samples, most files of a view.
WRITER = """
import json, sys, time
import numpy as np
from tests.memory import peak_bytes
from distverify.results.journal import publication
from distverify.results.journal.journal import Journal
from distverify.work import WorkUnit
from tests.results.runs import END, make_manifest, make_payload
output, samples, publication.MOST_FILES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
manifest = make_manifest(samples, 1, compute=("radius",))
journal = Journal.open(output, manifest)
print("begun", flush=True)
payload = make_payload(manifest, WorkUnit(0, 1))
begin = time.perf_counter()
for unit in list(journal.pending(manifest.plan.units())):
    payload["radius"] = payload["radius_crown"] = np.array([float(unit.start)])
    journal.commit(unit, payload)
committed = time.perf_counter()
files = len(list(journal.parts.glob("*.h5")))
journal.consolidate(END)
journal.close()
print(json.dumps({
    "per_commit": (committed - begin) / samples, "finish": time.perf_counter() - committed, "files": files,
    "megabytes": peak_bytes() / 2**20,
}))
"""

# Reads again and again until the run has ended, and some times more; what is wrong ends it with a traceback.
READER = """
import json, sys, time
import numpy as np
path, samples, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def h5py_reads():
    import h5py
    with h5py.File(path) as file:  # values before statuses: whoever mixes moments is caught
        return file["radius_crown"][:], file["radius"][:], file["status"][:]

def xarray_reads():
    import xarray
    with xarray.open_dataset(path, engine="h5netcdf") as data:
        return data["radius_crown"].values, data["radius"].values, data["status"].values

def result_reads():
    from distverify.results.reader import open_result
    with open_result(path).at_one_moment() as moment:
        return moment["radius_crown"], moment["radius"], moment["status"]

def summary_reads():
    from distverify.results.reader import open_result
    summary = open_result(path).summary()
    done = summary.counts["ok"]
    assert summary.computed == done and summary.counts["pending"] == samples - done
    radius = np.arange(samples, dtype=float)
    if done:  # units are committed in order
        spread = summary.spreads["radius"][None]
        assert spread.median == np.median(radius[:done]) and spread.least == 0, (done, spread)
    return np.where(radius < done, radius, np.nan), np.where(radius < done, radius, np.nan), (radius < done).astype("int8")

read = {"h5py": h5py_reads, "xarray": xarray_reads, "result": result_reads, "summary": summary_reads}[way]
truth, seen, reads, errors, after = np.arange(samples, dtype=float), 0, 0, 0, 0
end = time.monotonic() + 3600
while after < 5 and time.monotonic() < end:
    try:
        crown, radius, status = read()
    except OSError:
        if way in ("result", "summary"):
            raise
        errors += 1  # the programs of others may be refused, but never told what is not so
        continue
    done = int((status == 1).sum())
    assert (status == 1).tolist() == [True] * done + [False] * (samples - done), "units are committed in order"
    for values in (crown, radius):
        np.testing.assert_array_equal(values[:done], truth[:done])
        assert np.isnan(values[done:]).all()
    assert done >= seen, (done, seen)
    seen, reads, after = done, reads + 1, after + (done == samples)
print(json.dumps({"seen": seen, "reads": reads, "errors": errors}))
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}))\n{script}"
    command = [sys.executable, "-c", limited, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("samples", "most"),
    [
        (200, 8),
        (4_000, 100),
        pytest.param(20_000, 100, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
def test_every_answer_is_right_for_some_moment(tmp_path: Path, samples: int, most: int) -> None:
    pytest.importorskip("xarray")
    output = tmp_path / "out.h5"
    writer = start(WRITER, output, samples, most)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    readers = {way: start(READER, output, samples, way) for way in ("h5py", "xarray", "result", "summary")}
    told, complaints = writer.communicate()
    assert writer.returncode == 0, complaints
    figures = json.loads(told)
    print(figures)
    for way, reader in readers.items():
        told, complaints = reader.communicate()
        assert reader.returncode == 0, f"{way}: {complaints}"
        print(way, told)
        assert json.loads(told)["seen"] == samples
        assert json.loads(told)["reads"] > 10
    assert figures["megabytes"] < 400
    assert figures["finish"] < 10
    assert figures["files"] <= 3 * most  # superseded ones go when nobody reads them any more
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]
    assert open_result(output)["radius"].tolist() == list(range(samples))
