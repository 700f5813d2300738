"""Settings: what is refused, with which words; and the way to JSON and back."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from distverify.errors import SettingsError
from distverify.quantities import catalogue
from distverify.settings import Settings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"norm": 3.0}, "norm: got 3.0; choose inf, 2 or 1"),
        ({"eps": (0.0,)}, "eps: got 0.0; every radius must be a finite positive number"),
        ({"eps": (-1.0,)}, "eps: got -1.0"),
        ({"eps": (math.inf,)}, "eps: got inf"),
        ({"eps": (math.nan,)}, "eps: got nan"),
        ({"eps": (0.1, 0.2, 0.1)}, r"eps: got \[0.1, 0.2, 0.1\]; each radius may appear once"),
        (
            {"compute": ("radius", "magic")},
            f"compute: got magic; choose any of {', '.join(catalogue.names())}",
        ),
        ({"compute": ()}, "compute: got nothing; choose any of"),
        (
            {"eps": (), "compute": ("jacobian", "lipschitz")},
            "eps: none given, but jacobian and lipschitz need at least one radius",
        ),
        ({"method": "ibp"}, "method: got 'ibp'; choose linear, coupled, recurjac, interval, fastlip"),
        ({"layer_bounds": "ibp"}, "layer_bounds: got 'ibp'; choose alpha, crown, interval"),
        (
            {"targets": "all"},
            "targets: got 'all'; choose untargeted, runner-up, least-likely, random or a class index",
        ),
        ({"targets": -1}, "targets: got -1; a class index starts at 0"),
        ({"targets": True}, "targets: got True"),
        (
            {"compute": ("lipschitz",), "targets": "random"},
            f"targets: got 'random', which is only for {', '.join(catalogue.names_using('targets'))}; add one of them",
        ),
        (
            {"compute": ("landscape",)},
            rf"eps: got \(0.1,\), which is only for {', '.join(catalogue.names_using('eps'))}; add one",
        ),
        (
            {"direction": "both", "method": "fastlip"},
            "direction: got 'both', which only methods linear, recurjac have; choose one of them, or leave direction out",
        ),
        ({"clip": (1.0, 0.0)}, "clip: got 1.0,0.0; give finite LO,HI with LO < HI"),
        ({"clip": (0.0, 0.0)}, "clip: got 0.0,0.0"),
        ({"clip": (0.0, math.inf)}, "clip: got 0.0,inf"),
        ({"clip": (math.nan, 1.0)}, "clip: got nan,1.0"),
        ({"clip": (0.0, 1.0, 2.0)}, "clip: got 3 values; give LO,HI"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings(**{"eps": (0.1,), **arguments})


@pytest.mark.parametrize(
    "settings",
    [
        Settings(eps=(0.005, 0.01), compute=("radius", "jacobian"), clip=(0, 1)),
        Settings(norm=2, eps=[1e-300], compute="lipschitz", method="recurjac"),  # type: ignore[arg-type]
        Settings(norm=1, compute=("radius",), targets=3, layer_bounds="interval", seed=7),
        Settings(compute=("landscape", "radius"), targets="least-likely"),
    ],
)
def test_json_there_and_back(settings: Settings) -> None:
    assert Settings.from_json(json.loads(json.dumps(settings.to_json(), allow_nan=False))) == settings


def test_values_are_normalised() -> None:
    settings = Settings(norm=2, eps=[1], compute=["radius", "lipschitz", "radius"], clip=(0, 1))  # type: ignore[arg-type]
    assert settings.norm == 2.0
    assert settings.eps == (1.0,)
    assert settings.compute == ("lipschitz", "radius")
    assert settings.clip == (0.0, 1.0)
    assert set(settings.compute) <= set(catalogue.names())
    assert hash(settings) == hash(Settings(norm=2, eps=(1.0,), clip=(0.0, 1.0)))


def test_an_alias_is_the_method_it_equals() -> None:
    alias = Settings(eps=(0.1,), method="fastlip")
    assert alias == Settings(eps=(0.1,), method="interval")
    assert alias.to_json()["method"] == "interval"
    assert Settings.from_json(alias.to_json() | {"method": "fastlip"}) == alias


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Settings(eps=(0.1,)).norm = 1.0  # type: ignore[misc]
