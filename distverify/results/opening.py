"""The one way to open a result: as input that anybody may have written.

What is read is what the schema knows, in the shape that the settings imply, stored in the file itself or, while a run
goes on, in the files of its folder. Everything else in a file is somebody's own, and left alone.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.digest import CONTENT, HEAD, digest_of, head_digest
from distverify.results.files import open_to_read
from distverify.results.layout import read_root, read_text
from distverify.results.manifest import Manifest, identity
from distverify.results.remote_files import open_remote
from distverify.results.schema import COORDINATES, FEATURE_EPS, PERTURBATION, SCHEMA_VERSION, Variable, all_variables
from distverify.settings import Settings

_SOURCE = re.compile(r"(?P<folder>[^/]+\.parts)/(?P<name>[^/]+\.h5)")
_GONE = "shows an unfinished run, but"


class ViewChangedError(ResultError):
    """The view of a run could not be read, and another has its place by now: that one is to be read."""


class OpenResult:
    """A result file, open: at one moment of its run.

    Parameters
    ----------
    path : Path
    url : str, optional
        Where the file is, if elsewhere; ``path`` is then a name for people.

    Attributes
    ----------
    file : h5py.File
        Read its arrays by :meth:`dataset`.
    provenance : dict
    settings : Settings
    manifest : Manifest
        What the provenance tells of, without its plan.
    end : datetime or None
        None: the view of a run that goes on or was interrupted.
    variables : dict name -> Variable
        That the file has, coordinates first.

    Raises
    ------
    ResultError
        If it is missing, not readable, truncated, not HDF5, not ours, of a newer version, or contradicts itself.
    """

    def __init__(self, path: Path, url: str | None = None) -> None:
        self.path = path
        self._url = url
        self._sources: dict[str, h5py.File] | None = None
        self._checked: dict[str, h5py.Dataset] = {}
        self.file = _open(path) if url is None else open_remote(url)
        try:
            with self.reading():
                self._read_head()
        except ResultError as error:
            judged = self.judged(error)
            self.close()
            raise judged from error

    def _read_head(self) -> None:
        file, path = self.file, self.path
        version, provenance = file.attrs.get("schema_version"), read_root(file)
        if version is None or provenance is None:
            raise ResultError(
                f"{path}: an HDF5 file, but not a result of distverify; give what distverify certify has written"
            )
        if int(version) > SCHEMA_VERSION:
            raise ResultError(
                f"{path}: has schema version {int(version)}, this distverify reads up to {SCHEMA_VERSION}; "
                "upgrade distverify"
            )
        self.provenance: dict[str, Any] = provenance
        self.variables: dict[str, Variable] = {}
        self._sizes = self._stated_sizes()
        coordinates = {v.name: self._own(v) for v in COORDINATES if self._sizes[v.name]}
        factors = self._own(FEATURE_EPS) if FEATURE_EPS.name in file else None
        matrix = self._own(PERTURBATION) if PERTURBATION.name in file else None
        self.settings = self._stated_settings(factors, matrix)
        self._check_identity(coordinates)
        samples = tuple(coordinates["sample"].tolist()) if "sample" in coordinates else ()
        self.manifest = Manifest.from_provenance(
            provenance, samples, self.settings.feature_eps, self.settings.perturbation
        )
        self.end = None if provenance["end"] is None else datetime.fromisoformat(str(provenance["end"]))
        if read_text(file, HEAD) not in (None, head_digest(file, self.dataset)):
            raise self._contradiction("its head", "does not have the digest that it had")
        self.variables |= {v.name: v for v in all_variables(self.settings) if v.name in file}

    def _stated_sizes(self) -> dict[str, int]:
        try:
            sizes = {
                "sample": self.provenance["data"]["samples"],
                "eps": len(self.provenance["settings"]["eps"]),
                "output": self.provenance["model"]["outputs"],
                "input": self.provenance["model"]["inputs"],
                "feature": self.provenance["model"].get("features", 0),
            }
            if not all(isinstance(n, int) and n >= 0 for n in sizes.values()):
                raise ValueError(f"sizes {sizes}")
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(
                f"{self.path}: its provenance cannot be read ({type(error).__name__}: {error}); the file is damaged"
            ) from error
        return sizes

    def _own(self, variable: Variable) -> NDArray[Any]:
        """All of a small array that must be in the file itself."""
        self.variables[variable.name] = variable
        dataset = self.dataset(variable.name)
        if dataset.is_virtual:
            raise self._contradiction(variable.name, "lies in another file")
        return np.asarray(dataset[:])

    def _stated_settings(self, factors: NDArray[np.float64] | None, matrix: NDArray[np.float64] | None) -> Settings:
        try:
            settings = Settings.from_json(self.provenance["settings"], factors, matrix)
        except Exception as error:  # of any kind: they come from the file
            raise ResultError(
                f"{self.path}: its settings cannot be read ({error}); it was written by another version of distverify "
                f"({self.provenance.get('distverify_version')}): use that one, or upgrade"
            ) from error
        for variable, values in ((FEATURE_EPS, factors), (PERTURBATION, matrix)):
            stated = self.provenance["settings"].get(variable.name)
            if values is not None and settings.to_json()[variable.name] != stated:
                raise self._contradiction(variable.name, "is not what the settings say")
        return settings

    def _check_identity(self, coordinates: dict[str, NDArray[Any]]) -> None:
        """Coordinates are what the settings say; settings and samples are what the run's id stands for."""
        expected = {
            "eps": np.array(self.settings.eps, dtype=np.float64),
            "output": np.arange(self._sizes["output"]),
            "input": np.arange(self._sizes["input"]),
            "feature": np.arange(self._sizes["feature"]),
        }
        for name, values in expected.items():
            if name in coordinates and not np.array_equal(coordinates[name], values):
                raise self._contradiction(name, "is not what the settings say")
        samples = coordinates.get("sample", np.empty(0, dtype=np.int64)).tolist()
        try:
            run_id = identity(self.provenance, samples)
        except (KeyError, TypeError) as error:
            raise ResultError(
                f"{self.path}: its provenance cannot be read ({type(error).__name__}: {error}); the file is damaged"
            ) from error
        if run_id != self.provenance["run_id"]:
            raise self._contradiction("sample", "or the settings were changed: they are not those of its run")

    def _contradiction(self, name: str, what: str) -> ResultError:
        return ResultError(f"{self.path}: damaged or changed: {name} {what}; compute it afresh, or use another copy")

    @property
    def sizes(self) -> dict[str, int]:
        """Name of every dimension that has a length -> that."""
        return {name: self._sizes[name] for name in (v.name for v in COORDINATES) if self._sizes[name]}

    def dataset(self, name: str) -> h5py.Dataset:
        """One of ``variables``, to read in parts.

        Raises
        ------
        ResultError
            It is not what the schema says.
        """
        if name not in self._checked:
            with self.reading():
                self._checked[name] = self._check(self.file, name, self.path, self._sizes)
                if self._checked[name].is_virtual:
                    self._check_sources(self._checked[name], name)
        return self._checked[name]

    def read(self, name: str, where: Any = ()) -> NDArray[Any]:
        """A part of one of ``variables``; text as str."""
        dataset = self.dataset(name)
        with self.reading():
            values = np.asarray(dataset[where])
        return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values

    def unchanged(self) -> bool | None:
        """Whether everything that the file says has the digest that it had when it was written; None: it has none.

        All of it is read, 1 GB/s where the disk allows it.
        """
        with self.reading():
            stated = read_text(self.file, CONTENT)
            return None if stated is None else stated == digest_of(self.file, self.variables, self.dataset)

    def hold(self) -> None:
        """Open every file that is read through.

        Raises
        ------
        ResultError
            As :meth:`dataset`.
        """
        if "status" in self.variables:
            self.dataset("status")

    def intact(self) -> bool:
        """Whether every file that is read through is still there: what was read is what was committed then."""
        return all(self._source_path(source).exists() for source in self._sources or ())

    def judged(self, error: ResultError) -> ResultError:
        """``error``, or a ViewChangedError if another file has taken the place of this one meanwhile."""
        if self._url is not None:
            return error
        changed = _is_another(self.path, os.fstat(self.file.id.get_vfd_handle()))
        return ViewChangedError(str(error)) if changed else error

    def _check(self, file: h5py.File, name: str, path: Path, sizes: dict[str, int]) -> h5py.Dataset:
        link = file.get(name, getlink=True)
        if link is None:
            raise ResultError(f"{path}: has no array {name}; the file is damaged")
        dataset = file[name] if isinstance(link, h5py.HardLink) else None
        if not isinstance(dataset, h5py.Dataset):
            raise ResultError(f"{path}: {name} is no array of the file itself; it is not read")
        if dataset.id.get_create_plist().get_external_count():
            raise ResultError(f"{path}: {name} is stored in a file elsewhere; it is not read")
        variable, dtype = self.variables[name], dataset.dtype
        shape = variable.shape(sizes) if "sample" in sizes else (dataset.shape[:1] + variable.shape(self._sizes)[1:])
        text = variable.dtype.startswith("S")
        if dataset.shape != shape or (dtype.kind != "S" if text else dtype != np.dtype(variable.dtype)):
            raise ResultError(
                f"{path}: {name} is {dtype} {dataset.shape}, expected {variable.dtype} {shape}; the file is damaged"
            )
        return dataset

    def _check_sources(self, dataset: h5py.Dataset, name: str) -> None:
        if self._url is not None:
            raise ResultError(
                f"{self._url}: is the view of a run that goes on; copy it with its folder, or wait for its end"
            )
        if self._sources is None:
            self._sources = {}
        properties = dataset.id.get_create_plist()
        shown = {
            (properties.get_virtual_filename(k), properties.get_virtual_dsetname(k))
            for k in range(properties.get_virtual_count())
        }
        rows = {k: v for k, v in self._sizes.items() if k != "sample"}
        for source, member in sorted(shown):
            if source not in self._sources:
                self._sources[source] = self._open_source(source)
            if member != name or self._check(self._sources[source], name, self._source_path(source), rows).is_virtual:
                raise ResultError(f"{self.path}: {name} does not show {name} of {source} itself; it is not read")

    def _source_path(self, source: str) -> Path:
        # As HDF5 does: beside the file itself, not beside a link to it; "%%" stands for "%".
        return self.path.resolve().parent / source.replace("%%", "%")

    def _open_source(self, source: str) -> h5py.File:
        path = self._source_path(source)
        if not _SOURCE.fullmatch(source) or path.is_symlink():
            raise ResultError(
                f"{self.path}: shows {source}, which is not in the folder of its run beside it; it is not read"
            )
        if not path.parent.is_dir():
            raise ResultError(
                f"{self.path}: {_GONE} the folder {path.parent} with its samples is gone; "
                "put it back beside the file, or run the same command again to compute them afresh"
            )
        try:
            return open_to_read(path)
        except FileNotFoundError as error:
            raise ResultError(
                f"{self.path}: {_GONE} {path} with some of its samples is gone; "
                "put it back, or run the same command again to compute them afresh"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn whatever HDF5 and h5py say of a damaged file to a ResultError."""
        try:
            yield
        except ResultError:
            raise
        except MemoryError as error:
            raise ResultError(f"{self.path}: more than this machine's memory at once; read a part of it") from error
        except OSError as error:
            if "too many open files" in str(error).lower():
                raise ResultError(
                    f"{self.path}: too many open files; allow more (ulimit -n), for an unfinished run is read from up to 100"
                ) from error
            raise ResultError(
                f"{self.path}: damaged, a block cannot be read ({_first_line(error)}); run the same command again to continue "
                "an interrupted run, which replaces damaged parts, or compute a finished result afresh"
            ) from error
        except Exception as error:
            raise ResultError(
                f"{self.path}: damaged ({type(error).__name__}: {_first_line(error)}); use another copy, or compute it afresh"
            ) from error

    def close(self) -> None:
        """Again is harmless."""
        for source in (self._sources or {}).values():
            source.close()
        self.file.close()

    def __enter__(self) -> OpenResult:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _open(path: Path) -> h5py.File:
    try:
        before = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ResultError(f"{path}: no such file; check the name") from error
    except (OSError, ValueError) as error:
        raise ResultError(f"{path}: cannot be opened ({_first_line(error)})") from error
    if stat.S_ISDIR(before.st_mode):
        raise ResultError(f"{path}: is a folder, not a result file; name the .h5 file in it")
    if not stat.S_ISREG(before.st_mode):
        raise ResultError(f"{path}: is no ordinary file; a result has to be one")
    try:
        return open_to_read(path)
    except FileNotFoundError as error:
        raise ResultError(f"{path}: no such file; check the name") from error
    except Exception as error:  # of any kind: the file may hold anything
        kind = ViewChangedError if _is_another(path, before) else ResultError
        raise kind(f"{path}: {_reason(_first_line(error))}") from error


def _is_another(path: Path, before: os.stat_result) -> bool:
    try:
        return not os.path.samestat(os.stat(path), before)
    except OSError:
        return True


def _reason(message: str) -> str:
    if "truncated file" in message:
        return "a truncated HDF5 file (an incomplete copy?); copy it again, or compute it afresh"
    if "checksum" in message or "superblock" in message:
        return "damaged, its first bytes are not those of an HDF5 file; use another copy, or compute it afresh"
    if "signature not found" in message:
        return "not an HDF5 file; give a result that distverify certify has written"
    if "unable to lock file" in message:
        return (
            "locked by another program, or on a network file system without locks; close it there, "
            "or set HDF5_USE_FILE_LOCKING=FALSE in the environment"
        )
    if "ermission denied" in message:
        return "cannot be read (permission denied); ask its owner, or copy it"
    return f"cannot be opened ({message})"
