"""How much memory an array from an untrusted file may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from distverify.errors import DataError


def available_memory() -> int:
    """Bytes that can be allocated now: what Linux reports as available, elsewhere the physical memory."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# Values that a file of some size can hold: no real data shrink to less than this, but runs of one value do.
_MOST_EXPANDED = 200
_HARMLESS = 2**30


def check_expansion(what: str, needed: int, stored: int) -> None:
    """Refuse to unpack what is next to nothing in the file and fills the memory: a file of zeros, or one made to harm.

    Raises
    ------
    DataError
    """
    if needed > _HARMLESS and needed > _MOST_EXPANDED * stored:
        raise DataError(
            f"{what}: {stored:,} bytes in the file become {needed / 2**30:.3g} GiB, so nearly all values are the same; choose "
            "fewer samples, or check that the file is not damaged"
        )


def check_memory(what: str, needed: int) -> None:
    """Refuse to read ``what`` if its ``needed`` bytes do not fit.

    Raises
    ------
    DataError
    """
    available = available_memory()
    if needed > available:
        raise DataError(
            f"{what}: needs {needed / 2**30:.3g} GiB of memory, {available / 2**30:.3g} GiB are available; "
            "choose fewer samples, or check that the file is not damaged"
        )
