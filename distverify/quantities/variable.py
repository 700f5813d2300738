"""A variable: one array of a result file, as every room of the house describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MESSAGE_BYTES = (
    256  # fixed-length UTF-8: works in virtual datasets and in every netCDF reader; variable length does not
)
TEXT = f"S{MESSAGE_BYTES}"
NAN = float("nan")


@dataclass(frozen=True)
class Variable:
    """One array of a result file.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Of "sample", "eps", "output", "input"; "sample" comes first in everything that workers compute.
    dtype : str
        A NumPy dtype; "S<n>" is fixed-length UTF-8.
    fill : float, int or bytes
        What a sample without a value holds.
    units : str
        "1" for plain numbers; lengths are in the units of the data.
    long_name : str
    flags : tuple of (value, meaning)
        Of a variable that is a code.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: float | int | bytes
    units: str
    long_name: str
    flags: tuple[tuple[int, str], ...] = ()

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The array's shape for ``sizes`` (name of a dimension -> length)."""
        return tuple(sizes[d] for d in self.dims)


def number(name: str, dims: str, long_name: str, units: str = "1") -> Variable:
    """A float64 variable; ``dims`` with blanks between."""
    return Variable(name, tuple(dims.split()), "float64", NAN, units, long_name)


def whole(name: str, dims: str, long_name: str) -> Variable:
    """An int64 variable, -1 where there is no value."""
    return Variable(name, tuple(dims.split()), "int64", -1, "1", long_name)


def code(name: str, dims: str, long_name: str, flags: tuple[tuple[int, str], ...], fill: int) -> Variable:
    """An int8 variable whose values have meanings."""
    return Variable(name, tuple(dims.split()), "int8", fill, "1", long_name, flags)
