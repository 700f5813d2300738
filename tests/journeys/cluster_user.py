"""A cluster user estimates a run, cuts it for a job array, and makes one result of the parts."""

import json
import sys
from pathlib import Path

from click.testing import CliRunner

from distverify.cli.main import main as distverify
from distverify.demo import DATA, MODEL

PARTS = 3


def shell(*words: object) -> str:
    """What ``distverify WORDS`` prints; a shell script has the same lines."""
    done = CliRunner().invoke(distverify, [str(word) for word in words], prog_name="distverify")
    assert done.exit_code == 0, done.output
    return done.stdout


def main(folder: Path) -> None:
    """What an array of PARTS jobs does, one after the other."""
    (folder / "run.toml").write_text(
        f'model = "{MODEL}"\ndata = "{DATA}"\nsamples = "0:9"\neps = 0.02\nclip = [0, 1]\ncompute = "radius"\n'
    )
    config = ("--config", folder / "run.toml")

    # Before a cluster is booked.
    predicted = json.loads(shell("estimate", *config, "--timed", 2, "--json"))
    print(f"{predicted['core_hours']:.2g} core-hours, {predicted['memory'] / 1e9:.2g} GB for each worker")

    # Slurm: --part $SLURM_ARRAY_TASK_ID/3, and --address for each task's own head.
    for k in range(1, PARTS + 1):
        output = folder / f"part-{k}.h5"
        shell(
            "certify",
            *config,
            "--part",
            f"{k}/{PARTS}",
            "-o",
            output,
            "--executor",
            "serial",
            "--progress",
            "json",
            "-q",
        )
        print(shell("show", output, "--short").strip())

    parts = [folder / f"part-{k}.h5" for k in range(1, PARTS + 1)]
    print(shell("merge", *parts, "-o", folder / "whole.h5"))
    told = json.loads(shell("show", folder / "whole.h5", "--json"))
    assert (told["samples"], told["complete"]) == (9, True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
