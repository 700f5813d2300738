"""The lines of a benchmark folder's list: networks, a query, and its limit of time.

Lists are those of VNN-COMP: ``network.onnx,property.vnnlib,seconds``; a header may name the columns (network or onnx, property or vnnlib,
timeout, category, verdict), and where a query has several networks, the first column holds pairs, ``[('f', 'a.onnx'), ('g', 'b.onnx')]``.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from distverify.errors import DataError

_COLUMNS = {
    "network": ("network", "networks", "onnx", "model"),
    "query": ("property", "query", "vnnlib", "spec"),
    "seconds": ("timeout", "seconds", "timeout_secs"),
    "category": ("category", "benchmark"),
    "verdict": ("verdict", "expected", "result"),
}
_LARGEST = 16 * 2**20


@dataclass(frozen=True)
class BenchmarkInstance:
    """One line.

    Attributes
    ----------
    category, networks, query : str
        As they are told in results.
    models : tuple of (name, Path)
    path : Path
        Of the query.
    seconds : float
    expected : str
        The verdict that the list tells; empty where it tells none.
    """

    category: str
    networks: str
    query: str
    models: tuple[tuple[str, Path], ...]
    path: Path
    seconds: float
    expected: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What it is known by in results."""
        return self.networks, self.query


def read_folder(folder: Path, default_seconds: float) -> list[BenchmarkInstance]:
    """The instances of a benchmark folder.

    Parameters
    ----------
    folder : Path
        With ``instances.csv``, or one other .csv file; or the list itself.
    default_seconds : float
        For lines without a limit.

    Raises
    ------
    DataError
    """
    listed = folder if folder.is_file() else _list_in(folder)
    base = listed.parent
    if listed.stat().st_size > _LARGEST:
        raise DataError(f"{listed}: is larger than {_LARGEST >> 20} MiB; no instance list is")
    with listed.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        lines = [(reader.line_num, line) for reader in (csv.reader(stream, skipinitialspace=True),) for line in reader]
    lines = [(n, [f.strip() for f in fields]) for n, fields in lines if fields and not fields[0].startswith("#")]
    if not lines:
        raise DataError(f"{listed}: holds no instance; give lines of network.onnx,property.vnnlib,seconds")
    places = _header(lines[0][1])
    if places is None:
        places = {"network": 0, "query": 1, "seconds": 2}
    else:
        lines = lines[1:]
    return [_instance(listed, base, number, fields, places, default_seconds) for number, fields in lines]


def _list_in(folder: Path) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a benchmark folder or its instance list")
    if (folder / "instances.csv").is_file():
        return folder / "instances.csv"
    others = sorted(folder.glob("*.csv"))
    if len(others) != 1:
        raise DataError(f"{folder}: has no instances.csv, and {len(others)} other .csv files; give the list itself")
    return others[0]


def _header(fields: Sequence[str]) -> dict[str, int] | None:
    """The columns by what they hold, where the line is a header."""
    known = {name: what for what, names in _COLUMNS.items() for name in names}
    places = {known[f.lower()]: k for k, f in enumerate(fields) if f.lower() in known}
    return places if "network" in places and "query" in places else None


def _instance(
    listed: Path, base: Path, number: int, fields: list[str], places: dict[str, int], default: float
) -> BenchmarkInstance:
    def field(what: str) -> str:
        place = places.get(what, -1)
        return fields[place] if 0 <= place < len(fields) else ""

    networks, query = field("network"), field("query")
    if not networks or not query:
        raise DataError(f"{listed}: line {number} names no network or no query; mend or remove it")
    try:
        seconds = float(field("seconds") or default)
    except ValueError:
        raise DataError(f"{listed}: line {number} has {field('seconds')!r} for a limit; give seconds") from None
    if not 0 < seconds < 1e9:
        raise DataError(f"{listed}: line {number} has {seconds:g} for a limit; give seconds above 0")
    models = tuple((name, _found(base, path, listed, number)) for name, path in _pairs(networks, listed, number))
    path = _found(base, query, listed, number)
    return BenchmarkInstance(
        field("category") or base.resolve().name, networks, query, models, path, seconds, field("verdict")
    )


def _pairs(text: str, listed: Path, number: int) -> list[tuple[str, str]]:
    if not text.startswith(("[", "(")):
        return [("", text)]
    try:
        pairs = [(str(name), str(path)) for name, path in ast.literal_eval(text)]
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DataError(f"{listed}: line {number} has no list of (name, network) pairs; mend or remove it") from None
    if not pairs:
        raise DataError(f"{listed}: line {number} has an empty list of networks; mend or remove it")
    return pairs


def _found(base: Path, name: str, listed: Path, number: int) -> Path:
    """The file, plain or gzipped, in the folder or the one above it."""
    for folder in (base, base.parent):
        for candidate in (folder / name, folder / (name + ".gz"), folder / name.removesuffix(".gz")):
            try:
                if candidate.is_file():
                    return candidate.resolve()
            except (OSError, ValueError):
                break
    raise DataError(f"{listed}: line {number} names {name[:80]}, which is not there; mend or remove it")
