"""Questions on their way to workers: the arrays apart from the rest, and keys that are hashes of the content.

A key covers everything that an answer depends on besides the network. Equal keys, equal results: a piece that an earlier run kept is
found again by its key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.questions.pieces import Arrays, Block, Piece, Shared
from distverify.questions.question import Question
from distverify.region import Ball


@dataclass(frozen=True)
class _Array:
    """Stands for a shared array; ``shape`` of one of which only the few entries are sent that are not 0."""

    name: str
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Region:
    """Stands for a ball: all of it that bounds depend on."""

    x0: _Array
    eps: _Array | float
    norm: float
    clip: tuple[_Array, _Array] | None


def pack(question: Question[Any]) -> tuple[Question[Any], Shared]:
    """``question`` with stand-ins for its arrays, and the arrays in C order."""
    arrays: Arrays = {}
    request = _packed(question, "", arrays)
    return request, Shared(digest(arrays), arrays)


def unpack(request: Question[Any], shared: Shared) -> Question[Any]:
    """The inverse of :func:`pack`. Arrays are the shared ones themselves, but those of regions."""
    return _unpacked(request, shared.arrays)  # type: ignore[no-any-return]


def make_piece(request: Question[Any], block: Block, shared: Shared) -> Piece:
    """The piece that answers the packed ``request`` for ``block``."""
    key = hashlib.sha256(f"{request.kind} {block} {request!r} {shared.key}".encode()).hexdigest()
    return Piece(key, request.kind, block, request, request.open_subproblems)


def digest(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Hash of named arrays."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        values = arrays[name]
        sha.update(f"{name} {values.dtype.str} {values.shape}".encode())
        sha.update(values.tobytes())
    return sha.hexdigest()


def digest_of(value: Any) -> str:
    """Hash of a value that may be part of a question."""
    arrays: Arrays = {}
    return hashlib.sha256(f"{_packed(value, '', arrays)!r} {digest(arrays)}".encode()).hexdigest()


def _packed(value: Any, name: str, arrays: Arrays) -> Any:
    if isinstance(value, np.ndarray):
        return _packed_array(value, name, arrays)
    if isinstance(value, Ball):
        clip = value.clip if value.clip is None else value.clip_box
        parts = {"x0": value.x0, "eps": value.eps, "norm": value.norm, "clip": clip}
        return _Region(**{key: _packed(part, f"{name}.{key}", arrays) for key, part in parts.items()})
    if isinstance(value, Mapping):
        return {key: _packed(item, f"{name}.{key}", arrays) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_packed(item, f"{name}.{i}", arrays) for i, item in enumerate(value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _packed(getattr(value, f.name), f"{name}.{f.name}", arrays) for f in fields(value)}
        )
    return value


def _packed_array(values: NDArray[np.generic], name: str, arrays: Arrays) -> _Array:
    """Rows are mostly single outputs or margins: few entries that are not 0."""
    if values.ndim == 2 and values.size:
        at = np.flatnonzero(values)
        if 4 * at.size <= values.size:
            arrays[f"{name}.at"], arrays[f"{name}.values"] = at, values.reshape(-1)[at]
            return _Array(name, values.shape)
    arrays[name] = np.asarray(values, order="C")
    return _Array(name)


def _unpacked(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, _Array):
        if not value.shape:
            return arrays[value.name]
        values = arrays[f"{value.name}.values"]
        out = np.zeros(value.shape, values.dtype)
        out.reshape(-1)[arrays[f"{value.name}.at"]] = values
        return out
    if isinstance(value, _Region):
        # Copies: a region is kept longer than the store that shared arrays lie in.
        x0, eps, clip = (_unpacked(part, arrays) for part in (value.x0, value.eps, value.clip))
        return Ball(x0.copy(), np.array(eps), value.norm, None if clip is None else (clip[0].copy(), clip[1].copy()))
    if isinstance(value, Mapping):
        return {key: _unpacked(item, arrays) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_unpacked(item, arrays) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _unpacked(getattr(value, f.name), arrays) for f in fields(value)})
    return value
