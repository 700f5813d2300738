"""A file with one number per feature."""

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
