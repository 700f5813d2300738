"""The digest of a result: everything that the file says, in an order that does not depend on how it is stored.

A file that was copied, repacked or compressed by other programs keeps its digest, and so does one that got arrays of
somebody's own besides. One wrong bit in a value, a coordinate or an attribute changes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import h5py
import numpy as np

from distverify.results.blocks import blocks
from distverify.results.layout import ROOT, read_text, write_text
from distverify.results.schema import COORDINATES, FEATURE_EPS, PERTURBATION

HEAD, CONTENT = "head_sha256", "content_sha256"  # root attributes: of what every reader looks at first, and of all
# Of how netCDF links dimensions, which programs that copy a file number anew.
_LINKS = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_N", "_nc")


def head_digest(file: h5py.File, dataset: Callable[[str], h5py.Dataset] | None = None) -> str:
    """SHA-256 of the provenance, the coordinates and what the settings hold the hash of: of what every reader looks at first."""
    digest = hashlib.sha256((read_text(file, "provenance") or "").encode())
    for name in sorted(v.name for v in (*COORDINATES, FEATURE_EPS, PERTURBATION) if v.name in file):
        _add_values(digest.update, name, file[name] if dataset is None else dataset(name))
    return digest.hexdigest()


def sign(file: h5py.File, names: Iterable[str] | None = None) -> None:
    """Write the digests, after everything else; that of all where there are ``names``: every array of ours."""
    write_text(file, HEAD, head_digest(file))
    if names is not None:
        write_text(file, CONTENT, digest_of(file, names))


def digest_of(file: h5py.File, names: Iterable[str], dataset: Callable[[str], h5py.Dataset] | None = None) -> str:
    """SHA-256 of the root attributes and of these arrays with their attributes, as hexadecimal text.

    Parameters
    ----------
    file : h5py.File
    names : iterable of str
        Arrays of the file.
    dataset : callable (name) -> h5py.Dataset, optional
        By which they are opened; by default as they are.
    """
    digest = hashlib.sha256()
    _add_attributes(digest.update, file.attrs, [name for name in ROOT if name in file.attrs])
    for name in sorted(names):
        array = file[name] if dataset is None else dataset(name)
        _add_values(digest.update, name, array)
        _add_attributes(digest.update, array.attrs, sorted(n for n in array.attrs if not n.startswith(_LINKS)))
    return digest.hexdigest()


def _add_values(update: Callable[[bytes], object], name: str, array: h5py.Dataset) -> None:
    update(f"\n{name} {array.dtype.str} {array.shape} ".encode())
    for _, block in blocks(array, 0, len(array)) if array.shape else [((), array[()])]:
        update(np.ascontiguousarray(block).tobytes())


def _add_attributes(update: Callable[[bytes], object], attributes: h5py.AttributeManager, names: Iterable[str]) -> None:
    for name in names:
        update(f"\n{name}=".encode())
        update(_canonical(attributes[name]))


def _canonical(value: Any) -> bytes:
    if isinstance(value, str):  # of fixed or of variable length, as whoever copied the file stores it
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        return value
    array = np.asarray(value)
    if array.dtype.hasobject:
        return repr(array.tolist()).encode("utf-8", "surrogateescape")
    return f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
