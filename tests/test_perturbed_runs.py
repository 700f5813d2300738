"""Runs over families of perturbations: from the command line to the file, the tables, the page and the attacks on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.cli.main import main
from distverify.demo import DATA, MODEL
from distverify.errors import DataError, ResultError, SettingsError
from distverify.pages.content import gather
from distverify.pages.wording import in_words
from distverify.settings import Settings
from tests.networks import build_chain

X = np.random.default_rng(5).uniform(0.1, 0.9, (2, 4))
MATRIX = np.random.default_rng(6).standard_normal((4, 2))
COMPUTE = {"jacobian", "lipschitz", "outputs", "radius"}


def network() -> dv.Network:
    return build_chain([4, 6, 3], ["tanh"], np.random.default_rng(2))


def certified(path: Path, **options: object) -> dv.Result:
    chosen: dict = {"eps": [0.05, 0.2], "compute": COMPUTE, "executor": "serial", **options}
    return dv.certify(network(), X, output=path, **chosen)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dv.Result]:
    folder = tmp_path_factory.mktemp("families")
    np.savetxt(folder / "m.csv", MATRIX, delimiter=",")
    given = {"brightness": "brightness", "contrast": "contrast", "haze": "haze", "linear": f"linear:{folder / 'm.csv'}"}
    searched: dict = {"haze": {"compute": COMPUTE | {"monotone", "attack"}, "nodes": 4}}
    return {
        name: certified(folder / f"{name}.h5", perturbation=family, **searched.get(name, {}))
        for name, family in given.items()
    }


def directions(family: str, x: np.ndarray) -> np.ndarray:
    return {
        "brightness": np.ones((4, 1)), "contrast": (x - 0.5)[:, None], "haze": (1.0 - x)[:, None], "linear": MATRIX,
    }[family]  # fmt: skip


@pytest.mark.parametrize("family", ["brightness", "contrast", "haze", "linear"])
def test_all_is_about_the_parameters(family: str, results: dict[str, dv.Result]) -> None:
    result = results[family]
    parameters = 2 if family == "linear" else 1
    assert result["jacobian_lower"].shape == (2, 2, 3, parameters)
    rng = np.random.default_rng(0)
    for k, x in enumerate(X):
        for e, eps in enumerate(result["eps"]):
            t = rng.uniform(-eps, eps, (400, parameters))
            if family == "haze":
                t = np.abs(t)
            moved = x + t @ directions(family, x).T
            values = network()(moved)
            assert (result["output_lower"][k, e] <= values.min(axis=0) + 1e-12).all()
            assert (values.max(axis=0) <= result["output_upper"][k, e] + 1e-12).all()
            quotients = np.abs(values - network()(x)) / np.maximum(np.abs(t).max(axis=1), 1e-12)[:, None]
            assert (quotients.max(axis=0) <= result["lipschitz"][k, e] * (1 + 1e-9)).all()
            if eps < result["radius"][k]:
                assert (values.argmax(axis=1) == result["predicted"][k]).all()
    if family == "haze":  # no haze below none
        assert result.settings.clip == (0.0, 1.0)
        below = -0.2 * directions("haze", X[0])[:, 0]
        assert not np.array_equal(network()(X[0] + below)[0], result["logits"][0])


def test_the_names_of_parameters_are_those_of_the_family(results: dict[str, dv.Result]) -> None:
    assert results["haze"]["input_name"].tolist() == ["haze"]
    assert "input_name" not in results["linear"]
    np.testing.assert_array_equal(results["linear"]["perturbation"], MATRIX)
    assert results["linear"].dims["perturbation"] == ("feature", "input")


@pytest.mark.parametrize("family", ["haze", "linear"])
def test_it_is_told_and_attacked(
    family: str, results: dict[str, dv.Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = results[family]
    formula = {"haze": "x + t (1 - x)", "linear": "x + M t, M of 4 x 2"}[family]
    found = dv.audit(result, network(), X, executor="serial", points=8)
    assert found.violations == 0
    assert sum(f.checked for f in found.findings) > 50
    told = in_words(gather(result))
    assert f"for the inputs {formula}" in told
    assert "with respect to t" in told
    main(["show", str(result.path)], standalone_mode=False)
    assert f"perturbation {family}: inputs {formula}" in " ".join(capsys.readouterr().out.split())


def test_an_audit_finds_what_is_wrong(results: dict[str, dv.Result], tmp_path: Path) -> None:
    """The attack is on inputs of the family: constants of another one break."""
    import h5py

    path = tmp_path / "o.h5"
    path.write_bytes(results["brightness"].path.read_bytes())
    with h5py.File(path, "r+") as file:
        file["lipschitz"][:] *= 0.5
    assert dv.audit(path, network(), X, executor="serial", points=8).violations > 0


def test_a_run_goes_on_with_the_same_family_only(results: dict[str, dv.Result]) -> None:
    path = results["linear"].path
    assert certified(path, perturbation=MATRIX).provenance["run_id"] == results["linear"].provenance["run_id"]
    with pytest.raises(ResultError, match=r"perturbation: this run has haze; .* has linear 4x2"):
        certified(path, perturbation="haze", clip=(-1.0, 1.0))
    other = MATRIX.copy()
    other[0, 0] += 1e-9
    with pytest.raises(ResultError, match="perturbation: this run has linear 4x2"):
        certified(path, perturbation=other)


def test_settings_come_back(results: dict[str, dv.Result]) -> None:
    for result in results.values():
        settings = result.settings
        assert Settings.from_json(settings.to_json(), None, settings.perturbation) == settings
        assert dv.open_result(result.path).settings == settings


def test_single_precision_is_that_of_the_file(tmp_path: Path) -> None:
    """What a runtime evaluates is the file's network after the perturbation's layer, not the folded one."""
    folded = dv.load_network(MODEL)
    one = dv.perturbed(folded, np.full(folded.input_size, 0.25), "brightness")
    assert (one.unfolded is None) == (folded.unfolded is None)
    options: dict = {
        "eps": [0.01],
        "compute": {"outputs"},
        "arithmetic": "float32",
        "samples": "0:1",
        "executor": "serial",
    }
    result = dv.certify(MODEL, DATA, perturbation="brightness", output=tmp_path / "o.h5", **options)
    assert (result["evaluation_error"] > 0.0).all()


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "o.h5"
    words = ["certify", str(MODEL), str(DATA), "--eps", "0.1", "--perturbation", "haze", "--samples", "0:2"]
    words += ["--executor", "serial", "--compute", "lipschitz", "-o", str(output), "--quiet"]
    main(words, standalone_mode=False)
    result = dv.open_result(output)
    assert result.sizes["input"] == 1
    assert (result["lipschitz"] > 0.0).all()
    main(words, standalone_mode=False)
    main(["audit", str(output), str(MODEL), str(DATA), "--executor", "serial"], standalone_mode=False)
    assert "2 samples attacked: every claim held" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbation": "blur"}, "perturbation: got 'blur'; choose brightness, contrast, haze or a matrix"),
        ({"perturbation": np.ones((3, 1))}, "perturbation: got a matrix of 3 rows; the network takes 4 features"),
        ({"perturbation": [[1.0], [2.0, 3.0]]}, "perturbation: got 2 rows of"),
        ({"perturbation": "haze", "domain": (0.0, 1.0)}, "perturbation: got 'haze', but domain is a box of inputs"),
        ({"perturbation": "haze", "compute": {"global", "lipschitz"}}, "perturbation: got haze, which is about inputs"),
        ({"perturbation": "haze", "clip": (0.5, 1.0)}, "clip: got 0.5,1; beside a perturbation it is about t"),
        ({"perturbation": "haze", "pieces_per_sample": 4}, "pieces_per_sample: got 4, but with perturbation"),
        ({"perturbation": "brightness", "input_names": "a,b"}, "input_names: got 2 names; the network has 1 inputs"),
        ({"perturbation": "brightness", "feature_eps": [1.0] * 4}, "feature_eps: got 4 values"),
    ],
)
def test_misuse(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        certified(tmp_path / "o.h5", **options)


def test_pixels_out_of_range_and_files_that_are_no_matrix_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match="perturbation: haze is one of pixels from 0 to 1, and values of the data go from"
    ):
        dv.certify(network(), 200 * X, eps=[0.1], perturbation="haze", output=tmp_path / "o.h5", executor="serial")
    (tmp_path / "m.csv").write_text("1,2\n3\n")
    with pytest.raises(DataError, match=r"m\.csv: is no matrix of numbers .*; give a row for each feature"):
        certified(tmp_path / "o.h5", perturbation=f"linear:{tmp_path / 'm.csv'}")
