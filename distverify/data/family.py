"""Families of perturbations and data that fit together."""

from __future__ import annotations

from distverify.data.dataset import Dataset
from distverify.errors import DataError, SettingsError, argument
from distverify.network.graph import Network
from distverify.settings import Settings


def check_family(data: Dataset, network: Network, settings: Settings) -> None:
    """Refuse a family of perturbations that the network or the data have no meaning for.

    Raises
    ------
    SettingsError, DataError
    """
    if isinstance(settings.perturbation, tuple) and len(settings.perturbation) != network.input_size:
        raise SettingsError(
            f"perturbation: got a matrix of {len(settings.perturbation)} rows; the network takes {network.input_size} features, give a "
            "row for each"
        )
    low, high = float(data.inputs.min(initial=0.0)), float(data.inputs.max(initial=0.0))
    if settings.family in ("contrast", "haze") and not (low >= 0.0 and high <= 1.0):
        raise DataError(
            f"perturbation: {settings.family} is one of pixels from 0 to 1, and values of the data go from {low:g} to {high:g}; "
            f"divide them ({argument('scale', 255)}), or give a matrix (linear:FILE)"
        )
