"""Reading an ONNX file that nobody vouches for: the protobuf message, and the arrays of its initialisers.

No declared size is believed: an array is made only after its bytes were found in the file. External data is
read from the model's own folder only.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from distverify.errors import ModelError
from distverify.network.onnx.budget import MAX_NODES

Constant = NDArray[Any]

# A protobuf message cannot be larger; weights beyond that are kept as external data.
_MAX_FILE_BYTES = 2**31 - 1
_GZIP = b"\x1f\x8b"
_MAX_UNPACKED_BYTES = 2**29
# How deep functions may call each other.
_MAX_CALLS = 32
# Initialisers that share bytes in part may make so many more of them.
_MAX_SHARED_BYTES = 2**28
FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)
# The one field of TensorProto that holds the values of each type, when they are not in raw_data.
_TYPED_FIELDS = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.FLOAT16: "int32_data",
    TensorProto.BFLOAT16: "int32_data",
    TensorProto.BOOL: "int32_data",
    TensorProto.INT8: "int32_data",
    TensorProto.INT16: "int32_data",
    TensorProto.INT32: "int32_data",
    TensorProto.UINT8: "int32_data",
    TensorProto.UINT16: "int32_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}


def read_model(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """The message in ``path``, without its external data.

    Raises
    ------
    ModelError
        No such file, a directory or device, an empty, truncated or foreign file.
    """
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelError(f"{path}: not a regular file; give an .onnx file")
            if status.st_size > _MAX_FILE_BYTES:
                raise ModelError(f"{path}: {status.st_size} bytes, more than an ONNX file can have (2 GiB)")
            content = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file; check the path") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: this is a directory; give the .onnx file in it") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    if content[:2] == _GZIP:
        content = _unpacked(content, path)
    if not content:
        raise ModelError(f"{path}: the file is empty; export the model again")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one; export the model again") from None
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError(f"{path}: not an ONNX file (it holds no graph); export the model again")
    return _inlined(model) if model.functions else model


def _unpacked(content: bytes, path: str | os.PathLike[str]) -> bytes:
    """The content of a gzip file, which must not be much larger than a real model."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(_MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ModelError(f"{path}: cannot be unpacked ({error}); the file is damaged") from None
    if len(unpacked) > _MAX_UNPACKED_BYTES:
        raise ModelError(f"{path}: holds more than {_MAX_UNPACKED_BYTES} bytes; unpack it yourself")
    return unpacked


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the bodies of its own functions in place of the calls."""
    bodies = {(f.domain, f.name): [(n.domain, n.op_type) for n in f.node] for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}

    def size(function: tuple[str, str], callers: tuple[tuple[str, str], ...]) -> int:
        if function in callers or len(callers) > _MAX_CALLS:
            raise ModelError(f"function {function[1]!r}: calls itself, or nests too deep; the model is damaged")
        if function not in sizes:
            sizes[function] = sum(size(n, (*callers, function)) if n in bodies else 1 for n in bodies[function])
        return sizes[function]

    total = sum(size((n.domain, n.op_type), ()) if (n.domain, n.op_type) in bodies else 1 for n in model.graph.node)
    if total > MAX_NODES:
        raise ModelError(
            f"the model has {total} nodes with its functions written out, more than {MAX_NODES}; simplify it"
        )
    try:
        return onnx.inliner.inline_local_functions(model)
    # The inliner is C++, and raises whatever it finds.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the model's functions cannot be written out ({reason}); export it without functions"
        ) from None


@dataclass
class TensorReader:
    """Turns the tensors of one model into arrays.

    Attributes
    ----------
    folder : Path
        The model's own folder, resolved.
    """

    folder: Path
    _external_bytes: dict[Path, int] = field(default_factory=dict)
    _contents: dict[tuple[Path, int, int], bytes] = field(default_factory=dict)

    def stored_numbers(self, model: onnx.ModelProto) -> int:
        """At most how many numbers the model's files hold, however many its tensors declare."""
        tensors = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
        locations = {e.value for t in tensors for e in t.external_data if e.key == "location"}
        paths = [self._inside(location, "initialisers") for location in locations]
        return int(model.ByteSize() + sum(path.stat().st_size for path in paths)) // 2

    def read(self, tensor: TensorProto, what: str) -> Constant:
        """The values of ``tensor`` in its own type; ``what`` names it in errors.

        Raises
        ------
        ModelError
            A type that is no real number, sizes that do not match the data, external data outside the folder.
        """
        field_name = _TYPED_FIELDS.get(tensor.data_type)
        if field_name is None:
            raise ModelError(f"{what}: values of type {type_name(tensor.data_type)} are not supported")
        if tensor.HasField("segment"):
            raise ModelError(f"{what}: segmented tensors are not supported; export the model again")
        dims = tuple(tensor.dims)
        if any(d < 0 for d in dims):
            raise ModelError(f"{what}: declares shape {dims}; no dimension may be negative")
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        count = math.prod(dims)
        if tensor.data_location == TensorProto.EXTERNAL:
            return self._read_external(tensor, what, dims, dtype)
        if tensor.HasField("raw_data"):
            found, needed, unit = len(tensor.raw_data), count * dtype.itemsize, "bytes"
        else:
            found, needed, unit = len(getattr(tensor, field_name)), count, "values"
        if found != needed:
            raise ModelError(
                f"{what}: shape {dims} needs {needed} {unit}, but the file holds {found}; the file is damaged"
            )
        try:
            return np.asarray(numpy_helper.to_array(tensor))
        except (ValueError, OverflowError, TypeError) as error:
            raise ModelError(f"{what}: its values cannot be read ({error}); the file is damaged") from None

    def _read_external(self, tensor: TensorProto, what: str, dims: tuple[int, ...], dtype: np.dtype[Any]) -> Constant:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        path = self._inside(entries.get("location", ""), what)
        needed = math.prod(dims) * dtype.itemsize
        offset = _size(entries.get("offset", "0"), what, "offset")
        length = _size(entries.get("length", str(needed)), what, "length")
        if length != needed:
            raise ModelError(
                f"{what}: shape {dims} needs {needed} bytes, but {length} are declared in {path.name}; "
                "the file is damaged"
            )
        place = path, offset, length
        # Tied weights are one piece of the file, and of memory.
        if place not in self._contents:
            self._contents[place] = self._external_content(path, offset, length, what)
        content = self._contents[place]
        values = np.frombuffer(content, dtype=dtype.newbyteorder("<")).reshape(dims)
        return values.astype(dtype, copy=False)

    def _external_content(self, path: Path, offset: int, length: int, what: str) -> bytes:
        try:
            with open(path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ModelError(f"{what}: external data {path.name} is not a regular file")
                if offset + length > status.st_size:
                    raise ModelError(
                        f"{what}: bytes {offset} to {offset + length} of {path.name} are needed, but it has "
                        f"{status.st_size}; the file is truncated"
                    )
                # Pieces that overlap could make a small file fill the memory.
                total = self._external_bytes.get(path, 0) + length
                if total > status.st_size + _MAX_SHARED_BYTES:
                    raise ModelError(f"{what}: initialisers overlap in {path.name}; export the model again")
                self._external_bytes[path] = total
                file.seek(offset)
                content = file.read(length)
        except OSError as error:
            raise ModelError(f"{what}: external data {path.name} cannot be read ({error.strerror})") from None
        if len(content) != length:
            raise ModelError(f"{what}: {path.name} ended early; the file is truncated")
        return content

    def _inside(self, location: str, what: str) -> Path:
        """The file that ``location`` names, if it lies in the model's own folder after following links."""
        advice = "external data must be a file in the model's own folder"
        relative = Path(location)
        if not location or "\0" in location or relative.is_absolute() or "\\" in location or ":" in location:
            raise ModelError(f"{what}: external data {location!r} is no relative path; {advice}")
        if ".." in relative.parts:
            raise ModelError(f"{what}: external data {location!r} leaves the folder by '..'; {advice}")
        try:
            path = (self.folder / relative).resolve(strict=True)
        except (OSError, RuntimeError):
            raise ModelError(f"{what}: external data {location!r} is missing; put it next to the model") from None
        if not path.is_relative_to(self.folder):
            raise ModelError(f"{what}: external data {location!r} is a link out of the folder; {advice}")
        return path


def _open_at_once(path: str, flags: int) -> int:
    """Opens without waiting: a pipe would block until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _size(text: str, what: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise ModelError(f"{what}: external data {key} is {text[:40]!r}; it must be a number of bytes")
    return int(text)


def type_name(data_type: int) -> str:
    known = TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(data_type)) if data_type in known else f"number {data_type}"
