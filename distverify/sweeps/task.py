"""One instance, by a process of its own: it ends in time, and its death is no one else's."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from distverify.sweeps.instances import BenchmarkInstance
from distverify.sweeps.results import WORDS, InstanceResult

# Seconds beyond its limit after which a process is taken for hung.
_PATIENCE = 10.0


def run_instance(instance: BenchmarkInstance) -> InstanceResult:
    """Ask ``distverify verify``, with one thread."""
    command = [sys.executable, "-m", "distverify", "verify", str(instance.path), "--timeout", f"{instance.seconds:g}"]
    for name, model in instance.models:
        command += ["--network", f"{name or 'N'}={model}"]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    variables["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), variables.get("PYTHONPATH", "")])
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "result"
        try:
            done = subprocess.run(
                [*command, "--results-file", str(told)],
                env=variables, capture_output=True, text=True, timeout=instance.seconds + _PATIENCE, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return InstanceResult("timeout", time.monotonic() - begun, message="the process hung")
        seconds = time.monotonic() - begun
        verdict = done.stdout.partition("\n")[0]
        if done.returncode or verdict not in WORDS:
            lines = done.stderr.strip().splitlines()
            return InstanceResult(
                "error", seconds, message=lines[-1][:500] if lines else f"exit status {done.returncode}"
            )
        text = told.read_text(encoding="utf-8") if told.is_file() else ""
    assignment = text if verdict == "sat" else ""
    lines = done.stderr.strip().splitlines()
    return InstanceResult(
        WORDS[verdict], seconds, assignment, lines[-1][:500] if lines and verdict == "unknown" else ""
    )
