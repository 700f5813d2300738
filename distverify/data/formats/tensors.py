"""Tensors: ``.safetensors``, read here, and PyTorch's files, read by PyTorch with weights only (no code of theirs runs)."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.formats.rows import require_x
from distverify.data.memory import check_memory
from distverify.errors import DataError

# https://huggingface.co/docs/safetensors: 8 bytes little-endian length, that much JSON, then the values.
_LONGEST_HEADER = 100_000_000
_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U64": "<u8",
    "U32": "<u4", "U16": "<u2", "U8": "u1",
}  # fmt: skip


def open_safetensors(path: Path) -> Sources:
    """The tensors ``x`` and ``y`` of a .safetensors file.

    Raises
    ------
    DataError
        A damaged header, or tensors of a type that is not read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(size - 8, _LONGEST_HEADER):
            raise DataError(f"{path}: is no .safetensors file, or a damaged one (header of {length} bytes)")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise DataError(f"{path}: is no .safetensors file, or a damaged one (its header is no object)")
    names = require_x(path, [n for n in header if n != "__metadata__"])
    return {name: _source(path, name, header[name], 8 + length, size) for name in names}


def _source(path: Path, name: str, entry: Mapping[str, Any], begin: int, size: int) -> ArraySource:
    what = f"{path}: {name}"
    if entry["dtype"] not in _TYPES:
        raise DataError(f"{what}: has type {entry['dtype']}; store one of {', '.join(_TYPES)}")
    dtype, shape = np.dtype(_TYPES[entry["dtype"]]), tuple(int(n) for n in entry["shape"])
    start, stop = (int(k) for k in entry["data_offsets"])
    needed = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or not 0 <= start <= stop <= size - begin or stop - start != needed:
        raise DataError(f"{what}: shape {shape} needs {needed} bytes, the file has {stop - start}; it is damaged")
    short = entry["dtype"] == "BF16"

    def read(indices: Indices) -> AnyArray:
        check_memory(what, 3 * math.prod(shape[1:]) * dtype.itemsize * len(indices))
        if not needed:
            return np.empty((len(indices), *shape[1:]), np.float32 if short else dtype)
        rows = np.asarray(np.memmap(path, dtype, "r", begin + start, shape)[indices])
        # The upper half of a float32.
        return (rows.astype(np.uint32) << 16).view(np.float32) if short else rows

    return ArraySource(shape, np.dtype(np.float32) if short else dtype, read)


@contextlib.contextmanager
def open_torch(path: Path) -> Iterator[Sources]:
    """The tensors of a file of ``torch.save``: a dict with ``x`` and ``y``, a pair of both, or ``x`` alone.

    Raises
    ------
    DataError
        PyTorch is not installed; the file holds something else than tensors.
    """
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise DataError(f"{path}: PyTorch is not installed; pip install torch (or 'distverify[torch]')") from error
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of any kind: the file may hold anything
        reason = str(error).strip().partition("\n")[0][:200]
        raise DataError(
            f"{path}: is not read with weights only ({reason}); save plain tensors, torch.save({{'x': x, 'y': y}}, PATH)"
        ) from None
    if isinstance(value, list | tuple) and 1 <= len(value) <= 2:
        value = dict(zip("xy", value, strict=False))
    elif isinstance(value, torch.Tensor):
        value = {"x": value}
    if not isinstance(value, Mapping):
        raise DataError(f"{path}: holds {type(value).__name__}; save tensors, torch.save({{'x': x, 'y': y}}, PATH)")
    yield {name: _tensor(value[name], f"{path}: {name}", torch) for name in require_x(path, map(str, value))}


def _tensor(value: Any, what: str, torch: Any) -> ArraySource:
    if not isinstance(value, torch.Tensor):
        raise DataError(f"{what}: is {type(value).__name__}, no tensor; save tensors")
    plain = value.detach().cpu()
    array = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return ArraySource(array.shape, array.dtype, array.__getitem__)
