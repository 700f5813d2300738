"""Names and units of inputs and outputs, from the option to the file, tables, report and exports."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import distverify as dv
from distverify.cli.main import main
from distverify.demo import DATA, MODEL

INPUTS, OUTPUTS = ("speed [m/s]", "angle [rad]", "load"), ("thrust [N]", "=lift")


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dv.Result:
    generator = np.random.default_rng(0)
    layers = [(generator.standard_normal((8, 3)), np.zeros(8)), (generator.standard_normal((2, 8)), np.zeros(2))]
    output = tmp_path_factory.mktemp("names") / "out.h5"
    return dv.certify(
        dv.Network.from_layers(layers, "tanh"), generator.uniform(size=(4, 3)), eps=0.01, compute=("jacobian", "outputs"),
        input_names=INPUTS, output_names="thrust [N],=lift", output=output, executor="serial",
    )  # fmt: skip


def test_they_are_in_the_file_with_their_units(result: dv.Result) -> None:
    assert result["input_name"].tolist() == list(INPUTS)
    assert result["output_name"].tolist() == list(OUTPUTS)
    assert result.dims["output_name"] == ("output",)
    with h5py.File(result.path) as file:
        assert json.loads(file["input_name"].attrs["units_of_each"]) == ["m/s", "rad", ""]
        assert file["input_name"].dims[0].keys() == ["input"]


def test_report_tables_and_exports_use_them(result: dv.Result, tmp_path: Path) -> None:
    page = dv.report(result, tmp_path / "page.html").read_text(encoding="utf-8")
    for name in (*INPUTS, *OUTPUTS):
        assert name in page
    shown = CliRunner().invoke(main, ["show", str(result.path)])
    assert shown.exit_code == 0, shown.output
    assert "1   angle [rad]" in shown.stdout
    columns = dv.export(result, tmp_path / "out.csv", arrays=["output_lower"])
    assert columns == ["sample", "output_lower[eps=0.01,output=thrust [N]]", "output_lower[eps=0.01,output==lift]"]
    with (tmp_path / "out.csv").open(newline="") as file:
        assert next(csv.reader(file)) == columns
    assert {"input_name", "output_name"} <= set(dv.export(result, tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz", allow_pickle=False) as arrays:
        assert arrays["output_name"].tolist() == list(OUTPUTS)


def test_a_continued_run_keeps_them(result: dv.Result) -> None:
    assert dv.open_result(result.path)["input_name"].tolist() == list(INPUTS)


def test_from_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"pixel {k}" for k in range(64)))
    digits = ",".join(f"digit {k}" for k in range(10))
    arguments = ["certify", str(MODEL), str(DATA), "--samples", "0:2", "--compute", "lipschitz", "--eps", "0.01", "-q",
                 "--executor", "serial", "--input-names", str(tmp_path / "names.txt"), "--output-names", digits]  # fmt: skip
    done = CliRunner().invoke(main, [*arguments, "-o", str(tmp_path / "out.h5")])
    assert done.exit_code == 0, done.output
    opened = dv.open_result(tmp_path / "out.h5")
    assert opened["input_name"][-1] == "pixel 63"
    assert opened["output_name"].tolist() == digits.split(",")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "b"), "input_names: got 2 names; the network has 3 inputs, give a name for each"),
        (("a", " ", "c"), "input_names: got an empty name; the network has 3 inputs"),
    ],
)
def test_misuse(names: tuple[str, ...], message: str, tmp_path: Path) -> None:
    network = dv.Network.from_layers([(np.eye(3), np.zeros(3))])
    with pytest.raises(dv.SettingsError, match=message):
        dv.certify(network, np.zeros((1, 3)), eps=0.1, input_names=names, output=tmp_path / "out.h5", executor="serial")
    with pytest.raises(dv.DataError, match=r"none\.txt: cannot be read"):
        dv.certify(
            network,
            np.zeros((1, 3)),
            eps=0.1,
            input_names=tmp_path / "none.txt",
            output=tmp_path / "out.h5",
            executor="serial",
        )


def test_a_table_names_its_features(tmp_path: Path) -> None:
    network = dv.Network.from_layers([(np.eye(3), np.zeros(3))])
    table = tmp_path / "data.csv"
    table.write_text("label,speed [m/s],angle,load\n0,1,0.5,0.25\n1,0.5,1,0.25\n")
    run = {"eps": 0.1, "compute": ("lipschitz",), "executor": "serial"}
    result = dv.certify(network, table, output=tmp_path / "a.h5", **run)  # type: ignore[arg-type]
    assert result["input_name"].tolist() == ["speed [m/s]", "angle", "load"]
    said = dv.certify(network, table, output=tmp_path / "b.h5", input_names="a,b,c", **run)  # type: ignore[arg-type]
    assert said["input_name"].tolist() == ["a", "b", "c"], "what is said counts more"
    table.write_text("label,0,1,2\n0,1,0.5,0.25\n1,0.5,1,0.25\n")
    assert "input_name" not in dv.certify(network, table, output=tmp_path / "c.h5", **run)  # type: ignore[arg-type]
