"""A verification specialist states a property, has it decided, and does not take the tool's word for it."""

import json
import sys
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main as distverify
from distverify.demo import DATA, MODEL


def property_text(x: np.ndarray, eps: float, label: int, classes: int) -> str:
    """VNN-LIB 1.0: a counterexample lies in the ball, and another class is at least as large as ``label``."""
    lines = [f"(declare-const X_{k} Real)" for k in range(x.size)] + [
        f"(declare-const Y_{k} Real)" for k in range(classes)
    ]
    for k, value in enumerate(x):
        lines += [
            f"(assert (>= X_{k} {max(value - eps, 0.0):.17g}))",
            f"(assert (<= X_{k} {min(value + eps, 1.0):.17g}))",
        ]
    others = " ".join(f"(and (>= Y_{k} Y_{label}))" for k in range(classes) if k != label)
    return "\n".join([*lines, f"(assert (or {others}))"]) + "\n"


def main(folder: Path) -> None:
    """From a property to a verdict, and to attacks on what a run claims."""
    network = dv.load_network(MODEL)
    with np.load(DATA) as held:
        x, label = held["x"][0].reshape(-1).astype(float), int(held["y"][0])
    text = property_text(x, 0.005, label, network.output_size)
    (folder / "query.vnnlib").write_text(text)

    # By the standard's own command line: the first line is the verdict.
    words = ["verify", str(folder / "query.vnnlib"), "--network", f"f={MODEL}"]
    done = CliRunner().invoke(distverify, words, prog_name="distverify")
    print(done.stdout.splitlines()[0])

    # From Python, with branch and bound.
    verdict = dv.verify(network, dv.Ball(x, eps=0.005, clip=(0, 1)), label)
    print(f"{verdict.status} with {verdict.nodes} subproblems")
    assert (verdict.status == "verified") == (done.stdout.splitlines()[0] == "unsat")

    # A run's claims are attacked: no point may break a bound or a radius.
    dv.certify(
        MODEL, DATA, eps=0.01, clip=(0, 1), compute={"lipschitz", "radius"}, samples="0:6",
        output=folder / "out.h5", executor="serial",
    )  # fmt: skip
    outcome = dv.audit(folder / "out.h5", MODEL, DATA, points=8, executor="serial")
    assert outcome.violations == 0
    print(json.dumps(outcome.to_json())[:200])

    # In continuous integration: an exit status, and a report for the server.
    demands = dv.check(folder / "out.h5", certified_at=0.0, least=0.5)
    assert demands.holds
    (folder / "check.xml").write_text(demands.to_junit())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
