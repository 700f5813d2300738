"""Attacks against honest and falsified results."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from distverify import inputs as inputs_module
from distverify.api import certify
from distverify.attacks import audit as audit_module
from distverify.attacks.audit import Audit, audit
from distverify.attacks.claims import all_claims
from distverify.cli.main import main
from distverify.errors import ModelError, ResultError, SettingsError
from distverify.network.graph import Network
from distverify.quantities import catalogue
from distverify.results.reader import open_result

NORMS = (np.inf, 2.0, 1.0)
OF_SAMPLES = ("jacobian", "landscape", "lipschitz", "margins", "monotone", "outputs", "radius", "verified")
Falsify = Callable[[Any], None]


def network() -> Network:
    generator = np.random.default_rng(5)
    sizes = (4, 12, 10, 3)
    layers = [(generator.normal(size=(b, a)) / np.sqrt(a), 0.3 * generator.normal(size=b)) for a, b in pairwise(sizes)]
    # Every class somewhere in the unit box: elsewhere there would be nothing to attack.
    mean = Network.from_layers(layers, "relu")(generator.uniform(size=(500, 4))).mean(axis=0)
    return Network.from_layers([*layers[:-1], (layers[-1][0], layers[-1][1] - mean)], "relu")


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(6).uniform(0.1, 0.9, (6, 4))
    return x, network()(x).argmax(axis=1)


def run(path: Path, data: tuple[np.ndarray, np.ndarray], **options: Any) -> Path:
    given = {"eps": (0.02, 0.3), "compute": OF_SAMPLES, "clip": (0.0, 1.0)} | options
    certify(network(), *data, output=path, executor="serial", **given)
    return path


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, data: tuple[np.ndarray, np.ndarray]) -> Path:
    return run(tmp_path_factory.mktemp("audit") / "honest.h5", data)


def attack(path: Path, data: tuple[np.ndarray, np.ndarray], **options: Any) -> Audit:
    return audit(open_result(path), network(), *data, executor="serial", **options)


@pytest.mark.parametrize(
    ("norm", "clip"),
    [
        (np.inf, (0.0, 1.0)),
        *(
            pytest.param(n, c, marks=pytest.mark.slow)
            for n in NORMS
            for c in (None, (0.0, 1.0))
            if (n, c) != (np.inf, (0.0, 1.0))
        ),
    ],
)
def test_an_honest_result_holds_and_is_nearly_reached(
    tmp_path: Path, data: tuple[np.ndarray, np.ndarray], norm: float, clip: tuple[float, float] | None
) -> None:
    found = attack(run(tmp_path / "out.h5", data, norm=norm, clip=clip), data)
    assert (found.samples, found.violations, found.failures) == (6, 0, {})
    by_name = {f.variable: f for f in found.findings}
    assert by_name["jacobian_lower"].checked == 6 * 2 * 3 * 4
    assert by_name["lipschitz"].closest > 0.9
    assert by_name["radius"].closest > 0.3, "the attack finds adversarial points not far beyond the certified radius"
    for f in found.findings:
        assert f.checked > 0
        assert not f.closest > 1 + 1e-9


def scaled(factor: float) -> Falsify:
    def change(dataset: Any) -> None:
        dataset[...] = dataset[...] * factor

    return change


def shifted(step: float) -> Falsify:
    def change(dataset: Any) -> None:
        dataset[...] = dataset[...] + step

    return change


def flipped(dataset: Any) -> None:
    dataset[...] = -dataset[...]


def everywhere(value: int) -> Falsify:
    def change(dataset: Any) -> None:
        dataset[...] = value

    return change


FALSIFIED: dict[str, Falsify] = {
    "logits": shifted(1e-6),
    "predicted": shifted(1),
    "jacobian_lower": shifted(0.05),
    "jacobian_upper": shifted(-0.05),
    "hull_lower": shifted(1.0),
    "hull_upper": shifted(-1.0),
    "monotone": flipped,
    "output_lower": shifted(0.5),
    "output_upper": shifted(-0.5),
    "lipschitz": scaled(0.7),
    "lipschitz_vector": scaled(0.6),
    "lipschitz_margin": scaled(0.7),
    "radius": scaled(8.0),
    "radius_crown": scaled(8.0),
    "radius_jacobian": scaled(8.0),
    "radius_target": scaled(8.0),
    "verified": everywhere(1),
    "stationary_free_radius": shifted(1.0),
}


def test_every_claim_about_samples_is_falsified_below(honest: Path) -> None:
    assert {c.variable for c in all_claims()} & set(open_result(honest)) == set(FALSIFIED)


@pytest.mark.parametrize(
    "variable",
    [
        v if v in ("jacobian_lower", "radius", "verified") else pytest.param(v, marks=pytest.mark.slow)
        for v in FALSIFIED
    ],
)
def test_a_falsified_value_is_caught(
    honest: Path, tmp_path: Path, data: tuple[np.ndarray, np.ndarray], variable: str
) -> None:
    path = Path(shutil.copy(honest, tmp_path / "false.h5"))
    with h5py.File(path, "r+") as file:
        FALSIFIED[variable](file[variable])
    found = attack(path, data)
    assert {f.variable for f in found.findings if f.broken} == {variable}
    assert found.unchanged is False
    (finding,) = (f for f in found.findings if f.broken)
    first = finding.worst[0]
    assert first.variable == variable
    assert 0 <= first.sample < 6
    assert first.bound != first.attained


@pytest.mark.slow
@pytest.mark.skipif("global" not in catalogue.names(), reason="needs constants of the whole network")
def test_claims_about_the_network_and_a_domain(tmp_path: Path, data: tuple[np.ndarray, np.ndarray]) -> None:
    path = run(
        tmp_path / "out.h5", data, compute=("global", "jacobian", "lipschitz", "monotone", "outputs"), domain=(0.0, 1.0)
    )
    told = attack(path, data)
    assert (told.violations, told.unchanged) == (0, True)
    names = [n for n in open_result(path) if n.startswith(("global_", "domain_", "product_"))]
    assert set(names) <= {c.variable for c in all_claims()}
    changes = {"lower": shifted(5.0), "upper": shifted(-5.0), "monotone": everywhere(1)}
    for name in names:
        false = Path(shutil.copy(path, tmp_path / "false.h5"))
        with h5py.File(false, "r+") as file:
            next((c for key, c in changes.items() if key in name), scaled(0.01))(file[name])
        assert {f.variable for f in attack(false, data).findings if f.broken} == {name}


def test_other_models_and_data_are_refused(honest: Path, data: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = data
    other = Network.from_layers([(np.eye(3, 4), np.zeros(3))])
    with pytest.raises(
        ResultError, match=r"model: has digest \w{12}, but the result was computed from network with digest"
    ):
        audit(open_result(honest), other, x, y, executor="serial")
    with pytest.raises(
        ResultError, match=r"data: has digest \w{12}, but the result was computed from arrays.*give the same data"
    ):
        attack(honest, (x + 1e-9, y))
    with pytest.raises(ResultError, match="data: has digest"):
        attack(honest, (x, (y + 1) % 3))
    with pytest.raises(SettingsError, match="points: got 3; give a whole number of at least 8"):
        attack(honest, data, points=3)


def test_features_that_are_fixed_stay_fixed(tmp_path: Path, data: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("distverify.data.vector")
    try:
        path = run(tmp_path / "out.h5", data, feature_eps=np.array([1.0, 0.0, 2.0, 0.5]))
    except TypeError:
        pytest.skip("no factors per feature")
    assert attack(path, data).violations == 0


def test_an_attack_that_fails_is_told(
    honest: Path, data: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, network: Any, sample: Any, settings: Any) -> Any:
        if sample.index == 2:
            raise ArithmeticError("no luck")
        return original(self, network, sample, settings)

    original = audit_module.Attack.__call__
    monkeypatch.setattr(audit_module.Attack, "__call__", fail)
    found = attack(honest, data)
    assert found.failures == {2: "ArithmeticError: no luck"}
    assert (found.samples, found.violations) == (5, 0)


@pytest.fixture
def files(tmp_path: Path, data: tuple[np.ndarray, np.ndarray]) -> tuple[str, str, str]:
    """A result on the shipped network and images, with raw values and a selection that only the result remembers."""
    from distverify.demo import DATA, MODEL

    with np.load(DATA) as arrays:
        np.savez(tmp_path / "raw.npz", x=arrays["x"] * 16.0, y=arrays["y"])
    certify(
        MODEL, tmp_path / "raw.npz", scale=16.0, samples="5,3", mean=0.0, std=1.0, eps=(0.02,), compute=("lipschitz", "radius"),
        output=tmp_path / "out.h5", executor="serial",
    )  # fmt: skip
    return str(tmp_path / "out.h5"), str(MODEL), str(tmp_path / "raw.npz")


def test_command_line(files: tuple[str, str, str]) -> None:
    done = CliRunner().invoke(main, ["audit", *files, "--executor", "serial", "--points", "16"])
    assert done.exit_code == 0, done.output
    assert "2 samples attacked: every claim held" in done.stdout
    assert "lipschitz_vector" in done.stdout
    with h5py.File(files[0], "r+") as file:
        file["radius"][1] = 5.0
    broken = CliRunner().invoke(main, ["audit", *files, "--executor", "serial", "-q"])
    assert broken.exit_code == 1
    assert "BROKEN: radius of sample 3: the file says 5, attained 0." in broken.stdout
    assert "CHANGED: the file is not as the run wrote it" in broken.stdout
    assert "2 samples attacked: 1 values are broken" in broken.stdout


@pytest.mark.slow
@pytest.mark.ray
def test_ray_and_serial_attack_alike(files: tuple[str, str, str]) -> None:
    result, model, samples = files
    serial, ray = (audit(open_result(result), model, samples, executor=e, points=8) for e in ("serial", "ray"))
    assert [(f.variable, f.checked, f.closest) for f in serial.findings] == [
        (f.variable, f.checked, f.closest) for f in ray.findings
    ]


def test_an_import_fault_is_seen(files: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that was read wrongly by everybody here: only the file itself tells."""
    result, model, samples = files
    honest = audit(open_result(result), model, samples, executor="serial", points=8)
    (compared,) = (f for f in honest.findings if f.variable == "logits of the file")
    assert (compared.checked, compared.broken) == (2 * 10, 0)
    assert honest.notes == ()

    def misread(*arguments: Any, **options: Any) -> Network:
        network = load(*arguments, **options)
        nodes = list(network.nodes)
        (k,) = (i for i, node in enumerate(nodes) if i == network.output)
        nodes[k] = dataclasses.replace(nodes[k], bias=nodes[k].bias * (1 + 1e-6))
        return Network(nodes, network.output, network.input_shape)

    load = inputs_module.load_network
    monkeypatch.setattr(inputs_module, "load_network", misread)
    wrong = Path(result).with_name("wrong.h5")
    certify(
        model, samples, scale=16.0, samples="5,3", eps=(0.02,), compute=("lipschitz",), output=wrong, executor="serial"
    )
    found = audit(open_result(wrong), model, samples, executor="serial", points=8)
    assert {f.variable for f in found.findings if f.broken} == {"logits of the file"}


def test_what_cannot_be_compared_is_told(files: tuple[str, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> Any:
        raise ModelError("the ONNX reference evaluator fails on it (RuntimeError: no such operator)")

    monkeypatch.setattr("distverify.attacks.of_file.file_evaluator", fail)
    done = CliRunner().invoke(main, ["audit", *files, "--executor", "serial", "--points", "8"])
    assert done.exit_code == 0
    assert "NOTE: the file's own outputs are not compared: the ONNX reference evaluator fails on it" in done.stdout
