"""A researcher compares two methods on one network, and puts the outcome in a paper."""

import sys
from pathlib import Path

import distverify as dv
from distverify.demo import DATA, MODEL


def main(folder: Path) -> None:
    """Certify with two methods, compare, and write a table and a page."""
    # The same run twice; what differs is how Jacobians are bounded.
    radii = [0.01, 0.02, 0.05]
    runs = {
        method: dv.certify(
            MODEL, DATA, eps=radii, clip=(0, 1), method=method, compute={"lipschitz", "radius"}, samples="0:12",
            output=folder / f"{method}.h5", executor="serial", name=f"digits, {method}",
        )
        for method in ("linear", "fastlip")
    }  # fmt: skip

    # Arrays by name, for figures of your own.
    share = runs["linear"].certified_accuracy(radii)
    tighter = runs["fastlip"]["lipschitz_vector"] >= runs["linear"]["lipschitz_vector"]
    print(f"certified at {radii}: {share}; linear is at least as tight in {tighter.mean():.0%} of the balls")

    # A page that compares both, and the table of a paper.
    dv.report(list(runs.values()), folder / "comparison.html")
    dv.export(runs["linear"], folder / "table.tex")

    # One sample closely: the constant lies between what is attained and what is certified.
    network = dv.load_network(MODEL)
    ball = dv.Ball([0.5] * network.input_size, eps=0.01)
    lipschitz = dv.lipschitz_constant(network, ball)
    print(f"Lipschitz constants of the outputs around grey: {lipschitz.rows.round(2)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
