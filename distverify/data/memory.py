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
