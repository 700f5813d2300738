"""Results in the hands of pandas and xarray, which are imported when they are used."""

from __future__ import annotations

import importlib
from typing import Any

from distverify.errors import ResultError


def optional(what: str, package: str, extra: str | None = None) -> Any:
    """An optional package.

    Raises
    ------
    ResultError
        It is not installed; ``what`` needs it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ResultError(
            f"{what}: {package} is not installed; pip install {package} (or 'distverify[{extra or package}]')"
        ) from error


def as_dataset(source: Any) -> Any:
    """A result file, by path or as a stream, as a lazy xarray Dataset with the accessor ``dv``; texts are read at once."""
    xarray = optional("to_xarray", "xarray")
    optional("to_xarray", "h5netcdf", extra="xarray")
    engine = importlib.import_module("distverify.results.xarray_engine")
    return xarray.open_dataset(source, engine=engine.ResultBackend)
