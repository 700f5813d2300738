"""A result in the files of other programs: tables with a row per sample, archives of arrays."""

from __future__ import annotations

import csv
import importlib
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.data.selection import select_samples
from distverify.errors import ResultError, SettingsError
from distverify.exports.rows import write_excel, write_json, write_json_lines, write_latex, write_long
from distverify.exports.text import safe_cell
from distverify.exports.zarr_store import write_zarr
from distverify.options.files import check_output
from distverify.options.values import path_of
from distverify.results.columns import sample_columns
from distverify.results.files import replacing
from distverify.results.reader import Result, as_result

_BLOCK_BYTES = 1 << 26


def export(
    result: Result | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    arrays: Sequence[str] | None = None,
    samples: str | None = None,
    long: bool = False,
) -> list[str]:
    """Write (part of) a result to another kind of file.

    Parameters
    ----------
    result : Result or path
    path : path
        By its suffix: ``.csv``, ``.parquet``, ``.xlsx``, ``.json`` or ``.jsonl`` (a row per sample), ``.npz`` or ``.zarr`` (arrays as
        they are), ``.tex`` (a table of LaTeX about all samples).
    arrays : sequence of str, optional
        Names of arrays. Default: for tables all with one value per sample, or per sample and eps; for ``.npz`` all
        but those with the dimension ``input``, which are large.
    samples : str, optional
        Which samples, by position in the result: "0:100", "3,7" or "::10". Default: all.
    long : bool
        Of ``.csv``: a row for each number, with its coordinates, their names, its units and what it means.

    Returns
    -------
    list of str
        Names of the columns or arrays that were written.

    Raises
    ------
    SettingsError
        An unknown suffix, or a selection that makes no sense.
    ResultError
        An array that is not there or does not fit a table, a package that is missing, a file that cannot be written.
    """
    result = as_result(result)
    target = path_of("path", path)
    writers: dict[str, Callable[[Path, Result, Sequence[str] | None, NDArray[np.int64]], list[str]]] = {
        ".csv": write_long if long else _csv, ".npz": _npz, ".parquet": _parquet, ".json": write_json, ".jsonl": write_json_lines,
        ".xlsx": write_excel, ".zarr": write_zarr, ".tex": write_latex,
    }  # fmt: skip
    if long and target.suffix.lower() != ".csv":
        raise SettingsError(f"long: is for .csv, and {target.name} is none; leave it out")
    check_output(target, tuple(writers), (result.path,))
    provenance = result.provenance
    for what in ("model", "data"):
        # The provenance has no folder; a file of that name is hardly meant to be replaced.
        if target.name == provenance[what]["name"] and target.exists():
            raise SettingsError(
                f"output: {target} has the name of the {what} that the result was computed from; name another file"
            )
    writer = writers[target.suffix.lower()]
    with result.at_one_moment() as moment, replacing(target) as temporary:
        unknown = sorted(set(arrays or ()) - set(moment))
        if unknown:
            raise ResultError(f"{result.path}: no array {unknown[0]!r}; there are {', '.join(moment)}")
        return writer(temporary, moment, arrays, select_samples(samples, moment.sizes["sample"]))


def _columns(result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    # h5py takes increasing indices only, and slowly; a row of a table is small, so the rows are chosen afterwards.
    return {name: values[rows] for name, values in sample_columns(result, names).items()}


def _csv(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    columns = _columns(result, names, rows)
    # Python's shortest repr: reading it back gives the same float64.
    cells = [
        [safe_cell(v) for v in c] if c.dtype.kind == "U" else c.tolist() for c in map(np.asarray, columns.values())
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*cells, strict=True))
    return list(columns)


def _parquet(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ResultError(
            "export: pyarrow is not installed; pip install pyarrow (or 'distverify[parquet]'), or write .csv"
        ) from error
    columns = _columns(result, names, rows)
    table = arrow.table(
        {name: arrow.array(values.tolist() if values.dtype.kind == "U" else values) for name, values in columns.items()}
    )
    parquet.write_table(table.replace_schema_metadata({"provenance": json.dumps(result.provenance)}), path)
    return list(columns)


def _npz(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    dims = result.dims
    chosen = (
        [n for n in dims if "input" not in dims[n] or dims[n] == ("input",)]
        if names is None
        else list(dict.fromkeys(names))
    )
    if "sample" not in chosen:
        chosen.insert(0, "sample")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in chosen:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_array(file, result, name, rows if dims[name][:1] == ("sample",) else None)
    return chosen


def _write_array(file: Any, result: Result, name: str, rows: NDArray[np.int64] | None) -> None:
    """One .npy file, read and written in blocks: an array of Jacobians may be larger than the memory."""
    if rows is None or result.dims[name] == ("sample",):
        values = result.read(name)
        np.lib.format.write_array(file, values if rows is None else values[rows], allow_pickle=False)
        return
    row = result.read(name, np.s_[:1])
    header = {"descr": row.dtype.str, "fortran_order": False, "shape": (len(rows), *row.shape[1:])}
    np.lib.format.write_array_header_1_0(file, header)
    step = max(1, _BLOCK_BYTES // max(1, row.nbytes))
    for start in range(0, len(rows), step):
        wanted = rows[start : start + step]
        # The order of a selection is its own, that of HDF5 is increasing.
        order = np.argsort(wanted)
        block = np.empty((len(wanted), *row.shape[1:]), row.dtype)
        block[order] = result.read(name, wanted[order])
        file.write(np.ascontiguousarray(block).data)
