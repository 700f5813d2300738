"""Verdicts of public verification benchmarks, one row an instance: ``python -m tests.bench.verdicts [WORD ...] [--nodes N]``.

Rows whose network or property has one of the words in its name; without words, all. CPU seconds of one thread. The known verdicts
are those by majority of seven tools (VNN-COMP 2021: mnistfc and acasxu).
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from pathlib import Path

import numpy as np

from distverify.analysis.property import decide_property
from distverify.data.vnnlib.property import load_property
from distverify.network.graph import Network
from distverify.network.onnx.importer import load_onnx
from tests.bench.cases import DATA

FOLDER = DATA / "vnncomp2021"
SAYS = {"verified": "unsat", "falsified": "sat", "unknown": "unknown"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--nodes", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=None, help="of wall time per instance")
    arguments = parser.parse_args()
    networks: dict[Path, Network] = {}
    times: list[float] = []
    wrong = decided = 0
    print("| network | property | known | verdict | seconds | nodes | bound |\n|---|---|---|---|---|---|---|")
    with (FOLDER / "instances_with_verdicts.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if arguments.words and not any(w in f"{row['network']} {row['property']}" for w in arguments.words):
                continue
            path = FOLDER / row["network"]
            path = path if path.exists() else DATA / row["network"]
            network = networks.setdefault(path, load_onnx(path))
            prop = load_property(
                FOLDER / row["property"], input_size=network.input_size, output_size=network.output_size
            )
            start = time.process_time()
            verdict = decide_property(network, prop, arguments.nodes, arguments.seconds)
            times.append(time.process_time() - start)
            says = SAYS[verdict.status]
            decided += says != "unknown"
            wrong += "unknown" not in (says, row["verdict"]) and says != row["verdict"]
            bound = float(np.min(verdict.bound, initial=np.inf))
            cells = (
                row["network"],
                row["property"],
                row["verdict"],
                says,
                f"{times[-1]:.2f}",
                verdict.nodes,
                f"{bound:.4g}",
            )
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    print(f"\ndecided {decided} of {len(times)}, {wrong} against the known verdict")
    print(f"{sum(times):.1f} s together, median {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
