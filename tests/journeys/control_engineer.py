"""A control engineer proves facts about a small controller: outputs, gains, signs of derivatives, over whole boxes of states."""

import sys
from pathlib import Path

import numpy as np

import distverify as dv


def main(folder: Path) -> None:
    """From the arrays of a trained controller to a result file with names and units."""
    generator = np.random.default_rng(0)
    weights = [(generator.normal(size=(8, 2)) * 0.5, np.zeros(8)), (generator.normal(size=(1, 8)) * 0.4, np.zeros(1))]
    controller = dv.Network.from_layers(weights, activation="tanh")

    # What the command can be over all states of interest.
    states = dv.Box([-1.0, -2.0], [1.0, 2.0])
    command = dv.output_bounds(controller, states)
    print(f"torque within [{command.lower[0]:.3f}, {command.upper[0]:.3f}] N m")

    # The gain from each state: bounds of the derivative, and its sign where that is certain.
    gains = dv.jacobian_bounds(controller, states)
    assert (gains.lower <= gains.upper).all()
    print(f"gains between {gains.lower[0].round(3)} and {gains.upper[0].round(3)}")

    # The actuator's limit is a property: 5 - f(x) > 0 and f(x) + 5 > 0 for all states.
    verdict = dv.verify(controller, states, rows=[[-1.0], [1.0]], bounds=[-5.0, -5.0])
    assert verdict.status == "verified", verdict

    # Around recorded states, as a run with names and units.
    recorded = generator.uniform([-1, -2], [1, 2], size=(6, 2))
    result = dv.certify(
        controller, recorded, eps=0.1, compute={"jacobian", "lipschitz", "outputs"}, output=folder / "controller.h5",
        input_names=["angle [rad]", "rate [rad/s]"], output_names=["torque [N m]"], executor="serial",
    )  # fmt: skip
    lower, upper = result.hull()
    assert (lower <= upper).all()
    columns = dv.export(result, folder / "bounds.csv", arrays=["output_lower", "output_upper"], long=True)
    print(f"written: {', '.join(columns)}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
