"""What is asked of pieces, and their keys: content hashes of everything that a result depends on besides the network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from distverify.questions.pieces import Arrays, Piece, Shared
from distverify.region import Ball

Floats = NDArray[np.float64]
Block = tuple[int, int]


@dataclass(frozen=True)
class Place:
    """The region that a request is about: its arrays and its known bounds are shared.

    Attributes
    ----------
    region : str
        Hash of the region.
    layer_bounds : "crown" or "interval"
    """

    region: str
    layer_bounds: str


@dataclass(frozen=True)
class Recursion:
    """How derivatives are bounded.

    Attributes
    ----------
    method : str
    direction : "backward" or "forward" ("auto" or "both" where it is not decided yet)
    matrix : str
        Hash of the shared :func:`rows_arrays`.
    block_bytes : int
        Memory for the columns in flight.
    """

    method: str
    direction: str
    matrix: str
    block_bytes: int


@dataclass(frozen=True)
class Neurons:
    """Bounds "lower<node>", "upper<node>" of linear nodes: a block of the only one's neurons, or consecutive nodes as a whole."""

    place: Place
    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Margins:
    """CROWN's "lower" of a block of rows."""

    place: Place


@dataclass(frozen=True)
class Gradients:
    """The dual "norms" of a block of rows' gradients at the shared "x0"."""

    norm: float


@dataclass(frozen=True)
class Chains:
    """Backward: the ``parts`` of a block of rows (see :func:`row_facts`). Forward: "lower", "upper" of a block of inputs [n, K]."""

    place: Place
    how: Recursion
    parts: tuple[str, ...]
    norm: float


@dataclass(frozen=True)
class Shape:
    """What the whole recursion looks like.

    "forward": whether that is its order; "sizes" and "work" of its groups, how many "rows" may move at once, "structure".
    """

    place: Place
    how: Recursion


@dataclass(frozen=True)
class Columns:
    """Bounds "lower<group>", "upper<group>" of some chains' derivatives by a block of the only group's members, or by all of each.

    Shared are the bounds of all later groups, by :func:`column_name`.
    """

    place: Place
    how: Recursion
    chains: Block
    groups: tuple[int, ...]


@dataclass(frozen=True)
class Merged:
    """The ``parts`` of a block of rows whose bounds are shared, as "lower" and "upper", beside those of all groups."""

    place: Place
    how: Recursion
    parts: tuple[str, ...]
    norm: float


@dataclass(frozen=True)
class Vector:
    """The constant of the "vector" output, from shared "constants", "parts" and "steepest" slopes."""

    norm: float


Request = Neurons | Margins | Gradients | Chains | Shape | Columns | Merged | Vector


def share(arrays: Arrays) -> Shared:
    """``arrays`` in C order, with the hash of their content."""
    arrays = {name: np.asarray(values, order="C") for name, values in arrays.items()}
    return Shared(digest(arrays), arrays)


def digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Hash of named arrays."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        values = arrays[name]
        sha.update(f"{name} {values.dtype.str} {values.shape}".encode())
        sha.update(values.tobytes())
    return sha.hexdigest()


def make_piece(request: Request, block: Block, shared: Shared) -> Piece:
    """The piece that answers ``request`` for ``block``."""
    kind = type(request).__name__.lower()
    key = hashlib.sha256(f"{kind} {block} {request!r} {shared.key}".encode()).hexdigest()
    return Piece(key, kind, block, request)


def column_name(side: str, group: int, chains: Block) -> str:
    """What the bounds of ``chains``' derivatives by the members of ``group`` are called among shared arrays."""
    return f"{side} of chains {chains[0]} by group {group}"


def rows_arrays(rows: Floats) -> Arrays:
    """Rows [K, outputs] as arrays: mostly single outputs or margins, of which only the few entries are sent."""
    at = np.flatnonzero(rows)
    if 4 * at.size > rows.size:
        return {"rows": rows}
    return {"rows_at": at, "rows_values": rows.reshape(-1)[at], "rows_shape": np.array(rows.shape)}


def rows_from(arrays: Mapping[str, NDArray[np.generic]], block: Block | None = None) -> Floats:
    """The inverse of :func:`rows_arrays`, or those of ``block``: float64 [n, outputs], C order."""
    if "rows" in arrays:
        return np.array(arrays["rows"] if block is None else arrays["rows"][slice(*block)], dtype=np.float64)
    count, outputs = rows_shape(arrays)
    first, last = (0, count) if block is None else block
    start, stop = np.searchsorted(arrays["rows_at"], (first * outputs, last * outputs))
    rows = np.zeros((last - first, outputs))
    rows.reshape(-1)[arrays["rows_at"][start:stop].astype(np.int64) - first * outputs] = arrays["rows_values"][
        start:stop
    ]
    return rows


def rows_shape(arrays: Mapping[str, NDArray[np.generic]]) -> tuple[int, int]:
    """(K, outputs)."""
    count, outputs = arrays["rows"].shape if "rows" in arrays else arrays["rows_shape"].tolist()
    return int(count), int(outputs)


def region_arrays(region: Ball) -> Arrays:
    """A ball as arrays: all of it that bounds depend on."""
    arrays: Arrays = {"x0": region.x0, "eps": np.asarray(region.eps), "norm": np.asarray(region.norm)}
    if region.clip is not None:
        arrays["clip_lo"], arrays["clip_hi"] = region.clip_box
    return arrays


def region_from(arrays: Mapping[str, NDArray[np.generic]]) -> Ball:
    """The inverse of :func:`region_arrays`, on arrays that hold others too."""
    x0, eps = np.array(arrays["x0"], dtype=np.float64), np.array(arrays["eps"], dtype=np.float64)
    clip = None
    if "clip_lo" in arrays:
        clip = np.array(arrays["clip_lo"], dtype=np.float64), np.array(arrays["clip_hi"], dtype=np.float64)
    return Ball(x0, eps, float(arrays["norm"]), clip)


def cut(size: int, count: int, least: int) -> Sequence[Block]:
    """Blocks of nearly equal size that cover 0:size: at most ``count``, none smaller than ``least`` but a single one."""
    n = max(1, min(count, size // least))
    edges = [i * size // n for i in range(n + 1)]
    return list(pairwise(edges))
