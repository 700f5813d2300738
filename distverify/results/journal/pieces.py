"""Pieces of samples that are not finished: one immutable file each, until their sample is committed.

A file holds one line of JSON (whose piece it is, and the names of its arrays), the arrays one after the other in
NumPy's ``.npy`` format, and the SHA-256 of all that. It is written, and comes back, without a second copy of the
arrays in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distverify.errors import ResultError
from distverify.results.files import write_bytes_atomically
from distverify.work import Payload

SUFFIX = ".piece"
_FORMAT = "distverify piece 1"
_NAME = re.compile(r"(\d{8,})\.[0-9a-f]{32}\.piece")
_DIGEST_BYTES = 32
_BLOCK_BYTES = 1 << 20


class PieceStore:
    """The pieces that are kept in a folder; only the driver has one.

    Parameters
    ----------
    folder : Path
        Its listing says what is there; the files are looked into when they are asked for.
    run_id : str
    fresh : bool
        What is there is not of this run, and will be removed.
    """

    def __init__(self, folder: Path, run_id: str, fresh: bool = False) -> None:
        self._folder = folder
        self._run_id = run_id
        self._names: dict[int, set[str]] = {}
        for path in () if fresh else folder.glob(f"*{SUFFIX}"):
            name = _NAME.fullmatch(path.name)
            if name is not None:
                self._names.setdefault(int(name[1]), set()).add(path.name)

    def __len__(self) -> int:
        return sum(len(names) for names in self._names.values())

    def keep(self, position: int, key: str, payload: Payload) -> None:
        """Write one piece: after return it survives a power cut, before it does not exist.

        Raises
        ------
        ResultError
            An array of Python objects, or the file cannot be written.
        """
        for name, array in payload.items():
            if array.dtype.hasobject:
                raise ResultError(f"piece of sample {position}: {name} holds Python objects; give numbers or text")
        path = self._folder / _file_name(position, key)
        header = {"format": _FORMAT, "run_id": self._run_id, "position": position, "key": key, "names": list(payload)}
        with write_bytes_atomically(path) as write:
            target = _Hashing(write)
            target.write(json.dumps(header).encode() + b"\n")
            for array in payload.values():
                np.lib.format.write_array(target, np.asanyarray(array), allow_pickle=False)
            write(target.digest)
        self._names.setdefault(position, set()).add(path.name)

    def recall(self, position: int, key: str) -> Payload | None:
        """The arrays of a piece that was kept, None where there is none.

        Raises
        ------
        ResultError
            The file is damaged or foreign: it was moved aside (suffix ``.bad``), and the piece is to be computed.
        """
        path = self._folder / _file_name(position, key)
        if path.name not in self._names.get(position, ()):
            return None
        try:
            return self._read(path, position, key)
        except FileNotFoundError:
            reason = "is gone"
        except (ResultError, OSError, KeyError, TypeError, ValueError, EOFError) as error:
            os.replace(path, path.with_name(path.name + ".bad"))
            told = str(error) if isinstance(error, ResultError) else f"damaged ({error})"
            reason = f"{told}; moved aside as {path.name}.bad"
        self._names[position].discard(path.name)
        raise ResultError(f"{path.name}: {reason}, this piece is computed again")

    def forget(self, positions: Iterable[int]) -> None:
        """Remove the pieces of these samples; for samples that are committed."""
        for position in positions:
            for name in self._names.pop(position, ()):
                (self._folder / name).unlink(missing_ok=True)

    def positions(self) -> list[int]:
        """The samples that have pieces, in order."""
        return sorted(position for position, names in self._names.items() if names)

    def _read(self, path: Path, position: int, key: str) -> Payload:
        with path.open("rb") as file:
            # The whole file before any of it is believed: a damaged length could ask for any amount of memory.
            if not _is_sound(file):
                raise ResultError("corrupted: the checksum does not match")
            file.seek(0)
            header: dict[str, Any] = json.loads(file.readline())
            mine = {"format": _FORMAT, "run_id": self._run_id, "position": position, "key": key}
            if any(header.get(name) != value for name, value in mine.items()):
                raise ResultError("foreign: it belongs to another run, or to another piece")
            return {name: np.lib.format.read_array(file, allow_pickle=False) for name in header["names"]}


class _Hashing:
    """What NumPy takes for a file to write to; everything goes through a SHA-256."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        self._write(data)
        return len(data)

    @property
    def digest(self) -> bytes:
        return self._hash.digest()


def _is_sound(file: BinaryIO) -> bool:
    left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
    digest = hashlib.sha256()
    while left > 0:
        block = file.read(min(left, _BLOCK_BYTES))
        if not block:
            return False
        digest.update(block)
        left -= len(block)
    return left == 0 and file.read() == digest.digest()


def _file_name(position: int, key: str) -> str:
    # A key may be any text; it stands in the file as it is.
    return f"{position:08d}.{hashlib.sha256(key.encode()).hexdigest()[:32]}{SUFFIX}"
