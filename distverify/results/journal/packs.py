"""Packs: the rows of many shards in one immutable file, so that a reader opens few files however long a run is.

A pack takes its place at once, whole; only then do the files that it stands for go. A run that is killed in between has
both, with the same rows in both.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.blocks import Place
from distverify.results.files import create_variable, open_to_read, write_atomically
from distverify.results.journal.coverage import Coverage, Segment
from distverify.results.journal.shards import FINISHED, Rows, Shard, checksum
from distverify.results.manifest import Manifest
from distverify.results.schema import variables_for

# A view of a run maps at most so many files. A program that reads through it holds all of them open, and may have as
# few as 256; of many more HDF5 would take those that it cannot open for missing, without a word.
MOST_FILES = 100
_GATHERED_BYTES = 1 << 26  # so small a pack is gathered in memory, and each variable written at once
POSITION, ATTEMPT = "position", "attempt"  # datasets of a pack: what its rows are
_NAME = re.compile(r"pack-(\d{8,})\.h5")


def pack_name(number: int) -> str:
    """File name of a pack; a number is never used twice in a run."""
    return f"pack-{number:08d}.h5"


def pack_number(name: str) -> int | None:
    """The number of the pack ``name``, None for other files."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def choose(levels: Sequence[int], most: int) -> list[int]:
    """Which of these files to merge to one: none while they are few enough.

    All of the level that has most files, the lowest at equal numbers. A file holds rows ``level`` times rewritten: with 100
    files up to 3,000 units once, 60,000 twice, a million three times.

    Parameters
    ----------
    levels : sequence of int
        Of the files; FINISHED ones are never merged.
    most : int
        Files that may stay; at least 3.

    Returns
    -------
    list of int
        Indices into ``levels``; empty, or two and more.
    """
    if len(levels) <= most:
        return []
    count = Counter(level for level in levels if level != FINISHED)
    level = min(count, key=lambda level: (-count[level], level))
    return [k for k, own in enumerate(levels) if own == level] if count[level] > 1 else []


def write_pack(folder: Path, number: int, shards: Sequence[Shard], coverage: Coverage, manifest: Manifest) -> Shard:
    """Write the rows of ``shards`` that count to one file: after return it survives a power cut.

    Every shard is looked through once more on the way, so that no damage gets a new checksum.

    Raises
    ------
    ResultError
        A shard is damaged, or the file cannot be written; nothing is changed then.
    """
    positions, attempts = coverage.rows_of(shards)
    segments: dict[Path, list[Segment]] = {shard.path: [] for shard in shards}
    for segment in coverage.segments_of(shards):
        segments[segment.shard.path].append(segment)
    variables = variables_for(manifest.settings)
    level = 1 + max(shard.level for shard in shards)
    sizes = {**manifest.sizes, "sample": len(positions)}
    path = folder / pack_name(number)
    with write_atomically(path, path.with_name(path.name + ".tmp")) as (file, check):
        targets: dict[str, Any] = {v.name: create_variable(file, v, v.shape(sizes)) for v in variables}
        if sum(dataset.nbytes for dataset in targets.values()) <= _GATHERED_BYTES:
            targets = {name: np.empty(dataset.shape, dataset.dtype) for name, dataset in targets.items()}
        file.create_dataset(POSITION, data=positions)
        file.create_dataset(ATTEMPT, data=attempts)
        for shard in shards:
            _copy(shard, segments[shard.path], positions, targets, check)
        for name, target in targets.items():
            if isinstance(target, np.ndarray):
                file[name][...] = target
        file.attrs["run_id"] = manifest.run_id
        file.attrs["level"] = np.int64(level)
        file.attrs["checksum"] = checksum(file, {POSITION, ATTEMPT, *targets})
    return Shard(path, Rows(positions, attempts), level)


def _copy(
    shard: Shard, segments: Sequence[Segment], positions: NDArray[np.int64], targets: Mapping[str, Any],
    check: Callable[[], None],
) -> None:  # fmt: skip
    places = np.searchsorted(positions, [segment.start for segment in segments]).tolist()

    def copy(name: str, where: Place, values: NDArray[np.generic]) -> None:
        if name not in targets:
            return
        rows, *rest = where
        for segment, place in zip(segments, places, strict=True):
            start, stop = max(rows.start, segment.source.start), min(rows.stop, segment.source.stop)
            if start < stop:
                to = place + start - segment.row
                targets[name][(slice(to, to + stop - start), *rest)] = values[start - rows.start : stop - rows.start]
        check()

    if shard.values is not None:
        for name, values in shard.values.items():
            copy(name, (slice(0, shard.rows.count),), values)
        return
    names = {*targets} if shard.level == 0 else {*targets, POSITION, ATTEMPT}
    try:
        with open_to_read(shard.path) as source:
            if checksum(source, names, copy) != source.attrs["checksum"]:
                raise ResultError("the checksum does not match")
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        check()
        raise ResultError(
            f"{shard.path}: cannot be read ({error}); run the same command again: damaged parts are found and computed again"
        ) from error
