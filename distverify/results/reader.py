"""Reading results, finished or of a run that goes on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.data.remote import is_remote
from distverify.errors import ResultError, SettingsError, argument
from distverify.results.columns import sample_columns
from distverify.results.conversions import as_dataset, optional
from distverify.results.facts import ClassFacts, certified_accuracy, per_class
from distverify.results.hulls import hull_blocks
from distverify.results.manifest import Manifest
from distverify.results.notebook import as_html
from distverify.results.opening import OpenResult, ViewChangedError
from distverify.results.remote_files import name_of_url, remote_stream
from distverify.results.summary import Summary, arrays_told, summarise
from distverify.settings import Settings

T = TypeVar("T")
_PAUSES = (0.0, 0.01, 0.05, 0.2, 0.5)  # seconds, before a view that changed is read again
_ASK_JACOBIAN = f"; compute it ({argument('compute', 'jacobian')})"


class Result(Mapping[str, NDArray[Any]]):
    """A result file as a mapping from names to arrays; make it with :func:`open_result`.

    Every access opens the file, reads and closes it again: during a run it sees what is committed by then,
    and it holds no lock that could disturb the run or another reader.

    Of a file elsewhere the same stays open until :meth:`close`: it is finished, and opening it takes a while.

    Attributes
    ----------
    path : Path
        Of a file elsewhere its name.
    """

    def __init__(self, path: Path, url: str | None = None) -> None:
        self.path = path
        self._url = url
        self._closed = False
        # Of at_one_moment, or of a file elsewhere.
        self._opened: OpenResult | None = None if url is None else OpenResult(path, url)

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
        return self._read(lambda opened: opened.read(self._named(opened, name), where))

    def __getitem__(self, name: str) -> NDArray[Any]:
        def value(opened: OpenResult) -> NDArray[Any]:
            if not isinstance(name, str) or name not in opened.variables:
                raise KeyError(name)
            return opened.read(name)

        return self._read(value)

    def __getattr__(self, name: str) -> NDArray[Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"{self.path}: no array {name!r}; there are {', '.join(self)}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.dims)

    def __len__(self) -> int:
        return len(self.dims)

    def __contains__(self, name: object) -> bool:
        return name in self.dims

    def __repr__(self) -> str:
        return f"Result({str(self.path)!r}, complete={self.complete}, arrays={list(self)})"

    def _repr_html_(self) -> str:
        return as_html(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and (self.path, self._url) == (other.path, other._url)

    def __hash__(self) -> int:
        return hash((self.path, self._url))

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Name of every array -> names of its dimensions."""
        return self._read(lambda opened: {name: v.dims for name, v in opened.variables.items()})

    @property
    def sizes(self) -> dict[str, int]:
        """Name of every dimension -> its length."""
        return self._read(lambda opened: opened.sizes)

    @property
    def attrs(self) -> dict[str, Any]:
        """The root attributes as Python values."""

        def of(opened: OpenResult) -> dict[str, Any]:
            with opened.reading():
                values = {k: v.item() if isinstance(v, np.generic) else v for k, v in opened.file.attrs.items()}
            return {k: v.decode("utf-8", "replace") if isinstance(v, bytes) else v for k, v in values.items()}

        return self._read(of)

    @property
    def provenance(self) -> dict[str, Any]:
        """Hashes of model and data, settings, command, packages, platform, start and end."""
        return self._read(lambda opened: opened.provenance)

    @property
    def settings(self) -> Settings:
        """What was computed."""
        return self._read(lambda opened: opened.settings)

    @property
    def complete(self) -> bool:
        """The run has ended (samples may have failed)."""
        return self._read(lambda opened: opened.end is not None)

    def unchanged(self) -> bool | None:
        """Whether every value, coordinate and attribute is as the run wrote it, by the digest of them all.

        Returns
        -------
        bool or None
            None: there is no digest, for the run has not ended, or an earlier version wrote the file.

        Raises
        ------
        ResultError
            If the file cannot be read.
        """
        return self._read(lambda opened: opened.unchanged())

    def hull(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest lower and largest upper Jacobian bound of all samples so far, float64 [eps, output, input]
        each.

        Raises
        ------
        ResultError
            If the run does not compute Jacobians.
        """

        def of(opened: OpenResult) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            if "hull_lower" in opened.variables:
                return opened.read("hull_lower"), opened.read("hull_upper")
            bounds = [
                opened.dataset(self._named(opened, name, _ASK_JACOBIAN))
                for name in ("jacobian_lower", "jacobian_upper")
            ]
            lower, upper = (np.empty(bounds[0].shape[1:]) for _ in range(2))
            with opened.reading():
                for eps, rows, lo, hi in hull_blocks(*bounds):
                    lower[eps, rows], upper[eps, rows] = lo, hi
            return lower, upper

        return self._read(of)

    def certified_accuracy(self, eps: ArrayLike) -> NDArray[np.float64]:
        """Share of the computed samples whose certified radius is at least ``eps`` [n]: float64 [n], any radii.

        Raises
        ------
        ResultError
            If the run does not compute radii.
        """
        arrays = self._small_arrays()[0]
        if "radius" not in arrays:
            raise ResultError(f"{self.path}: no array 'radius'; compute it ({argument('compute', 'radius')})")
        return certified_accuracy(arrays, eps)

    def per_class(self) -> tuple[ClassFacts, ...]:
        """Accuracy, radii and Lipschitz constants by true class; empty for data without labels."""
        return per_class(self._small_arrays()[0])

    def _small_arrays(self) -> tuple[dict[str, NDArray[Any]], Manifest, datetime | None]:
        """What summaries are made of, read at one moment; the run, and its end."""
        return self._read(
            lambda opened: (
                {name: opened.read(name) for name in arrays_told() if name in opened.variables},
                opened.manifest,
                opened.end,
            )
        )

    def summary(self) -> Summary:
        """The numbers of the table at the end of a run."""
        arrays, manifest, end = self._small_arrays()
        return summarise(arrays, None if end is None else (end - manifest.created).total_seconds())

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

        def of(opened: OpenResult) -> dict[str, NDArray[Any]]:
            places = np.flatnonzero(opened.read("sample") == index) if "sample" in opened.variables else np.empty(0)
            if not places.size:
                raise ResultError(f"{self.path}: no sample {index}; the array sample lists those that there are")
            names = [name for name, variable in opened.variables.items() if variable.dims[:1] == ("sample",)]
            return {name: opened.read(name, int(places[0])) for name in names}

        return self._read(of)

    def to_dataframe(self) -> Any:
        """One row per sample, as a pandas DataFrame indexed by ``sample``; a column per eps where there are
        several values.

        Raises
        ------
        ResultError
            If pandas is not installed.
        """
        pandas = optional("to_dataframe", "pandas")
        with self.at_one_moment() as moment:
            columns = sample_columns(moment)
        return pandas.DataFrame(columns, index=pandas.Index(columns.pop("sample"), name="sample"))

    def to_xarray(self) -> Any:
        """The file as a lazy xarray Dataset, by h5netcdf; values are read when they are used, texts at once.

        Its accessor ``dv`` is :class:`distverify.results.accessor.Certification`.

        Raises
        ------
        ResultError
            If xarray or h5netcdf is not installed, or the file cannot be read.
        """
        self._read(lambda opened: opened.read("status"))  # for our own errors
        return as_dataset(self.path if self._url is None else remote_stream(self._url))

    def close(self) -> None:
        """Refuse further access; no file here is held open in between."""
        self._closed = True
        if self._url is not None and self._opened is not None:
            self._opened.close()
            self._opened = None

    def __enter__(self) -> Result:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def at_one_moment(self) -> Iterator[Result]:
        """The result as it is now: within the block every read is of the same moment, though the run goes on.

        Raises
        ------
        ResultError
            At the end of the block, if what was read through went away meanwhile: where files cannot be locked.
        """
        if self._opened is not None:
            yield self
            return
        with self._entered() as opened:
            moment = Result(self.path)
            moment._opened = opened
            try:
                yield moment
            finally:
                moment._opened, moment._closed = None, True
            if not opened.intact():
                raise ResultError(f"{self.path}: the run went on while it was read; read it again")

    def _entered(self) -> OpenResult:
        """Open, with all that it is read through."""

        def enter() -> OpenResult:
            opened = OpenResult(self.path)
            try:
                opened.hold()
            except ResultError as error:
                judged = opened.judged(error)
                opened.close()
                raise judged from error
            return opened

        return self._again(enter)

    def _read(self, read: Callable[[OpenResult], T]) -> T:
        """What ``read`` returns of one moment of the run."""
        if self._opened is not None:
            return read(self._opened)

        def once() -> T:
            with OpenResult(self.path) as opened:
                try:
                    value = read(opened)
                except ResultError as error:
                    raise opened.judged(error) from error
                if not opened.intact():
                    raise ViewChangedError(f"{self.path}: the run went on while it was read; read it again")
                return value

        return self._again(once)

    def _again(self, once: Callable[[], T]) -> T:
        if self._closed:
            raise ResultError(f"{self.path}: the result was closed; open it again with open_result")
        for pause in _PAUSES:
            try:
                return once()
            except ViewChangedError:
                time.sleep(pause)
        return once()

    def _named(self, opened: OpenResult, name: str, otherwise: str = "") -> str:
        if name not in opened.variables:
            raise ResultError(f"{self.path}: no array {name!r}; there are {', '.join(opened.variables)}{otherwise}")
        return name


def open_result(path: str | os.PathLike[str]) -> Result:
    """Open a result file, finished or of a run that goes on.

    Parameters
    ----------
    path : str or path
        Or the URL of a finished file that fsspec knows, such as ``s3://bucket/out.h5``; only what is asked for is fetched.

    Raises
    ------
    ResultError
        If the file is missing, truncated, not HDF5, not of distverify, of a newer version, or the view of an
        unfinished run whose shards are gone.
    """
    if not isinstance(path, str | os.PathLike):
        raise SettingsError(f"path: got {type(path).__name__}; give the path of a result file")
    if isinstance(path, str) and is_remote(path):
        return Result(name_of_url(path), path)
    result = Result(Path(path))
    result._entered().close()
    return result


def as_result(result: Result | str | os.PathLike[str]) -> Result:
    """A result, or the one in the file of that path.

    Raises
    ------
    ResultError
        As :func:`open_result`.
    SettingsError
        Neither a result nor a path.
    """
    if isinstance(result, Result):
        return result
    if not isinstance(result, str | os.PathLike):
        raise SettingsError(f"result: got {type(result).__name__}; give a Result, or the path of a result file")
    return open_result(result)
