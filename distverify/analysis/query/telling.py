"""How an assignment is told: chapter 5 of the standard's text, and its folder of ONNX tensors."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from distverify.analysis.query.witness import Witness
from distverify.data.query.declarations import Query


def assignment_lines(query: Query, witness: Witness) -> Iterator[str]:
    """The lines of an assignment: each variable's name, type and shape, then its elements in row-major order."""
    for tensor in query.tensors:
        yield f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]"
        for element in tensor.elements:
            yield number(witness.values[element], tensor.element == "float32")


def number(value: Any, single: bool) -> str:
    """The shortest decimal that reads back as ``value``, without an exponent; the nearest float64 of other fractions."""
    near = np.float32(float(value)) if single else np.float64(float(value))
    if isinstance(value, Fraction) and Fraction(float(near)) != value:
        exact = _decimal(value)
        if exact is not None:
            return exact
    text = np.format_float_positional(near, unique=True, trim="0")
    return "0.0" if text == "-0.0" else text


def _decimal(value: Fraction) -> str | None:
    """A fraction that is a decimal number of moderate length, in full."""
    for digits in range(1, 40):
        scaled = value * 10**digits
        if scaled.denominator == 1:
            sign = "-" if scaled < 0 else ""
            text = str(abs(scaled.numerator)).rjust(digits + 1, "0")
            return f"{sign}{text[:-digits]}.{text[-digits:]}"
    return None


def write_assignment(query: Query, witness: Witness, folder: Path) -> None:
    """Write an assignment as a folder of serialised ONNX tensors, one per variable.

    Raises
    ------
    OSError
    """
    from onnx import numpy_helper

    folder.mkdir(parents=True, exist_ok=True)
    for tensor in query.tensors:
        kind = np.float32 if tensor.element == "float32" else np.float64
        values = np.array([float(witness.values[e]) for e in tensor.elements], dtype=kind).reshape(tensor.shape)
        proto = numpy_helper.from_array(values, tensor.name)
        (folder / f"{tensor.name}.pb").write_bytes(proto.SerializeToString())


def competition_text(query: Query, status: str, witness: Witness | None) -> str:
    """A verdict as VNN-COMP has it, with an assignment after sat: of version 1.0 as pairs, of 2.0 as chapter 5 tells it."""
    lines = ["timeout" if status == "timed-out" else status]
    if witness is not None:
        if query.version[0] >= 2:
            lines += assignment_lines(query, witness)
        else:
            pairs = [
                f"({tensor.name}_{k} {number(witness.values[element], False)})"
                for tensor in query.tensors
                for k, element in enumerate(tensor.elements)
            ]
            pairs[0], pairs[-1] = f"({pairs[0]}", f"{pairs[-1]})"
            lines += pairs
    return "\n".join(lines) + "\n"
