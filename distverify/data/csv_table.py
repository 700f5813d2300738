"""CSV tables of samples, as spreadsheets and pandas write them: separators, headers, an index, the label by place or by name.

A file is read line by line, and only the lines that were chosen become numbers: neither a long file nor a long line takes memory
that nobody asked for.
"""

from __future__ import annotations

import contextlib
import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from distverify.data.array_source import ArraySource, Indices, Sources
from distverify.errors import DataError, argument

# A number with its separator takes at most about 30 characters; a line that is longer by far is no sample of the model.
_FIELD_CHARACTERS = 64
_SPARE_FIELDS = 64
_BATCH_CHARACTERS = 4 * 2**20
_SEPARATORS = "\t;,"
_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas"}
_LABEL_NAMES = {"label", "labels", "target", "class", "y"}
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
# Fewer whole numbers that count from 0 may as well be a sample.
_COUNTED_HEADER = 5


@dataclass(frozen=True)
class _Columns:
    """Which columns hold what.

    Attributes
    ----------
    count : int
        Of every line.
    label : int or None
    named : bool
        Whether a header names the label.
    features : list of int
    names : tuple of str
        Of the features, where a header has words for them.
    """

    count: int
    label: int | None
    named: bool
    features: list[int]
    names: tuple[str, ...] = ()


@contextlib.contextmanager
def open_csv(path: Path, *, input_size: int, labels: bool) -> Iterator[Sources]:
    """The features ``x`` and, if ``labels``, the labels ``y`` of a table.

    Parameters
    ----------
    path : Path
    input_size : int
        The model's: it tells a label from a feature.
    labels : bool
        Whether a column of labels is wanted; without, one is passed over if there is one column more than features.

    Raises
    ------
    DataError
        No table of numbers, or one whose columns do not fit.
    """
    longest = _FIELD_CHARACTERS * (input_size + _SPARE_FIELDS)
    try:
        with path.open(encoding="utf-8-sig") as stream:
            table = _Table(path, stream, longest, input_size, labels)
            yield table.sources()
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: is no text file in UTF-8; give lines of numbers, the label first, and save them as UTF-8"
        ) from None


class _Table:
    def __init__(self, path: Path, stream: TextIO, longest: int, input_size: int, labels: bool) -> None:
        self._path, self._stream, self._longest = path, stream, longest
        numbers = array("q")  # the line of every row
        first: list[tuple[int, str]] = []
        for number, line in self._lines():
            numbers.append(number)
            if len(first) < 3:
                first.append((number, line))
        if not first:
            raise self._error("holds no line of numbers; give lines of numbers, the label first")
        self._separator = next((s for s in _SEPARATORS if s in first[0][1]), ",")
        header = self._header(first)
        if header is not None:
            del first[0]
            if not first:
                raise self._error("holds no line of numbers; give lines of numbers, the label first")
        self._numbers = np.frombuffer(numbers, dtype=np.int64)[header is not None :]
        rows = [self._fields(line) for _, line in first]
        self._columns = self._arranged(header, rows, input_size, labels)
        self._read: tuple[Indices, NDArray[np.float64]] | None = None

    def sources(self) -> Sources:
        columns, rows = self._columns, len(self._numbers)
        features = np.array(columns.features)
        double = np.dtype(np.float64)
        found = {
            "x": ArraySource(
                (rows, len(features)),
                double,
                lambda indices: self._table(indices)[:, features],
                self._line_of,
                columns=columns.names,
            )
        }
        if columns.label is not None:
            label = columns.label
            found["y"] = ArraySource(
                (rows,), double, lambda indices: self._table(indices)[:, label], self._line_of, columns.named
            )
        return found

    def _line_of(self, index: int) -> int:
        return int(self._numbers[index])

    def _error(self, text: str) -> DataError:
        return DataError(f"{self._path}: {text}")

    def _lines(self) -> Iterator[tuple[int, str]]:
        """Every line that is not blank, with its number, from the beginning."""
        self._stream.seek(0)
        number = 0
        while line := self._stream.readline(self._longest):
            number += 1
            if len(line) == self._longest:
                raise self._error(
                    f"line {number} is longer than {self._longest} characters; give one sample in a line, as many values as "
                    "the model takes"
                )
            if line.strip():
                yield number, line

    def _fields(self, line: str) -> list[str]:
        try:
            return [field.strip() for field in next(csv.reader([line], delimiter=self._separator))]
        except (csv.Error, StopIteration):
            return [line.strip()]

    # -- which columns hold what ------------------------------------------------------------------------------------

    def _header(self, first: Sequence[tuple[int, str]]) -> list[str] | None:
        """The names in the first line, or None where it is a sample."""
        fields = self._fields(first[0][1])
        numeric = [field for field in fields if _is_number(field)]
        if not numeric:
            # A single blank field among numbers would be a gap; nothing but names is a header.
            return fields if any(fields) else None
        counted = numeric == [str(k) for k in range(len(numeric))]
        if len(numeric) < len(fields):
            # Names beside numbers that count, as in label,0,1,2,...: a header. Others are left to be told as a damaged row.
            last = fields[len(fields) - len(numeric) :] == numeric == [str(k + 1) for k in range(len(numeric))]
            return fields if counted or last else None
        if not counted or not len(numeric) >= 2 or len(first) < 2:
            return None
        if len(numeric) < _COUNTED_HEADER:
            raise self._error(
                f"line {first[0][0]} is {','.join(fields)}: a header of numbers, or a sample? Put a line of names first, such as "
                "label,a,b"
            )
        return fields

    def _arranged(self, header: list[str] | None, rows: Sequence[list[str]], input_size: int, labels: bool) -> _Columns:
        columns = list(range(len(rows[0])))
        names = [name.lower() for name in header] if header is not None else []
        if names and len(names) != len(columns):
            raise self._error(
                f"the header has {len(names)} columns, the line after it {len(columns)}; give as many names as values"
            )
        while names and len(columns) > input_size and _is_index(names[columns[0]]):
            del columns[0]
        named = [k for k in columns if names and names[k] in _LABEL_NAMES]
        label: int | None = columns[0] if columns else None
        if len(named) == 1:
            label = named[0]
        if not labels and len(columns) == input_size:
            label = None
        features = [k for k in columns if k != label]
        if len(features) != input_size:
            raise self._error(self._misfit(len(features), input_size, label is not None, rows))
        words = tuple(header[k] for k in features) if header is not None else ()
        if not all(words) or all(word.isdecimal() for word in words):
            words = ()
        return _Columns(len(rows[0]), label if labels else None, len(named) == 1, features, words)

    def _misfit(self, features: int, input_size: int, labelled: bool, rows: Sequence[list[str]]) -> str:
        firsts = [row[0] for row in rows]
        counting = len(rows) > 1 and firsts in ([str(k + start) for k in range(len(rows))] for start in (0, 1))
        advice = "check that data and model belong together"
        if len(rows[0]) == 1:
            return "has one column; give the label first, then the features, separated by commas, semicolons or tabs"
        if features + 1 == input_size and labelled:
            advice = (
                "the first column is read as the label; put one before the features, or say that there is none "
                f"({argument('no_labels', True)})"
            )
        elif features == input_size + 1 and counting:
            advice = "the first column counts the lines; write the table without its index (index=False)"
        elif features == input_size + 1:
            advice = "one column is too many; only the label stands before the features"
        return f"x: each sample has {features} values, but the model takes {input_size}; {advice}"

    # -- numbers ------------------------------------------------------------------------------------------------------

    def _table(self, indices: Indices) -> NDArray[np.float64]:
        """The chosen rows, float64 [n, columns], in that order; kept for the next who asks for the same ones."""
        if self._read is None or self._read[0] is not indices:
            self._read = indices, self._parsed(indices)
        return self._read[1]

    def _parsed(self, indices: Indices) -> NDArray[np.float64]:
        order = np.argsort(indices)
        wanted = self._numbers[indices[order]]
        table = np.empty((len(indices), self._columns.count))
        done = 0
        batch: list[tuple[int, str]] = []
        size = 0
        lines = self._lines()
        for number in wanted.tolist():
            line = next(entry for entry in lines if entry[0] == number)
            batch.append(line)
            size += len(line[1])
            if size >= _BATCH_CHARACTERS:
                table[order[done : done + len(batch)]] = self._numbers_of(batch)
                done, size = done + len(batch), 0
                batch = []
        if batch:
            table[order[done:]] = self._numbers_of(batch)
        return table

    def _numbers_of(self, batch: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
        try:
            rows: NDArray[np.float64] = np.loadtxt(
                [line for _, line in batch], delimiter=self._separator, comments=None, ndmin=2, quotechar='"'
            )
            if rows.shape == (len(batch), self._columns.count):
                return rows
            reason = f"has rows of {rows.shape[1]} values"
        except ValueError as error:
            reason = str(error)
        for number, line in batch:
            if (wrong := self._wrong(line)) is not None:
                raise self._error(f"line {number} {wrong}")
        raise self._error(f"is no table of numbers ({reason}); give lines such as 7,0.1,0.2")

    def _wrong(self, line: str) -> str | None:
        """What is wrong with a line; None where nothing is found."""
        fields = self._fields(line)
        if len(fields) != self._columns.count:
            return f"has {len(fields)} values, the first one has {self._columns.count}; mend or remove it"
        for column, field in enumerate(fields, 1):
            if _is_number(field):
                continue
            if self._separator != "," and _DECIMAL_COMMA.fullmatch(field):
                return f"has a decimal comma ({field[:40]}) in column {column}; write decimal points"
            text = repr(field[:40]) if field else "nothing"
            return f"has {text} in column {column} where a number is expected; mend or remove it"
        return None


def _is_index(name: str) -> bool:
    """What pandas calls an index, also one that was saved twice, and others the number of a row."""
    return name in ("", "index", "id", "idx") or name.startswith("unnamed: 0")


def _is_number(field: str) -> bool:
    with contextlib.suppress(ValueError):
        float(field)
        return "_" not in field
    return False
