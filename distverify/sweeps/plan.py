"""A plan: networks x data x settings, as a TOML file names them.

    networks = ["nets/*.onnx"]

    [[data]]
    data = "mnist_test.csv"
    scale = 255
    samples = "0:20"

    [[settings]]
    name = "small"
    eps = [0.005, 0.01]

Tables of data and of settings hold options of ``certify``, as they are typed. Paths are relative to the plan.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from distverify.errors import DataError

_KEYS = ("networks", "data", "settings")
# What a sweep chooses itself.
_OWN = ("output", "executor", "address", "max_actors", "overwrite", "part", "name", "config")
_LARGEST = 2**20


@dataclass(frozen=True)
class PlanCell:
    """A run of the plan.

    Attributes
    ----------
    network, data, settings : str
        As the table tells them.
    words : tuple of str
        Of a ``certify`` command, without its output.
    """

    network: str
    data: str
    settings: str
    words: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The result file's name, without its ending."""
        return "_".join(
            re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in (self.network, self.data, self.settings) if part
        )


def read_plan(path: Path) -> list[PlanCell]:
    """The cells of a plan, network by network.

    Raises
    ------
    DataError
        A file that cannot be read, is no plan, or names nothing.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: is larger than {_LARGEST >> 20} MiB; no plan is")
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is no TOML ({error}); give networks, [[data]] and [[settings]]") from None
    unknown = sorted(told.keys() - set(_KEYS))
    if unknown:
        raise DataError(f"{path}: {unknown[0]} is unknown; a plan has {', '.join(_KEYS)}")
    networks = _networks(path, told.get("networks"))
    data = [_table(path, "data", k, entry) for k, entry in enumerate(_entries(path, told, "data"), 1)]
    settings = [_table(path, "settings", k, entry) for k, entry in enumerate(_entries(path, told, "settings"), 1)]
    cells = [
        PlanCell(net.name.removesuffix(".gz").removesuffix(".onnx"), d[0], s[0], (str(net), *d[1], *d[2], *s[2]))
        for net, d, s in product(networks, data, settings)
    ]
    seen: set[str] = set()
    for cell in cells:
        if cell.stem in seen:
            raise DataError(
                f"{path}: two cells are called {cell.stem}; give each table of data and settings its own name"
            )
        seen.add(cell.stem)
    return cells


def _networks(path: Path, told: Any) -> list[Path]:
    patterns = [told] if isinstance(told, str) else told
    if not (isinstance(patterns, list) and patterns and all(isinstance(p, str) and p for p in patterns)):
        raise DataError(f'{path}: networks: got {told!r}; give paths or patterns, networks = ["*.onnx"]')
    found: dict[Path, None] = {}
    for pattern in patterns:
        own = Path(pattern)
        base, rest = (
            (Path(own.anchor), str(own.relative_to(own.anchor))) if own.is_absolute() else (path.parent, pattern)
        )
        matches = sorted(p for p in base.glob(rest) if p.is_file())
        if not matches:
            raise DataError(f"{path}: networks: nothing matches {pattern!r} in {base}; check the pattern")
        found |= dict.fromkeys(p.resolve() for p in matches)
    return list(found)


def _entries(path: Path, told: dict[str, Any], key: str) -> list[Any]:
    entries = told.get(key, [{}] if key == "settings" else [])
    entries = entries if isinstance(entries, list) else [entries]
    if not entries:
        raise DataError(f"{path}: has no [[{key}]]; give at least one table")
    return entries


def _table(path: Path, key: str, number: int, entry: Any) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The name of a table, the arguments and the options it stands for."""
    where = f"{path}: {key} {number}"
    if key == "data" and isinstance(entry, str):
        entry = {"data": entry}
    if not isinstance(entry, dict):
        raise DataError(f"{where}: got {entry!r}; give a table, [[{key}]]")
    options = {name.replace("-", "_"): value for name, value in entry.items()}
    name = options.pop("name", None)
    arguments: tuple[str, ...] = ()
    if name is not None and not (isinstance(name, str) and name):
        raise DataError(f"{where}: name: got {name!r}; give a text")
    if key == "data":
        files = options.pop("data", None)
        files = [files] if isinstance(files, str) else files
        if not (isinstance(files, list) and files and all(isinstance(f, str) and f for f in files)):
            raise DataError(f'{where}: data: got {files!r}; give a file, data = "digits.npz"')
        arguments = tuple(f if "://" in f else str((path.parent / f).resolve()) for f in files)
        name = name or Path(files[0].rstrip("/")).name
    words: list[str] = []
    for option, value in options.items():
        if option in _OWN:
            raise DataError(f"{where}: {option} is the sweep's own choice; leave it out")
        words += _typed(f"{where}: {option}", option, value)
    if name is None:
        name = "-".join(w.removeprefix("--") for w in words) or "default"
    return name, arguments, tuple(words)


def _typed(where: str, option: str, value: Any) -> list[str]:
    """An option as it would be typed."""
    flag = "--" + option.replace("_", "-")
    if isinstance(value, bool):
        return [flag] if value else []
    if isinstance(value, list) and all(isinstance(v, int | float | str) for v in value):
        return [f"{flag}={','.join(map(str, value))}"]
    if isinstance(value, int | float | str):
        return [f"{flag}={value}"]
    raise DataError(f"{where}: got {value!r}; give a number, a text, or a list of them")
