"""A file with one number, or one name, per feature."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.data.memory import check_memory
from distverify.errors import DataError


def load_vector(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read numbers, float64 [n]: an array of any shape in C order from ``.npy``, else text with commas or white space.

    Raises
    ------
    DataError
        A file that cannot be read, holds something else than numbers, or does not fit in memory.
    """
    file = Path(path)
    try:
        check_memory(str(path), 8 * file.stat().st_size)
        if file.suffix.lower() == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            values = np.array(file.read_text(encoding="utf-8").replace(",", " ").split(), dtype=np.float64)
        return np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, TypeError, EOFError) as error:
        raise DataError(f"{path}: is no list of numbers ({error}); give one number per feature") from None


def load_box(path: str | os.PathLike[str]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A lower and an upper row, one value for each feature, from a file that :func:`load_vector` reads.

    Raises
    ------
    DataError
        As there; an odd number of values.
    """
    values = load_vector(path)
    if values.size % 2 or not values.size:
        raise DataError(
            f"{path}: holds {values.size} numbers; give a lower and an upper row, one value for each feature"
        )
    lower, upper = values.reshape(2, -1).tolist()
    return tuple(lower), tuple(upper)


def load_matrix(path: str | os.PathLike[str]) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers: an array of one or two axes from ``.npy``, else a line of text for each, with commas or white space.

    Raises
    ------
    DataError
        A file that cannot be read, holds something else than numbers, or rows of several lengths.
    """
    file = Path(path)
    try:
        check_memory(str(path), 8 * file.stat().st_size)
        if file.suffix.lower() == ".npy":
            values = np.asarray(np.load(file, allow_pickle=False), dtype=np.float64)
        else:
            lines = [line.replace(",", " ").split() for line in file.read_text(encoding="utf-8").splitlines()]
            values = np.array([line for line in lines if line], dtype=np.float64)
        if values.ndim not in (1, 2) or not values.size:
            raise ValueError(f"shape {values.shape}")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, TypeError, EOFError) as error:
        raise DataError(
            f"{path}: is no matrix of numbers ({error}); give a row for each feature, and a column for each parameter"
        ) from None
    return tuple(tuple(row) for row in values.reshape(values.shape[0], -1).tolist())


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The lines of a text file that are not blank.

    Raises
    ------
    DataError
        A file that cannot be read or is no text.
    """
    try:
        check_memory(str(path), 8 * Path(path).stat().st_size)
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text in UTF-8; give one name in a line") from None
    return tuple(line.strip() for line in lines if line.strip())
