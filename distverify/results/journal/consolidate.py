"""From shards to the one file that stays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.results.blocks import blocks
from distverify.results.digest import sign
from distverify.results.files import create_variable, open_to_read, write_atomically
from distverify.results.hulls import hull_blocks
from distverify.results.journal.coverage import Segment
from distverify.results.journal.shards import Shard
from distverify.results.layout import describe_dataset, write_coordinates, write_root
from distverify.results.manifest import Manifest
from distverify.results.schema import Variable, all_variables, hulls_for, run_variables_for, variables_for

Facts = Mapping[str, NDArray[np.generic]]


def write_finished(
    output: Path, parts: Path, manifest: Manifest, segments: Iterable[Segment], finished: datetime, facts: Facts
) -> None:
    """Replace ``output`` by one file with everything, atomically.

    Shards are copied one after the other in blocks, so memory stays bounded; the disk must hold the result
    twice for that time.

    Parameters
    ----------
    facts : dict name -> array
        The run's variables of the network alone.

    Raises
    ------
    ResultError
        If the file cannot be written or a shard cannot be read; ``output`` and the shards are as before.
    """
    variables = variables_for(manifest.settings)
    with write_atomically(output, parts / "finished.tmp", paged=True) as (file, check):
        write_coordinates(file, manifest)
        for variable in variables:
            create_variable(file, variable, variable.shape(manifest.sizes))
            describe_dataset(file, variable, manifest)
        for shard, own in _by_shard(segments).items():
            _copy(shard, own, file, variables, check)
        write_hulls(file, manifest, check)
        for variable in run_variables_for(manifest.settings):
            file.create_dataset(variable.name, data=np.asarray(facts[variable.name], dtype=variable.dtype))
            describe_dataset(file, variable, manifest)
        write_root(file, manifest, end=finished)
        sign(file, [v.name for v in all_variables(manifest.settings) if v.name in file])


def _by_shard(segments: Iterable[Segment]) -> dict[Shard, list[Segment]]:
    grouped: dict[Shard, list[Segment]] = {}
    for segment in segments:
        grouped.setdefault(segment.shard, []).append(segment)
    return grouped


def _copy(
    shard: Shard, segments: list[Segment], file: h5py.File, variables: tuple[Variable, ...], check: Callable[[], None]
) -> None:
    try:
        with open_to_read(shard.path) as source:
            for variable, segment in itertools.product(variables, segments):
                target, shift = file[variable.name], segment.start - segment.row
                for where, values in blocks(source[variable.name], segment.source.start, segment.source.stop):
                    rows, *rest = where
                    target[(slice(shift + rows.start, shift + rows.stop), *rest)] = values
                    check()
    except (OSError, KeyError) as error:
        raise ResultError(
            f"{shard.path}: cannot be read ({error}); run the same command again: damaged parts are found and computed again"
        ) from error


def write_hulls(file: h5py.File, manifest: Manifest, check: Callable[[], None]) -> None:
    """The smallest lower and the largest upper Jacobian bound of all samples, where there are Jacobians."""
    hulls = hulls_for(manifest.settings)
    if not hulls:
        return
    lower, upper = (create_variable(file, hull, hull.shape(manifest.sizes)) for hull in hulls)
    for hull in hulls:
        describe_dataset(file, hull, manifest)
    for eps, rows, lo, hi in hull_blocks(file["jacobian_lower"], file["jacobian_upper"]):
        lower[eps, rows] = lo
        upper[eps, rows] = hi
        check()
