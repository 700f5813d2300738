"""Networks to files, by suffix: all of it (``.npz``), or as other programs read it (``.onnx``)."""

from __future__ import annotations

import os
from pathlib import Path

from distverify.errors import ModelError
from distverify.network.archive import write_archive
from distverify.network.graph import Network
from distverify.network.onnx.writer import write_onnx


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write ``network``; see :meth:`distverify.Network.save`."""
    if not isinstance(path, str | os.PathLike):
        raise ModelError(f"path: got {type(path).__name__}; give the path of a file, .npz or .onnx")
    writers = {".npz": write_archive, ".onnx": write_onnx}
    target = Path(path)
    if target.suffix.lower() not in writers:
        raise ModelError(
            f"path: got {str(path)!r}; name a file that ends in .npz (all of it) or .onnx (other programs)"
        )
    try:
        writers[target.suffix.lower()](network, target)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror}); check folder and permissions") from error
