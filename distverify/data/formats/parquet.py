"""Parquet tables: a column for each feature, a column of lists, or encoded images as Hugging Face's data sets hold them."""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.formats.images import image_source
from distverify.data.memory import check_expansion, check_memory
from distverify.data.preprocessing import Resizing
from distverify.errors import DataError

LABELS = ("y", "label", "labels", "target", "class", "fine_label")
_INPUTS = ("x", "image", "img", "pixel_values", "features", "inputs", "input")
# pandas keeps its index so.
_INDEX = ("__index_level_0__", "")


@contextlib.contextmanager
def open_parquet(path: Path, *, input_size: int, resizing: Resizing | None = None) -> Iterator[Sources]:
    """The samples ``x`` and labels ``y`` of a table.

    The labels are the column called label, labels, target, class or y. The samples are the columns of numbers beside, in their
    order; or one column of lists of numbers, or of images (bytes, or a struct of bytes and path).

    Raises
    ------
    DataError
        pyarrow is not installed; columns that do not tell what is what; missing values; lists of different lengths.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise DataError(f"{path}: pyarrow is not installed; pip install pyarrow (or 'distverify[parquet]')") from error
    try:
        with parquet.ParquetFile(path) as file:
            yield _Table(path, file, arrow.types, input_size, resizing).sources()
    except arrow.lib.ArrowException as error:
        raise DataError(f"{path}: cannot be read ({error}); the file is damaged, or no Parquet file") from None


class _Table:
    def __init__(self, path: Path, file: Any, types: Any, input_size: int, resizing: Resizing | None) -> None:
        self._path, self._file, self._types = path, file, types
        self._input_size, self._resizing = input_size, resizing
        self._rows = int(file.metadata.num_rows)
        groups = [file.metadata.row_group(k) for k in range(file.metadata.num_row_groups)]
        self._starts = np.cumsum([0, *(g.num_rows for g in groups)])
        self._bytes = [int(g.total_byte_size) for g in groups]

    def sources(self) -> Sources:
        schema = self._file.schema_arrow
        columns = {f.name: f.type for f in schema if f.name not in _INDEX and not f.name.startswith("Unnamed: 0")}
        label = next((n for key in LABELS for n in columns if n.lower() == key), None)
        beside = {name: kind for name, kind in columns.items() if name != label}
        found = {"x": self._inputs(beside, label)}
        if label is not None:
            found["y"] = self._column(label, _class_names(schema.metadata, label))
        return found

    def _inputs(self, beside: dict[str, Any], label: str | None) -> ArraySource:
        types = self._types
        encoded = [n for n, t in beside.items() if _binary(types, t) or _image(types, t)]
        lists = [n for n, t in beside.items() if _list(types, t)]
        for candidates, opened in ((encoded, self._images), (lists, self._lists)):
            known = [n for key in _INPUTS for n in candidates if n.lower() == key] or candidates
            if len(known) == 1 or (known and known[0].lower() in _INPUTS):
                return opened(known[0])
        numbers = [n for n, t in beside.items() if types.is_integer(t) or types.is_floating(t)]
        if not numbers or len(numbers) != len(beside):
            other = next((n for n in beside if n not in numbers), "none")
            raise self._error(
                f"column {other!r} holds no numbers; keep a column of samples (x, image) or columns of numbers, and the label (label)"
            )
        if label is None and len(numbers) == self._input_size + 1:
            raise self._error(
                f"has {len(numbers)} columns, one more than the model takes; call that of the labels label"
            )
        return self._features(numbers)

    def _features(self, names: list[str]) -> ArraySource:
        dtype = np.result_type(*(self._file.schema_arrow.field(n).type.to_pandas_dtype() for n in names))

        def read(indices: Indices) -> AnyArray:
            table = self._read(names, indices)
            return np.column_stack([self._plain(table.column(n), n) for n in names])

        words = tuple(names) if not all(name.isdecimal() for name in names) else ()
        return ArraySource((self._rows, len(names)), dtype, read, columns=words)

    def _column(self, name: str, classes: Sequence[str]) -> ArraySource:
        kind = self._file.schema_arrow.field(name).type
        if not (self._types.is_integer(kind) or self._types.is_floating(kind)):
            raise self._error(f"column {name!r} holds {kind}; store labels as whole numbers from 0")
        return ArraySource(
            (self._rows,), np.dtype(kind.to_pandas_dtype()),
            lambda indices: self._plain(self._read([name], indices).column(name), name), classes=tuple(classes),
        )  # fmt: skip

    def _lists(self, name: str) -> ArraySource:
        first = self._array(name, np.arange(min(1, self._rows)))

        def read(indices: Indices) -> AnyArray:
            return self._array(name, indices)

        return ArraySource((self._rows, *first.shape[1:]), first.dtype, read)

    def _array(self, name: str, indices: Indices) -> AnyArray:
        rows = self._read([name], indices).column(name).to_pylist()
        try:
            array = np.array(rows)
        except ValueError:
            array = np.array(None)
        if array.dtype.kind not in "fiu":
            raise self._error(f"column {name!r} holds lists of different lengths, or no numbers; give one length")
        kind = self._file.schema_arrow.field(name).type
        while hasattr(kind, "value_type"):
            kind = kind.value_type
        return array.astype(kind.to_pandas_dtype())

    def _images(self, name: str) -> ArraySource:
        held: dict[int, bytes] = {}

        def content(k: int) -> bytes:
            if k not in held:
                # Rows are asked for one by one; what stands beside them in the file comes with them.
                group = int(np.searchsorted(self._starts, k, side="right")) - 1
                held.clear()
                start = int(self._starts[group])
                self._check(group)
                column = self._file.read_row_group(group, columns=[name]).column(name).to_pylist()
                held.update({start + i: self._encoded(value, start + i) for i, value in enumerate(column)})
            return held[k]

        return image_source(
            self._rows,
            content,
            lambda k: f"{self._path}: sample {k}",
            input_size=self._input_size,
            resizing=self._resizing,
        )

    def _encoded(self, value: Any, k: int) -> bytes:
        content = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(content, bytes):
            raise self._error(f"sample {k} holds no image; store the images' bytes in the table (embed them)")
        return content

    def _read(self, names: list[str], indices: Indices) -> Any:
        groups = np.unique(np.searchsorted(self._starts, indices, side="right") - 1).tolist()
        for group in groups:
            self._check(group)
        if not groups:
            return self._file.read(columns=names).slice(0, 0)
        table = self._file.read_row_groups(groups, columns=names)
        place = dict(zip(groups, np.cumsum([0, *(np.diff(self._starts)[groups])]), strict=False))
        rows = [
            int(i - self._starts[g] + place[g])
            for i, g in zip(indices, np.searchsorted(self._starts, indices, side="right") - 1, strict=True)
        ]
        return table.take(rows)

    def _check(self, group: int) -> None:
        what = f"{self._path}: row group {group}"
        check_memory(what, self._bytes[group])
        check_expansion(what, self._bytes[group], self._path.stat().st_size)

    def _plain(self, column: Any, name: str) -> AnyArray:
        if column.null_count:
            raise self._error(f"column {name!r} has {column.null_count} missing values; remove such samples")
        return np.asarray(column.to_numpy())

    def _error(self, text: str) -> DataError:
        return DataError(f"{self._path}: {text}")


def _binary(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _image(types: Any, kind: Any) -> bool:
    return bool(types.is_struct(kind)) and any(kind.field(k).name == "bytes" for k in range(kind.num_fields))


def _list(types: Any, kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _class_names(metadata: Any, label: str) -> tuple[str, ...]:
    """What Hugging Face's ClassLabel of the column says."""
    try:
        told = json.loads((metadata or {})[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(map(str, told)) if isinstance(told, list) else ()
    except (KeyError, TypeError, ValueError):
        return ()
