"""Print what a run of many small units costs its driver and its readers: ``python -m tests.bench.journal [--units N] [--folder DIR]``.

Units of one sample are committed one after the other, with at most 256 open files; before the end the journal is opened afresh, as
a run that continues does, and read by ``distverify show``. On a disk a commit waits for it twice; in memory (``--folder /dev/shm``)
only the work is measured.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from distverify.results.journal.journal import Journal
from distverify.results.reader import open_result
from distverify.work import WorkUnit
from tests.results.runs import END, make_manifest, make_payload

OPEN_FILES = 256


def show_seconds(output: Path) -> float:
    """Of the command, from a cold start of Python on."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "distverify", "show", str(output)], check=True, stdout=subprocess.DEVNULL, env=os.environ
    )
    return time.perf_counter() - begin


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--folder", type=Path, help="where the result is written (default: that of temporary files)")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    manifest = make_manifest(chosen.units, 1, compute=("lipschitz", "radius"), input_size=784, output_size=10)
    payload = make_payload(manifest, WorkUnit(0, 1))
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        output = Path(folder) / "out.h5"
        begin = time.perf_counter()
        with Journal.open(output, manifest) as journal:
            for unit in journal.pending(manifest.plan.units() if manifest.plan else []):
                journal.commit(unit, payload | {"seconds": np.array([float(unit.start)])})
        committed = time.perf_counter() - begin
        files = len(list(output.with_name("out.h5.parts").glob("*.h5")))
        unfinished = show_seconds(output)
        begin = time.perf_counter()
        journal = Journal.open(output, manifest)
        opened = time.perf_counter() - begin
        begin = time.perf_counter()
        journal.consolidate(END)
        journal.close()
        finished = time.perf_counter() - begin
        assert (open_result(output)["seconds"] == np.arange(chosen.units)).all()
        print("| units | a commit | files | driver | opened again | finished | show, unfinished | show, finished |")
        print("|---|---|---|---|---|---|---|---|")
        print(
            f"| {chosen.units:,} | {committed / chosen.units * 1e3:.1f} ms | {files} | {megabytes():.0f} MB | {opened:.1f} s "
            f"| {finished:.1f} s | {unfinished:.1f} s | {show_seconds(output):.1f} s |"
        )


if __name__ == "__main__":
    main()
