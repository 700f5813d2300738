"""Arguments of Python functions as what they should be, or a sentence that says which is not."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from distverify.errors import ModelError, SettingsError
from distverify.network.graph import Network
from distverify.options.values import number, numbers, path_of, shown, whole

__all__ = ["class_of", "network_of", "number", "numbers", "path_of", "whole"]


def network_of(network: Any, precision: str | None = None) -> Network:
    """``network``, bounded in ``precision`` if one is given.

    Raises
    ------
    ModelError
        Something else than a Network.
    """
    if not isinstance(network, Network):
        remedy = "distverify.load_network reads a file" if isinstance(network, str | os.PathLike) else "give a Network"
        raise ModelError(f"network: got {shown(network)}, which is no Network; {remedy}")
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
    raise SettingsError(f"label: got {shown(label)}; give a class, a whole number from 0")
