from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from distverify.api import certify
from distverify.cli.main import main
from distverify.demo import DATA, MODEL
from distverify.errors import SettingsError
from distverify.forecast.estimate import choose_samples, estimate

# The promise to users; the machine's own ups and downs are in it.
FACTOR = 1.5
# Other processes of the machine may slow one of the two down by more than that; three times in a row is no accident.
ATTEMPTS = 3


@pytest.mark.slow
def test_prediction_is_near_a_real_run(tmp_path: Path) -> None:
    options = {"eps": (0.02, 0.05), "compute": ("jacobian", "lipschitz", "radius"), "clip": (0.0, 1.0)}
    for attempt in range(ATTEMPTS):
        predicted = estimate(MODEL, DATA, timed=16, seed=attempt, **options)
        result = certify(MODEL, DATA, output=tmp_path / f"{attempt}.h5", executor="serial", **options)
        real = result["seconds"].sum() / 3600
        if real / FACTOR < predicted.core_hours < real * FACTOR:
            break
    else:
        pytest.fail(f"predicted {predicted.core_hours} core-hours, took {real}")
    assert predicted.core_hours_low <= predicted.core_hours <= predicted.core_hours_high
    assert predicted.file_size == pytest.approx(result.path.stat().st_size, rel=0.05)
    assert (predicted.samples, predicted.timed, predicted.failures) == (200, 16, ())
    assert 5e7 < predicted.memory < 5e9
    assert 1 <= predicted.actors <= 200


def test_samples_come_from_every_group() -> None:
    logits = np.zeros((100, 3))
    logits[:, 0] = np.random.default_rng(0).permutation(100)
    chosen = choose_samples(logits, 5)
    assert sorted(logits[chosen, 0] // 20) == [0, 1, 2, 3, 4]
    assert choose_samples(logits, 5, seed=1).tolist() != chosen.tolist()
    assert choose_samples(logits[:3], 5).tolist() == [0, 1, 2]
    assert len(choose_samples(logits[:, :1], 4)) == 4


def test_every_sample_timed_leaves_the_least_spread() -> None:
    predicted = estimate(MODEL, DATA, timed=8, samples="0:4", compute=("lipschitz",), eps=(0.01,))
    assert (predicted.samples, predicted.timed) == (4, 4)
    assert predicted.core_hours_high <= predicted.core_hours * 1.16


def test_units_of_the_run_are_those_of_the_estimate(tmp_path: Path) -> None:
    """Scale, normalisation and their units are not applied twice: the model is as accurate as in the run."""
    with np.load(DATA) as arrays:
        np.savez(tmp_path / "raw.npz", x=arrays["x"] * 16.0, y=arrays["y"])
    for units in ("raw", "normalised"):
        found = estimate(
            MODEL,
            tmp_path / "raw.npz",
            scale=16.0,
            mean=0.0,
            std=1.0,
            eps_units=units,
            timed=3,
            eps=(0.01,),
            compute=("radius",),
        )
        assert found.failures == ()


def test_misuse() -> None:
    with pytest.raises(SettingsError, match="timed: got 1; give a whole number of at least 2"):
        estimate(MODEL, DATA, timed=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'overwrite'"):
        estimate(MODEL, DATA, overwrite=True)  # type: ignore[call-arg]


def test_property_files_and_instance_lists(tmp_path: Path) -> None:
    """Estimated by the same way as they are verified: each one a sample, its box's middle telling how clear it is."""
    declared = [f"(declare-const X_{i} Real)" for i in range(64)] + [f"(declare-const Y_{j} Real)" for j in range(10)]
    for k in range(4):
        box = [f"(assert (>= X_{i} {0.1 * k:.1f})) (assert (<= X_{i} {0.1 * k + 0.1:.1f}))" for i in range(64)]
        (tmp_path / f"{k}.vnnlib").write_text("\n".join([*declared, *box, "(assert (<= Y_0 Y_1))"]))
    (tmp_path / "instances.csv").write_text("".join(f"digits.onnx,{k}.vnnlib,60\n" for k in range(4)))
    for data in (tmp_path / "instances.csv", [tmp_path / f"{k}.vnnlib" for k in range(4)]):
        predicted = estimate(MODEL, data, timed=2)
        assert (predicted.samples, predicted.timed, predicted.failures) == (4, 2, ())
        assert predicted.core_hours > 0
        assert predicted.file_size > 0
    done = CliRunner().invoke(main, ["estimate", str(MODEL), str(tmp_path / "instances.csv"), "--timed", "2"])
    assert done.exit_code == 0, done.output
    assert "2 of 4 samples" in done.stdout


def test_command_line() -> None:
    arguments = ["estimate", str(MODEL), str(DATA), "--eps", "0.02", "--timed", "3", "--clip", "0,1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    for expected in (
        "3 of 200 samples",
        "Core-hours",
        "Memory per worker",
        "Result file",
        "pay off (--max-actors)",
        "of this machine",
    ):
        assert expected in done.stdout
    refused = CliRunner().invoke(main, [*arguments, "--overwrite"])
    assert refused.exit_code == 2
    assert "No such option" in refused.stderr
