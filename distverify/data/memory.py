"""How much memory an array from an untrusted file may take: that of the machine, or less where a control group limits it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from distverify.errors import DataError

_UNLIMITED = 1 << 60  # version 1 writes a number near 2**63 where there is no limit


@dataclass(frozen=True)
class _Files:
    """What a version of control groups calls its figures."""

    limit: str
    usage: str
    reclaimable: str  # in memory.stat: cached files that make room by themselves


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be allocated now, by the machine and by every control group (version 1 or 2) that holds this process.

    Parameters
    ----------
    root : Path
        Of the file system with ``proc`` and the control groups.
    """
    return min([_of_machine(root), *_of_groups(root)])


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


def _of_machine(root: Path) -> int:
    """What Linux reports as available, elsewhere the physical memory."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_groups(root: Path) -> Iterator[int]:
    """What is left of the limit of each control group that has one."""
    for mount, place, own, files in _mounts(root):
        # Inside of a container the path may be that on the host, of which only the end is mounted here.
        with suppress(ValueError):
            own = PurePosixPath("/") / own.relative_to(place)
        for group in (own, *own.parents):
            folder = root / mount.relative_to("/") / group.relative_to("/")
            limit = _text(folder / files.limit).strip()
            if not limit.isdigit() or int(limit) >= _UNLIMITED:
                continue
            usage = _text(folder / files.usage).strip()
            cached = re.search(rf"^{files.reclaimable} (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
            taken = (int(usage) if usage.isdigit() else 0) - (int(cached[1]) if cached else 0)
            yield max(int(limit) - max(taken, 0), 0)


def _mounts(root: Path) -> Iterator[tuple[PurePosixPath, PurePosixPath, PurePosixPath, _Files]]:
    """Where the memory groups are mounted, which group that is, which one is this process', and how its files are called."""
    own: dict[str, PurePosixPath] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(",") if path.startswith("/") else ():
            own[controller] = PurePosixPath(path)
    for line in _text(root / "proc/self/mountinfo").splitlines():
        match = re.fullmatch(r"\S+ \S+ \S+ (/\S*) (/\S*) .*- (\S+) \S+ (\S+)", line)
        if match is None:
            continue
        place, mount, kind, options = match.groups()
        if kind == "cgroup2" and "" in own:
            yield PurePosixPath(mount), PurePosixPath(place), own[""], _V2
        elif kind == "cgroup" and "memory" in own and "memory" in options.split(","):
            yield PurePosixPath(mount), PurePosixPath(place), own["memory"], _V1


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
