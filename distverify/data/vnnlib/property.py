"""VNN-LIB property files (version 1.0), as VNN-COMP publishes them: what a counterexample would be.

A file asserts constraints on inputs X_i and outputs Y_j; a point that satisfies them all is a counterexample, and the property is
verified when there is none. Read are boxes of inputs and linear constraints on outputs, combined by ``and`` and ``or``. Decimal
numbers are exact until the last step, where boxes and bounds are rounded so that no counterexample is lost.

Files are not trusted: bytes, alternatives and seconds are limited, and nothing in them is executed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.data.vnnlib.cases import Case, find_cases
from distverify.data.vnnlib.text import Unreadable, read_commands, read_text
from distverify.errors import DataError

SUFFIXES = (".vnnlib", ".vnnlib.gz")


@dataclass(frozen=True, eq=False)
class Property:
    """One property file: there is no counterexample in any of the cases.

    Attributes
    ----------
    name : str
    cases : tuple of Case
        None where the constraints contradict each other: such a property holds.
    """

    name: str
    cases: tuple[Case, ...]


def is_property_file(path: str | os.PathLike[str]) -> bool:
    """Whether the name says so."""
    return str(path).lower().endswith(SUFFIXES)


def load_property(path: str | os.PathLike[str], *, input_size: int, output_size: int) -> Property:
    """Read a property file, plain or gzipped.

    Raises
    ------
    DataError
        A file that cannot be read, is too large, is no VNN-LIB 1.0, does not fit the model, or says more than
        boxes of inputs and linear constraints on outputs.
    """
    file = Path(path)
    try:
        cases = parse_property(read_text(file), input_size, output_size)
    except Unreadable as error:
        raise DataError(f"{path}: {error}") from None
    return Property(file.name, cases)


def parse_property(text: str, input_size: int, output_size: int) -> tuple[Case, ...]:
    """The cases in which a counterexample may lie, from the text of a VNN-LIB file.

    Raises
    ------
    Unreadable
    """
    return find_cases(read_commands(text), input_size, output_size)


def digest(properties: Sequence[Property]) -> str:
    """SHA-256 of everything that the properties say, as hexadecimal digits."""
    sha = hashlib.sha256()
    for item in properties:
        sha.update(repr([len(case.polytopes) for case in item.cases]).encode())
        for case in item.cases:
            parts: list[NDArray[np.float64]] = [a for p in case.polytopes for a in (p.rows, p.bounds, p.inexact)]
            for array in (case.lower, case.upper, *parts):
                sha.update(repr(array.shape).encode())
                sha.update(np.ascontiguousarray(array, dtype="<f8").data)
    return sha.hexdigest()
