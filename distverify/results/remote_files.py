"""Finished results elsewhere, by any URL that fsspec knows: read in place, a few blocks at a time."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import h5py

from distverify.errors import ResultError

# What describes a finished file lies together: a block or two of this size tell all of it.
_BLOCK_BYTES = 1 << 20


def remote_stream(url: str) -> Any:
    """A file elsewhere as a stream of bytes that can be read anywhere.

    Raises
    ------
    ResultError
        fsspec, or what it needs for the protocol, is not installed; the file is not there, or cannot be read.
    """
    try:
        fsspec = importlib.import_module("fsspec")
    except ImportError as error:
        raise ResultError(f"{url}: fsspec is not installed; pip install fsspec (or 'distverify[remote]')") from error
    try:
        # The bytes of an HDF5 file are what they are: nothing is unpacked by its name.
        system, place = fsspec.core.url_to_fs(url)
        return system.open(place, "rb", block_size=_BLOCK_BYTES, cache_type="readahead")
    except ImportError as error:
        raise ResultError(f"{url}: {str(error).rstrip('.')}; pip install it, or copy the file yourself") from error
    except FileNotFoundError:
        raise ResultError(f"{url}: no such file; check the URL") from None
    except Exception as error:  # of any kind: each store has its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ResultError(f"{url}: cannot be read ({reason}); check the URL and your rights") from error


def open_remote(url: str) -> h5py.File:
    """The HDF5 file behind a URL.

    Raises
    ------
    ResultError
        As :func:`remote_stream`; or it is no HDF5 file.
    """
    stream = remote_stream(url)
    try:
        return h5py.File(stream, "r")
    except Exception as error:  # of any kind: the file may hold anything
        reason = str(error).strip().partition("\n")[0]
        raise ResultError(f"{url}: cannot be opened as HDF5 ({reason}); copy it, and open the copy") from error


def name_of_url(url: str) -> Path:
    """The last part of a URL, as the name of a file."""
    return Path(url.rstrip("/").rpartition("/")[2] or "result.h5")
