"""Several finished results of the same network and settings, over different samples, as one."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError, SettingsError, argument
from distverify.options.files import RESULT_SUFFIXES, check_output
from distverify.results.blocks import blocks
from distverify.results.digest import sign
from distverify.results.files import create_variable, write_atomically
from distverify.results.journal.consolidate import write_hulls
from distverify.results.layout import describe_dataset, write_coordinates, write_root
from distverify.results.manifest import Manifest, difference
from distverify.results.opening import OpenResult
from distverify.results.reader import Result, open_result
from distverify.results.schema import AXIS_NAMES, PROPERTY_NAME, all_variables, run_variables_for, variables_for

# In the environment of a provenance: what a part is a part of, and which parts a merged result has.
PART, MERGED = "part", "merged"


@dataclass(frozen=True)
class _Source:
    """One of the results, open.

    Attributes
    ----------
    result : OpenResult
    manifest : Manifest
    rows : int64 [samples]
        Where each of its samples stands in the merged file.
    """

    result: OpenResult
    manifest: Manifest
    rows: NDArray[np.int64]


def merge(
    results: Sequence[Result | str | os.PathLike[str]], output: str | os.PathLike[str], *, overwrite: bool = False
) -> Result:
    """Write finished results of the same network and settings over different samples as one result file.

    Samples are in the order of their indices; of all parts of one run (``--part I/N``) in the order of that run, and then the
    merged file has the identity and the numbers of the run in one piece.

    Parameters
    ----------
    results : sequence of Result or path
        At least two.
    output : path
    overwrite : bool
        Replace ``output`` if it exists.

    Returns
    -------
    Result

    Raises
    ------
    ResultError
        A result that is unfinished, of another network, other settings or another version; a sample that two of them have.
    SettingsError
        Fewer than two results, or an output that would replace one of them.
    """
    if isinstance(results, str | os.PathLike) or not isinstance(results, Sequence) or len(results) < 2:
        got = len(results) if isinstance(results, list | tuple) else type(results).__name__
        raise SettingsError(f"results: got {got}; give at least two results to merge")
    paths = [r.path if isinstance(r, Result) else Path(r) for r in results]
    target = Path(output)
    check_output(target, RESULT_SUFFIXES, paths)
    if target.exists() and not overwrite:
        raise SettingsError(
            f"output: {target} exists; name another file, or replace it ({argument('overwrite', True)})"
        )
    with ExitStack() as stack:
        opened = [stack.enter_context(OpenResult(path)) for path in paths]
        manifests = [_with_names(result) for result in opened]
        _check_same(opened, manifests)
        whole, rows = _joined(opened, manifests)
        sources = [_Source(*parts) for parts in zip(opened, manifests, rows, strict=True)]
        _write(target, whole, sources)
    return open_result(target)


def parts_of(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that a merged result has: ``digest`` and ``samples`` (their indices) of each; empty for any other."""
    told = provenance.get("environment", {}).get(MERGED, [])
    return (
        [p for p in told if isinstance(p, dict) and "digest" in p and "samples" in p] if isinstance(told, list) else []
    )


def _with_names(result: OpenResult) -> Manifest:
    called = {axis: tuple(result.read(v.name).tolist()) for axis, v in AXIS_NAMES.items() if v.name in result.variables}
    names = tuple(result.read(PROPERTY_NAME.name).tolist()) if PROPERTY_NAME.name in result.variables else ()
    return replace(result.manifest, axis_names=called, names=names)


def _check_same(opened: Sequence[OpenResult], manifests: Sequence[Manifest]) -> None:
    first = manifests[0]
    for result, manifest in zip(opened, manifests, strict=True):
        if result.end is None:
            raise ResultError(
                f"{result.path}: its run has not ended; let it end (the same command continues it), then merge"
            )
        if result.unchanged() is False:
            raise ResultError(f"{result.path}: was changed since its run wrote it; use another copy")
        same = replace(manifest, indices=first.indices, data_digest=first.data_digest)
        if differences := difference(same, first, str(opened[0].path)):
            raise ResultError(
                f"{result.path}: cannot be merged; {differences[0].replace('this run', str(result.path))}"
            )
        if manifest.axis_names != first.axis_names:
            raise ResultError(f"{result.path}: calls its inputs or outputs by other names than {opened[0].path}")


def _joined(
    opened: Sequence[OpenResult], manifests: Sequence[Manifest]
) -> tuple[Manifest, list[NDArray[np.int64]]]:  # fmt: skip
    """The manifest of all samples, and where those of each result stand."""
    indices = np.concatenate([np.array(m.indices, dtype=np.int64) for m in manifests])
    values, first, times = np.unique(indices, return_index=True, return_counts=True)
    if (times > 1).any():
        twice = int(values[times > 1][0])
        having = [str(r.path) for r, m in zip(opened, manifests, strict=True) if twice in m.indices]
        raise ResultError(f"sample {twice} is in {' and in '.join(having)}; merge results over different samples")
    order = _order_of_parts(manifests)
    digest = None
    if order is not None:
        digest = str(manifests[0].environment[PART]["digest"])
    else:
        order = first.astype(np.int64)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    ends = np.cumsum([0, *(m.samples for m in manifests)])
    rows = [place[a:b] for a, b in itertools.pairwise(ends)]
    environment = {
        k: v for k, v in manifests[0].environment.items() if k not in (PART, "plan", "statistics", "workers")
    }
    if digest is None:
        parts = [{"digest": m.data_digest, "samples": list(m.indices)} for m in manifests]
        digest = hashlib.sha256(repr([(p["digest"], p["samples"]) for p in parts]).encode()).hexdigest()
        environment[MERGED] = parts
    every = [name for m in manifests for name in m.names]
    names = tuple(every[k] for k in order) if len(every) == len(order) else ()
    data = manifests[0].data if len({m.data for m in manifests}) == 1 else f"{len(manifests)} data sets"
    created = min(m.created for m in manifests)
    whole = replace(
        manifests[0], indices=tuple(int(i) for i in indices[order]), data_digest=digest, data=data, names=names,
        environment=environment, created=created,
    )  # fmt: skip
    return whole, rows


def _order_of_parts(manifests: Sequence[Manifest]) -> NDArray[np.int64] | None:
    """The order of the samples in the run whose parts these are, all of them; None otherwise.

    Part I of N has the samples I - 1, I - 1 + N, ... of the run.
    """
    told = [m.environment.get(PART) for m in manifests]
    if not all(isinstance(t, dict) and {"number", "of", "digest", "samples"} <= set(t) for t in told):
        return None
    parts: list[dict[str, Any]] = [t for t in told if t is not None]
    count, digest, total = (parts[0][key] for key in ("of", "digest", "samples"))
    same = all((p["of"], p["digest"], p["samples"]) == (count, digest, total) for p in parts)
    if not same or sorted(p["number"] for p in parts) != list(range(1, count + 1)):
        return None
    if sum(m.samples for m in manifests) != total:
        return None
    positions = np.concatenate(
        [p["number"] - 1 + count * np.arange(m.samples) for p, m in zip(parts, manifests, strict=True)]
    )
    return np.argsort(positions)


def _write(target: Path, whole: Manifest, sources: Sequence[_Source]) -> None:
    settings = whole.settings
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    ends = [s.result.end for s in sources if s.result.end is not None]
    with write_atomically(target, temporary, paged=True) as (file, check):
        write_coordinates(file, whole)
        for variable in variables_for(settings):
            target_array = create_variable(file, variable, variable.shape(whole.sizes))
            describe_dataset(file, variable, whole)
            for source in sources:
                array = source.result.dataset(variable.name)
                with source.result.reading():
                    for (rows, *rest), values in blocks(array, 0, len(array)):
                        for run, at in _runs(source.rows[rows]):
                            target_array[(run, *rest)] = values[at]
                        check()
        write_hulls(file, whole, check)
        for variable in run_variables_for(settings):
            file.create_dataset(variable.name, data=sources[0].result.read(variable.name))
            describe_dataset(file, variable, whole)
        write_root(file, whole, end=max(ends))
        sign(file, [v.name for v in all_variables(settings) if v.name in file])


def _runs(rows: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Rows of the merged file as slices with one step each, and where they stand among ``rows``: HDF5 writes those fast."""
    steps = np.diff(rows)
    turns = np.flatnonzero(np.diff(steps)) + 1  # steps that differ from the one before
    start = 0
    while start < len(rows):
        step, stop = 1, start + 1
        if stop < len(rows) and steps[start] > 0:
            step = int(steps[start])
            after = int(np.searchsorted(turns, start, side="right"))
            stop = int(turns[after]) + 1 if after < len(turns) else len(rows)
        yield slice(int(rows[start]), int(rows[stop - 1]) + 1, step), slice(start, stop)
        start = stop
