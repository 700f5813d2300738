"""The ways to bound pre-activations, by the names that settings have for them."""

from __future__ import annotations

from distverify.bounds.layers.alpha import Alpha
from distverify.bounds.layers.crown import Crown
from distverify.bounds.layers.interval import Interval
from distverify.bounds.layers.method import LayerMethod
from distverify.errors import SettingsError

LAYER_METHODS: dict[str, LayerMethod] = {method.name: method for method in (Alpha(), Crown(), Interval())}


def layer_method(name: str) -> LayerMethod:
    """The method of that name.

    Raises
    ------
    SettingsError
        There is none.
    """
    if name not in LAYER_METHODS:
        raise SettingsError(f"layer_bounds: got {name!r}; choose {', '.join(LAYER_METHODS)}")
    return LAYER_METHODS[name]
