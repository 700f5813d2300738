"""Reading results, finished or of a run that goes on."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.errors import ResultError
from distverify.results.columns import sample_columns
from distverify.results.facts import ClassFacts, certified_accuracy, per_class
from distverify.results.hulls import hull_blocks
from distverify.results.identify import open_checked, reading, shards_missing
from distverify.results.layout import read_feature_eps
from distverify.results.schema import COORDINATES
from distverify.results.summary import Summary, arrays_told, summarise
from distverify.settings import Settings


class Result(Mapping[str, NDArray[Any]]):
    """A result file as a mapping from names to arrays; make it with :func:`open_result`.

    Every access opens the file, reads and closes it again: during a run it sees what is committed by then,
    and it holds no lock that could disturb the run or another reader.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._closed = False

    def read(self, name: str, where: Any = ()) -> NDArray[Any]:
        """A part of an array.

        Parameters
        ----------
        name : str
        where : index expression
            As in NumPy, for instance ``numpy.s_[3, 0]``; all of it by default.

        Returns
        -------
        array
            float64, int64 or int8, or str for ``message``; NaN, -1, status 0 (pending) and "" where nothing
            is yet.

        Raises
        ------
        ResultError
            If there is no such array, or the file cannot be read.
        """
        with self._open() as file:
            return self._array(file, name, where)

    def __getitem__(self, name: str) -> NDArray[Any]:
        with self._open() as file:
            if not isinstance(name, str) or name not in file:
                raise KeyError(name)
            return self._array(file, name)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self.path}: {self._no_array(name)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.dims)

    def __len__(self) -> int:
        return len(self.dims)

    def __contains__(self, name: object) -> bool:
        with self._open() as file:
            return isinstance(name, str) and name in file

    def __repr__(self) -> str:
        return f"Result({str(self.path)!r}, complete={self.complete}, arrays={list(self)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Name of every array -> names of its dimensions."""
        scales = [v.name for v in COORDINATES]
        with self._open() as file:
            found: dict[str, tuple[str, ...]] = {n: (n,) for n in scales if n in file}
            for name in file:
                if name not in found:
                    found[name] = tuple(axis.keys()[0] for axis in file[name].dims)
        return found

    @property
    def sizes(self) -> dict[str, int]:
        """Name of every dimension -> its length."""
        with self._open() as file:
            return {v.name: len(file[v.name]) for v in COORDINATES if v.name in file}

    @property
    def attrs(self) -> dict[str, Any]:
        """The root attributes as Python values."""
        with self._open() as file:
            return {k: v.item() if isinstance(v, np.generic) else v for k, v in file.attrs.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Hashes of model and data, settings, command, packages, platform, start and end."""
        data: dict[str, Any] = json.loads(self.attrs["provenance"])
        return data

    @property
    def settings(self) -> Settings:
        """What was computed."""
        with self._open() as file:
            try:
                return Settings.from_json(json.loads(file.attrs["provenance"])["settings"], read_feature_eps(file))
            except (KeyError, TypeError, ValueError) as error:
                raise ResultError(
                    f"{self.path}: its settings cannot be read ({error}); it was written by another version of distverify "
                    f"({file.attrs.get('distverify_version')}): use that one, or upgrade"
                ) from error

    @property
    def complete(self) -> bool:
        """The run has ended (samples may have failed)."""
        return self.provenance["end"] is not None

    def hull(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest lower and largest upper Jacobian bound of all samples so far, float64 [eps, output, input]
        each.

        Raises
        ------
        ResultError
            If the run does not compute Jacobians.
        """
        with self._open() as file:
            if "hull_lower" in file:
                return self._array(file, "hull_lower"), self._array(file, "hull_upper")
            if "jacobian_lower" not in file:
                raise ResultError(f"{self.path}: {self._no_array('jacobian_lower')}; compute it (--compute jacobian)")
            lower, upper = (np.empty(file["jacobian_lower"].shape[1:]) for _ in range(2))
            with reading(self.path):
                for eps, rows, lo, hi in hull_blocks(file["jacobian_lower"], file["jacobian_upper"]):
                    lower[eps, rows], upper[eps, rows] = lo, hi
        return lower, upper

    def certified_accuracy(self, eps: ArrayLike) -> NDArray[np.float64]:
        """Share of the computed samples whose certified radius is at least ``eps`` [n]: float64 [n], any radii.

        Raises
        ------
        ResultError
            If the run does not compute radii.
        """
        arrays, _ = self._small_arrays()
        if "radius" not in arrays:
            raise ResultError(f"{self.path}: {self._no_array('radius')}; compute it (--compute radius)")
        return certified_accuracy(arrays, eps)

    def per_class(self) -> tuple[ClassFacts, ...]:
        """Accuracy, radii and Lipschitz constants by true class; empty for data without labels."""
        return per_class(self._small_arrays()[0])

    def _small_arrays(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What summaries are made of, read at one moment; and the provenance."""
        with self._open() as file:
            # Status first: what is committed by then has its values in all that is read later.
            arrays = {name: self._array(file, name) for name in arrays_told() if name in file}
            return arrays, json.loads(file.attrs["provenance"])

    def summary(self) -> Summary:
        """The numbers of the table at the end of a run."""
        arrays, provenance = self._small_arrays()
        end = provenance["end"]
        wall = None
        if end is not None:
            wall = (datetime.fromisoformat(end) - datetime.fromisoformat(provenance["start"])).total_seconds()
        return summarise(arrays, wall)

    def read_sample(self, index: int) -> dict[str, NDArray[Any]]:
        """Everything about one sample, read without the others.

        Parameters
        ----------
        index : int
            In the data set, as in the array ``sample``.

        Returns
        -------
        dict
            Name of every array whose first dimension is ``sample`` -> its values for this sample.

        Raises
        ------
        ResultError
            If the result has no such sample.
        """
        dims = self.dims
        with self._open() as file:
            found = np.flatnonzero(self._array(file, "sample") == index)
            if not found.size:
                raise ResultError(f"{self.path}: no sample {index}; the array sample lists those that there are")
            names = [name for name, axes in dims.items() if axes[:1] == ("sample",)]
            return {name: self._array(file, name, int(found[0])) for name in names}

    def to_dataframe(self) -> Any:
        """One row per sample, as a pandas DataFrame indexed by ``sample``; a column per eps where there are
        several values.

        Raises
        ------
        ResultError
            If pandas is not installed.
        """
        pandas = _optional("to_dataframe", "pandas")
        columns = sample_columns(self)
        return pandas.DataFrame(columns, index=pandas.Index(columns.pop("sample"), name="sample"))

    def to_xarray(self) -> Any:
        """The file as a lazy xarray Dataset, by h5netcdf; values are read when they are used.

        Raises
        ------
        ResultError
            If xarray or h5netcdf is not installed, or the file cannot be read.
        """
        xarray = _optional("to_xarray", "xarray")
        _optional("to_xarray", "h5netcdf", extra="xarray")
        with self._open():  # for our own errors
            pass
        return xarray.open_dataset(self.path, engine="h5netcdf")

    def close(self) -> None:
        """Refuse further access; no file is held open in between."""
        self._closed = True

    def __enter__(self) -> Result:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> h5py.File:
        if self._closed:
            raise ResultError(f"{self.path}: the result was closed; open it again with open_result")
        return open_checked(self.path)

    def _array(self, file: h5py.File, name: str, where: Any = ()) -> NDArray[Any]:
        if name not in file:
            raise ResultError(f"{self.path}: {self._no_array(name)}")
        with reading(self.path):
            values = np.asarray(file[name][where])
        return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values

    def _no_array(self, name: str) -> str:
        return f"no array {name!r}; there are {', '.join(self)}"


def _optional(what: str, package: str, extra: str | None = None) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ResultError(
            f"{what}: {package} is not installed; pip install {package} (or 'distverify[{extra or package}]')"
        ) from error


def open_result(path: str | os.PathLike[str]) -> Result:
    """Open a result file, finished or of a run that goes on.

    Raises
    ------
    ResultError
        If the file is missing, truncated, not HDF5, not of distverify, of a newer version, or the view of an
        unfinished run whose shards are gone.
    """
    result = Result(Path(path))
    with result._open() as file:
        folder = shards_missing(result.path, file)
        # A run that ended just now took its folder away; the file at the path is another one then.
        if folder is not None and not result.complete:
            raise ResultError(
                f"{path}: shows an unfinished run, but the folder {folder} with its samples is gone; "
                "put it back beside the file, or run the same command again to compute them afresh"
            )
        return result
