"""Print what it takes to merge the parts of a run: ``python -m tests.bench.merging [--samples N ...] [--parts K] [--folder DIR]``.

Results of ``--compute lipschitz,radius`` at two radii for a network of 784 inputs and 10 outputs, made of random numbers; sample after
sample in turn belongs to each part, as ``certify --part I/N`` has it. Processor time of this process, and sizes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from distverify.results.journal.journal import Journal
from distverify.results.manifest import Manifest
from distverify.results.merging import PART, merge
from distverify.results.schema import variables_for
from distverify.status import OK
from distverify.work import Payload, WorkUnit
from tests.bench.journal import megabytes
from tests.results.runs import END, make_manifest

UNIT = 1000  # samples


def payload(manifest: Manifest, unit: WorkUnit) -> Payload:
    generator = np.random.default_rng(unit.start)
    arrays: Payload = {}
    for variable in variables_for(manifest.settings):
        shape = (unit.size, *variable.shape(manifest.sizes)[1:])
        arrays[variable.name] = (
            generator.random(shape) if variable.dtype == "float64" else np.ones(shape, variable.dtype)
        )
    return arrays | {"status": np.full(unit.size, OK, dtype=np.int8), "message": np.full(unit.size, "", dtype=object)}


def parts(samples: int, count: int, folder: Path) -> Iterator[Path]:
    """The finished parts of a run."""
    for number in range(1, count + 1):
        mine = range(number - 1, samples, count)
        manifest = make_manifest(
            len(mine), UNIT, compute=("lipschitz", "radius"), input_size=784, output_size=10, indices=tuple(mine)
        )
        told = {"number": number, "of": count, "digest": "d" * 64, "samples": samples}
        manifest = replace(manifest, environment={**manifest.environment, PART: told})
        path = folder / f"part-{number}.h5"
        with Journal.open(path, manifest) as journal:
            assert manifest.plan is not None
            for unit in journal.pending(manifest.plan.units()):
                journal.commit(unit, payload(manifest, unit))
            journal.consolidate(END)
        yield path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[50_000, 200_000])
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where files are written (default: that of temporary files)")
    chosen = parser.parse_args()
    print("| samples, parts | merge, processor time (s) | per 10^6 samples (s) | bytes per sample | peak memory (MB) |")
    print("|---|---|---|---|---|")
    for samples in chosen.samples:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            made = list(parts(samples, chosen.parts, Path(name)))
            begin = time.process_time()
            whole = merge(made, Path(name) / "whole.h5")
            seconds = time.process_time() - begin
            size = whole.path.stat().st_size / samples
        rate = seconds / samples * 1e6
        print(
            f"| {samples}, {chosen.parts} | {seconds:.2f} | {rate:.0f} | {size:.0f} | {megabytes():.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
