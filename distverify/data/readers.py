"""Arrays in data files that nobody vouches for. Shapes and types are known before any value is read.

No pickles, no links out of the file, and no memory for what a file merely declares. Each format is read in a file of its own, in
``formats/``; which one it is, is told by the name, or else by the first bytes.
"""

from __future__ import annotations

import contextlib
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from distverify.data.array_source import ArraySource, Sources
from distverify.data.csv_table import open_csv
from distverify.data.formats.binary import idx_source, is_idx, open_cifar, open_idx
from distverify.data.formats.hdf5 import open_hdf5
from distverify.data.formats.images import open_image_folder
from distverify.data.formats.numpy_files import npy_source, open_npz
from distverify.data.formats.parquet import open_parquet
from distverify.data.formats.tensors import open_safetensors, open_torch
from distverify.data.preprocessing import Resizing
from distverify.data.remote import is_remote, local_copy
from distverify.errors import DataError

_OPENED = {".npz": open_npz, ".h5": open_hdf5, ".hdf5": open_hdf5, ".pt": open_torch, ".pth": open_torch}
_READ: dict[str, Callable[[Path], Sources]] = {
    ".npy": lambda path: {"x": npy_source(path)}, ".safetensors": open_safetensors, ".bin": open_cifar, ".bin.gz": open_cifar,
}  # fmt: skip
_KINDS = (".npz", ".h5", ".hdf5", ".csv", ".parquet", *_READ, ".pt", ".pth")


@contextlib.contextmanager
def open_arrays(
    path: str | os.PathLike[str], *, input_size: int, labels: bool = True, resizing: Resizing | None = None
) -> Iterator[Sources]:
    """The arrays ``x`` and (if there are labels) ``y`` of a data file, readable while the context is open.

    Parameters
    ----------
    path : str or path
        ``.npz``, ``.h5``, ``.hdf5``, ``.csv``, ``.parquet``, ``.safetensors``, ``.pt``, ``.npy``, CIFAR's ``.bin``, an IDX file; a
        folder with ``x.npy`` and ``y.npy``, or of images for each class; two files ``X,Y`` of one array each; or a URL.
    input_size : int
        The model's: by it the columns of a table are told apart.
    labels : bool
        Whether ``y`` is wanted.
    resizing : Resizing, optional
        How encoded images are brought to one size.

    Raises
    ------
    DataError
        No such file, an unknown kind of file, a damaged one, one without ``x``.
    """
    named = str(path)
    pair = pair_of(path)
    try:
        if pair is not None:
            sources: Sources = {name: _single(local_copy(file)) for name, file in zip("xy", pair, strict=True)}
            yield _wanted(sources, labels)
            return
        file = local_copy(path)
        with _opened(file, named, input_size, labels, resizing) as sources:
            yield _wanted(sources, labels)
    except DataError:
        raise
    # What the libraries raise on damaged files, while opening or while reading.
    except (
        OSError,
        EOFError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        reason = str(error).strip("'\"") or type(error).__name__
        suffix = Path(named).suffix or "data"
        raise DataError(f"{path}: cannot be read ({reason}); the file is damaged, or no {suffix} file") from None


def pair_of(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """The two files that ``X.npy,Y.npy`` names; None for any other path."""
    first, comma, second = os.fspath(path).partition(",")
    if not comma or "," in second or os.path.lexists(path):
        return None
    return first.strip(), second.strip()


def name_of(path: str | os.PathLike[str]) -> str:
    """A data set's name for people: its file's, without a folder."""
    return ",".join(Path(part).name for part in (pair_of(path) or (path,)))


def _wanted(sources: Sources, labels: bool) -> Sources:
    return {name: source for name, source in sources.items() if name == "x" or labels}


def _opened(
    file: Path, named: str, input_size: int, labels: bool, resizing: Resizing | None
) -> contextlib.AbstractContextManager[Sources]:
    mode = _mode(file, named)
    suffix = "".join(file.suffixes[-2:]).lower() if file.suffix.lower() == ".gz" else file.suffix.lower()
    known = suffix in _KINDS
    if stat.S_ISDIR(mode) and not known:
        if (file / "x.npy").is_file():
            both = [name for name in ("x", "y") if (file / f"{name}.npy").is_file()]
            return contextlib.nullcontext({name: npy_source(file / f"{name}.npy") for name in both})
        return contextlib.nullcontext(open_image_folder(file, input_size=input_size, resizing=resizing))
    if mode and not stat.S_ISREG(mode):
        raise DataError(f"{named}: not a regular file; give a data file")
    if not known and mode and is_idx(file):
        return contextlib.nullcontext(open_idx(file))
    if not known:
        raise DataError(
            f"{named}: unknown kind of data file; give one of {', '.join(_KINDS)}, IDX or a folder of images"
        )
    if suffix == ".csv":
        return open_csv(file, input_size=input_size, labels=labels)
    if suffix == ".parquet":
        return open_parquet(file, input_size=input_size, resizing=resizing)
    return _OPENED[suffix](file) if suffix in _OPENED else contextlib.nullcontext(_READ[suffix](file))


def _single(file: Path) -> ArraySource:
    """The array of a file that holds one."""
    if not stat.S_ISREG(_mode(file, str(file))):
        raise DataError(f"{file}: not a regular file; give a data file")
    if file.suffix.lower() == ".npy":
        return npy_source(file)
    if is_idx(file):
        return idx_source(file)
    raise DataError(f"{file}: holds no single array; a pair X,Y is two .npy or two IDX files")


def _mode(file: Path, named: str) -> int:
    try:
        return file.stat().st_mode
    except OSError as error:
        suffix = file.suffix.lower()
        if suffix not in _KINDS and suffix not in ("", ".gz") and not is_remote(named):
            return 0  # the kind is what is told first
        raise DataError(f"{named}: cannot be opened ({error.strerror}); check the path") from None
