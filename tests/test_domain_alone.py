"""A box with a range for each feature instead of data: from files and arrays, in the result, in the report, and under attack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.cli.main import main
from distverify.errors import DataError, SettingsError
from distverify.network.graph import Network
from distverify.region import Box
from distverify.settings import Settings
from tests.networks import build_chain

LOWER, UPPER = np.array([-0.5, 0.2, -0.4]), np.array([0.5, 0.2, 0.4])


def network() -> Network:
    return build_chain([3, 8, 6, 2], ["tanh", "tanh"], np.random.default_rng(3))


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dv.Result:
    folder = tmp_path_factory.mktemp("domain")
    (folder / "box.csv").write_text("-0.5,0.2,-0.4\n0.5,0.2,0.4\n")
    return dv.certify(
        network(), domain=folder / "box.csv", output=folder / "o.h5", executor="serial",
        input_names=["speed [m/s]", "angle", "height"], output_names=["thrust [N]", "torque"],
    )  # fmt: skip


def test_all_that_a_domain_has_is_bounded(result: dv.Result) -> None:
    box = Box(LOWER, UPPER)
    bounds = dv.jacobian_bounds(network(), box)
    np.testing.assert_array_equal(result["domain_jacobian_lower"], bounds.lower)
    assert result["domain_lipschitz"] == pytest.approx(dv.lipschitz_constant(network(), box).rows)
    points = np.random.default_rng(0).uniform(LOWER, UPPER, (500, 3))
    values = network()(points)
    assert (result["domain_output_lower"] <= values.min(axis=0)).all()
    assert (values.max(axis=0) <= result["domain_output_upper"]).all()
    assert result["domain_monotone"].shape == (2, 3)
    assert result["sample"].tolist() == [0]
    assert "lipschitz" not in result


def test_the_settings_hold_both_rows(result: dv.Result) -> None:
    assert result.settings.domain == (tuple(LOWER), tuple(UPPER))
    assert Settings.from_json(result.settings.to_json()) == result.settings


def test_rows_may_be_arrays(tmp_path: Path, result: dv.Result) -> None:
    again = dv.certify(network(), domain=(LOWER, UPPER), output=tmp_path / "a.h5", executor="serial")
    np.testing.assert_array_equal(again["domain_lipschitz"], result["domain_lipschitz"])


def test_it_is_told_and_attacked(result: dv.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = dv.report(result, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "all inputs of the domain of 3 features, each with its own range" in page
    assert "speed [m/s]" in page
    assert "balls of radius" not in page
    assert dv.audit(result, network(), executor="serial", points=32).violations == 0
    main(["show", str(result.path)], standalone_mode=False)
    assert "domain of 3 features" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "data: is missing; give samples, or a box that stands for all inputs"),
        ({"domain": (0.0, 1.0), "eps": [0.1]}, "eps: is about samples, and there are none"),
        (
            {"domain": (0.0, 1.0), "compute": {"radius", "lipschitz"}},
            "compute: radius is about samples, and there are none",
        ),
        ({"domain": ([0.0, 1.0], [1.0])}, "domain: got 2 lower and 1 upper values"),
        ({"domain": ([0.0, 1.0], [1.0, 0.5])}, "domain: feature 1 is from 1.0 to 0.5; give finite lower and upper"),
        ({"domain": ([0.0, 1.0], [0.0, 1.0])}, "domain: is a single point"),
        ({"domain": ([0.0, 1.0], [1.0, 2.0])}, "domain: got a box of 2 features; the network takes 3"),
        (
            {"domain": (np.zeros(2000), np.ones(2000))},
            "domain: got a box of 2000 features; a row for each side takes at most 1000",
        ),
    ],
)
def test_misuse(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        dv.certify(network(), output=tmp_path / "o.h5", executor="serial", **options)


def test_a_file_of_an_odd_number_of_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "box.csv").write_text("1,2,3\n")
    with pytest.raises(DataError, match=r"box\.csv: holds 3 numbers; give a lower and an upper row"):
        dv.certify(network(), domain=tmp_path / "box.csv", output=tmp_path / "o.h5", executor="serial")
