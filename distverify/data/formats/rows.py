"""What the readers of all formats share: runs of neighbouring rows, the names x and y."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from distverify.data.array_source import Indices
from distverify.errors import DataError


def runs(ascending: Indices) -> Iterator[tuple[int, int]]:
    """Where runs of neighbours begin and end among ascending indices."""
    edges = [0, *(np.flatnonzero(np.diff(ascending) != 1) + 1).tolist(), len(ascending)]
    return itertools.pairwise(edges)


def require_x(path: Path, names: Iterable[str]) -> list[str]:
    """Those of "x" and "y" that are there."""
    names = sorted(names)
    if "x" not in names:
        found = ", ".join(names[:20]) or "none"
        raise DataError(f"{path}: has no array x (found: {found}); store inputs as x [N, ...], labels as y [N]")
    return [name for name in ("x", "y") if name in names]
