"""Arguments of Python functions as what they should be, or a sentence that says which is not."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ModelError, SettingsError
from distverify.network.graph import Network


def network_of(network: Any, precision: str | None = None) -> Network:
    """``network``, bounded in ``precision`` if one is given.

    Raises
    ------
    ModelError
        Something else than a Network.
    """
    if not isinstance(network, Network):
        remedy = "distverify.load_network reads a file" if isinstance(network, str | os.PathLike) else "give a Network"
        raise ModelError(f"network: got {_shown(network)}, which is no Network; {remedy}")
    return network if precision is None else network.in_precision(precision)


def class_of(label: Any) -> int | None:
    """``label`` as a class, None for none.

    Raises
    ------
    SettingsError
        Something else than a whole number.
    """
    if label is None or (isinstance(label, int | np.integer) and not isinstance(label, bool)):
        return None if label is None else int(label)
    if isinstance(label, np.ndarray) and label.size == 1 and label.dtype.kind in "iu":
        return int(label.reshape(-1)[0])
    if isinstance(label, float | np.floating) and float(label).is_integer():
        return int(label)
    raise SettingsError(f"label: got {_shown(label)}; give a class, a whole number from 0")


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as a whole number of at least ``least``.

    Raises
    ------
    SettingsError
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise SettingsError(f"{name}: got {_shown(value)}; give a whole number of at least {least}")
    return int(value)


def numbers(name: str, value: Any, what: str) -> NDArray[np.float64]:
    """``value`` as float64.

    Raises
    ------
    SettingsError
        Not numbers; ``what`` says what to give.
    """
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}: got {_shown(value)}; give {what}") from None


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool | type(None)) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
