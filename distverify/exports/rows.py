"""Rows for other programs: JSON, JSON lines, Excel, LaTeX, and tables in long format with names and units."""

from __future__ import annotations

import csv
import importlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError, argument
from distverify.exports.text import safe_cell
from distverify.results.columns import VERDICT, WITNESS, sample_columns
from distverify.results.reader import Result
from distverify.results.schema import all_variables
from distverify.results.telling import Rows, facts_of_run, rows_of_radii
from distverify.words import describe_settings

FORMAT = "distverify samples 1"
_EXCEL_ROWS, _EXCEL_COLUMNS = 1_048_576, 16_384
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "≥": r"$\ge$", "≤": r"$\le$", "∞": r"$\infty$",
}  # fmt: skip
LONG_HEADER = ("variable", "sample", "eps", "output", "output_name", "input", "input_name", "value", "units", "meaning")


def write_json(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """One object: ``format``, ``columns`` (units and meaning of each), ``samples`` (an object each), ``provenance``."""
    columns = _columns(result, names, rows)
    told = {"format": FORMAT, "columns": _described(result, columns), "samples": list(_objects(columns))}
    path.write_text(json.dumps(told | {"provenance": result.provenance}, ensure_ascii=False), encoding="utf-8")
    return list(columns)


def write_json_lines(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """An object for each sample, in a line of its own."""
    columns = _columns(result, names, rows)
    with path.open("w", encoding="utf-8") as file:
        for row in _objects(columns):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return list(columns)


def write_excel(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """A workbook of three sheets: samples, columns (units, meanings), provenance."""
    try:
        openpyxl = importlib.import_module("openpyxl")
    except ImportError as error:
        raise ResultError(
            "export: openpyxl is not installed; pip install openpyxl (or 'distverify[excel]'), or write .csv"
        ) from error
    columns = _columns(result, names, rows)
    if len(rows) >= _EXCEL_ROWS or len(columns) > _EXCEL_COLUMNS:
        raise ResultError(
            f"export: {len(rows):,} samples in {len(columns):,} columns are more than a sheet of Excel holds; choose some "
            f"({argument('samples')}, {argument('arrays')}), or write .parquet"
        )
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("samples")
    sheet.freeze_panes = "B2"
    sheet.append([safe_cell(name) for name in columns])
    for row in _objects(columns):
        sheet.append([safe_cell(v) if isinstance(v, str) else v for v in row.values()])
    sheet = book.create_sheet("columns")
    sheet.append(["column", "units", "meaning"])
    for name, entry in _described(result, columns).items():
        sheet.append([safe_cell(name), entry["units"], safe_cell(entry["meaning"])])
    sheet = book.create_sheet("provenance")
    for name, value in _flat(result.provenance):
        sheet.append([safe_cell(name), safe_cell(value)[:32_000]])
    book.save(path)
    return list(columns)


def write_latex(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """The table of a paper: what is certified at each radius, or what else the run tells; for the package booktabs."""
    if names is not None or len(rows) != result.sizes["sample"]:
        raise ResultError("export: .tex is a table about all samples; leave arrays and samples out")
    summary, settings, provenance = result.summary(), result.settings, result.provenance
    told = rows_of_radii(summary, settings)
    if told is None:
        told = Rows(["Quantity", "Value"], [[k, v] for k, v in facts_of_run(summary, settings).items()])
    headers, body, note = told.headers, told.rows, told.note
    if not body:
        raise ResultError("export: the run has nothing to tell in a table yet; finish it first")
    model, data = provenance["model"]["name"], provenance["data"]
    caption = f"{model} on {data['samples']} samples of {data['name']}. {describe_settings(settings)}."
    lines = [
        "% \\usepackage{booktabs}", r"\begin{table}", r"  \centering", f"  \\caption{{{latex(caption)}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}", r"    \toprule",
        "    " + " & ".join(map(latex, headers)) + r" \\", r"    \midrule",
        *("    " + " & ".join(map(latex, row)) + r" \\" for row in body), r"    \bottomrule", r"  \end{tabular}",
        *([f"  \\par\\smallskip\\footnotesize {latex(note)}"] if note else []), r"\end{table}", "",
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    return list(headers)


def latex(text: str) -> str:
    """``text`` with what LaTeX reads as commands escaped."""
    return "".join(_LATEX.get(c, c) for c in text)


def write_long(path: Path, result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> list[str]:
    """A CSV table with a row for each number: variable, coordinates, names, value, units, meaning."""
    dims, sizes = result.dims, result.sizes
    if names is None:
        names = [n for n, axes in dims.items() if axes[:1] == ("sample",) and n != "sample" and "input" not in axes]
    variables = {v.name: v for v in all_variables(result.settings)}
    samples = result["sample"]
    called = {axis: result[f"{axis}_name"].tolist() for axis in ("output", "input") if f"{axis}_name" in dims}
    radii = result["eps"].tolist() if "eps" in dims else []
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(LONG_HEADER)
        for name in names:
            axes = dims[name]
            chosen: Sequence[int | None] = rows.tolist() if axes[:1] == ("sample",) else [None]
            for row in chosen:
                # One sample at a time: Jacobians of all of them may be larger than the memory.
                values = result.read(name) if row is None else result.read(name, row)
                inner = axes if row is None else axes[1:]
                for place in np.ndindex(tuple(sizes[axis] for axis in inner)):
                    at = dict(zip(inner, place, strict=True))
                    value = values[place]
                    writer.writerow(
                        [
                            name,
                            "" if row is None else int(samples[row]),
                            radii[at["eps"]] if "eps" in at else "",
                            *_named("output", at, called),
                            *_named("input", at, called),
                            _cell(value),
                            variables[name].units,
                            variables[name].long_name,
                        ]
                    )
    return list(names)


def _cell(value: Any) -> Any:
    plain = value.item()
    return safe_cell(plain) if isinstance(plain, str) else plain


def _named(axis: str, at: dict[str, int], called: dict[str, list[str]]) -> tuple[int | str, str]:
    if axis not in at:
        return "", ""
    return at[axis], safe_cell(called[axis][at[axis]]) if axis in called else ""


def _columns(result: Result, names: Sequence[str] | None, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
    return {name: np.asarray(values)[rows] for name, values in sample_columns(result, names).items()}


def _objects(columns: dict[str, NDArray[Any]]) -> Iterator[dict[str, Any]]:
    """The rows, with None for what is no number; infinity as text, for JSON has none."""
    for values in zip(*(column.tolist() for column in columns.values()), strict=True):
        yield dict(zip(columns, map(_plain, values), strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _described(result: Result, columns: dict[str, NDArray[Any]]) -> dict[str, dict[str, str]]:
    variables = {v.name: v for v in (*all_variables(result.settings), VERDICT, WITNESS)}
    found = {name: variables[name.partition("[")[0]] for name in columns}
    return {name: {"units": v.units, "meaning": v.long_name} for name, v in found.items()}


def _flat(value: Any, before: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{before}{name}.")
    else:
        yield before.rstrip("."), value if isinstance(value, str) else json.dumps(value)
