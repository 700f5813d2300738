"""VNN-LIB property files (version 1.0), as VNN-COMP publishes them: what a counterexample would be.

A file asserts constraints on inputs X_i and outputs Y_j; a point that satisfies them all is a counterexample, and the property is
verified when there is none. Read are boxes of inputs and linear constraints on outputs, combined by ``and`` and ``or``. Decimal
numbers are exact fractions until the last step, where boxes and bounds are rounded so that no counterexample is lost.

Files are not trusted: sizes are limited, and nothing in them is executed.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from distverify.errors import DataError

Floats = NDArray[np.float64]
Expression: TypeAlias = "str | list[Expression]"

SUFFIXES = (".vnnlib", ".vnnlib.gz")
_LARGEST_FILE = 64 * 2**20
_DEEPEST = 64
_MOST_DISJUNCTS = 10_000
_TOKEN = re.compile(r";[^\n]*|[()]|[^\s();]+")
_VARIABLE = re.compile(r"([XY])_(\d{1,8})")
_NUMBER = re.compile(r"[+-]?(\d{1,400}(\.\d{0,400})?|\.\d{1,400})([eE][+-]?\d{1,3})?")
_IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "exit")


@dataclass(frozen=True, eq=False)
class Polytope:
    """Outputs y with ``rows @ y <= bounds``, all of them.

    Attributes
    ----------
    rows : float64 [K, outputs]
    bounds : float64 [K]
        Rounded up: the set may be a little larger than the file's.
    inexact : float64 [K, outputs]
        How far each coefficient may be from the file's decimal number.
    """

    rows: Floats
    bounds: Floats
    inexact: Floats


@dataclass(frozen=True, eq=False)
class Case:
    """Inputs of a box, rounded outwards, whose outputs lie in one of the polytopes: those would be counterexamples.

    Attributes
    ----------
    lower, upper : float64 [inputs]
    polytopes : tuple of Polytope
    """

    lower: Floats
    upper: Floats
    polytopes: tuple[Polytope, ...]


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
        cases = parse_property(_read(file), input_size, output_size)
    except _Unreadable as error:
        raise DataError(f"{path}: {error}") from None
    return Property(file.name, cases)


def digest(properties: Sequence[Property]) -> str:
    """SHA-256 of everything that the properties say, as hexadecimal digits."""
    sha = hashlib.sha256()
    for item in properties:
        sha.update(repr([len(case.polytopes) for case in item.cases]).encode())
        for case in item.cases:
            parts = [a for p in case.polytopes for a in (p.rows, p.bounds, p.inexact)]
            for array in (case.lower, case.upper, *parts):
                sha.update(repr(array.shape).encode())
                sha.update(np.ascontiguousarray(array, dtype="<f8").data)
    return sha.hexdigest()


class _Unreadable(Exception):
    """What is wrong, without the file's name."""


def _read(path: Path) -> str:
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix.lower() == ".gz" else raw
            content = stream.read(_LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _Unreadable(f"cannot be read ({getattr(error, 'strerror', None) or error}); check the path") from None
    if len(content) > _LARGEST_FILE:
        raise _Unreadable(f"is larger than {_LARGEST_FILE >> 20} MiB; give a smaller property")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _Unreadable("is no text file; give a VNN-LIB file") from None


# -- S-expressions -------------------------------------------------------------------------------------------------


def _expressions(text: str) -> Iterator[list[Expression]]:
    """The top-level lists of a file."""
    stack: list[list[Expression]] = []
    for token in _TOKEN.findall(text):
        if token[0] == ";":
            continue
        if token == "(":
            if len(stack) >= _DEEPEST:
                raise _Unreadable(f"is nested deeper than {_DEEPEST} levels")
            stack.append([])
        elif token == ")":
            if not stack:
                raise _Unreadable("has a closing parenthesis too many")
            done = stack.pop()
            if stack:
                stack[-1].append(done)
            else:
                yield done
        elif stack:
            stack[-1].append(token)
        else:
            raise _Unreadable(f"has {token[:40]!r} outside of any parenthesis; give a VNN-LIB 1.0 file")
    if stack:
        raise _Unreadable("ends inside a parenthesis; it is cut off")


# -- constraints ---------------------------------------------------------------------------------------------------

# Coefficients by variable, and under "" the constant: an affine function, which a constraint says to be <= 0.
_Affine: TypeAlias = dict[str, Fraction]
_Conjunction: TypeAlias = list[_Affine]


def _affine(term: Expression) -> _Affine:
    if isinstance(term, str):
        if _VARIABLE.fullmatch(term):
            return {term: Fraction(1)}
        if not _NUMBER.fullmatch(term):
            raise _Unreadable(f"has {term[:40]!r} where a number or a variable X_0, Y_0, ... is expected")
        return {"": Fraction(term)}
    operator, parts = (term[0], [_affine(part) for part in term[1:]]) if term else ("", [])
    if operator == "+" and parts:
        return _sum(parts, [1] * len(parts))
    if operator == "-" and parts:
        return _sum(parts, [-1] if len(parts) == 1 else [1, *[-1] * (len(parts) - 1)])
    if operator == "*" and len(parts) == 2:
        number, other = parts if set(parts[0]) <= {""} else parts[::-1]
        if set(number) <= {""}:
            return _sum([other], [number.get("", Fraction(0))])
        raise _Unreadable("multiplies two variables; only linear constraints can be verified")
    raise _Unreadable(f"has a term {str(operator)[:40]!r} of {len(parts)} operands; known are +, - and * by a number")


def _sum(parts: Sequence[_Affine], factors: Sequence[int | Fraction]) -> _Affine:
    total: _Affine = {}
    for part, factor in zip(parts, factors, strict=True):
        for name, value in part.items():
            total[name] = total.get(name, Fraction(0)) + factor * value
    return total


def _alternatives(expression: Expression) -> list[_Conjunction]:
    """The expression in disjunctive normal form."""
    operator = expression[0] if isinstance(expression, list) and expression else expression
    parts = expression[1:] if isinstance(expression, list) else []
    if operator == "or":
        return _limited([c for part in parts for c in _alternatives(part)])
    if operator == "and":
        found: list[_Conjunction] = [[]]
        for part in parts:
            options = _alternatives(part)
            _limit(len(found) * len(options))
            found = [a + b for a in found for b in options]
        return found
    if operator in ("<=", "<", ">=", ">", "=") and len(parts) == 2:
        left, right = _affine(parts[0]), _affine(parts[1])
        at_most, at_least = _sum([left, right], [1, -1]), _sum([right, left], [1, -1])
        if operator == "=":
            return [[at_most, at_least]]
        # A strict constraint is read as its closure: at worst, a point more is taken for a counterexample.
        return [[at_most if operator in ("<=", "<") else at_least]]
    raise _Unreadable(f"asserts {str(operator)[:40]!r} of {len(parts)} operands; known are and, or, <=, >= and =")


def _limited(found: list[_Conjunction]) -> list[_Conjunction]:
    _limit(len(found))
    return found


def _limit(count: int) -> None:
    if count > _MOST_DISJUNCTS:
        raise _Unreadable(f"has more than {_MOST_DISJUNCTS} alternatives; split the property")


# -- properties ----------------------------------------------------------------------------------------------------


def parse_property(text: str, input_size: int, output_size: int) -> tuple[Case, ...]:
    """The cases in which a counterexample may lie, from the text of a VNN-LIB file."""
    declared: set[str] = set()
    always: _Conjunction = []
    options: list[_Conjunction] = [[]]
    for command in _expressions(text):
        name = command[0] if command else ""
        if name in ("declare-const", "declare-fun"):
            if len(command) < 3 or not isinstance(command[1], str) or not _VARIABLE.fullmatch(command[1]):
                raise _Unreadable("declares something else than X_0, X_1, ... and Y_0, Y_1, ...")
            declared.add(command[1])
        elif name == "assert" and len(command) == 2:
            found = _alternatives(command[1])
            if len(found) == 1:
                always += found[0]
            else:
                _limit(len(options) * len(found))
                options = [a + b for a in options for b in found]
        elif name not in _IGNORED:
            raise _Unreadable(f"has the command {str(name)[:40]!r}; known in VNN-LIB 1.0 are declare-const and assert")
    sizes = {"X": input_size, "Y": output_size}
    if declared != {f"{letter}_{i}" for letter, size in sizes.items() for i in range(size)}:
        given = {letter: sum(d[0] == letter for d in declared) for letter in sizes}
        raise _Unreadable(
            f"declares {given['X']} inputs and {given['Y']} outputs; the model has {input_size} and {output_size}, "
            "numbered from 0"
        )
    for constraint in (*always, *(c for option in options for c in option)):
        undeclared = sorted(set(constraint) - declared - {""})
        if undeclared:
            raise _Unreadable(f"constrains {undeclared[0]}, which it does not declare")
    return _cases(always, options, input_size, output_size)


def _cases(always: _Conjunction, options: list[_Conjunction], inputs: int, outputs: int) -> tuple[Case, ...]:
    common, bounds = _split(always)
    shared = _tighten(({}, {}), common)
    # Alternatives with one box (as in a disjunction over classes) are looked at together.
    grouped: dict[tuple[bytes, bytes], tuple[Floats, Floats, list[Polytope]]] = {}
    for option in options:
        on_inputs, on_outputs = _split(option)
        box = _tighten(shared, on_inputs)
        if any(box[0][i] > box[1][i] for i in box[0].keys() & box[1].keys()):
            continue
        constraints = bounds + on_outputs
        if any(c.get("", Fraction(0)) > 0 for c in constraints if not _variables(c)):
            continue
        lower = np.array([_rounded(_bound(box[0], i, "lower"), -math.inf) for i in range(inputs)])
        upper = np.array([_rounded(_bound(box[1], i, "upper"), math.inf) for i in range(inputs)])
        polytope = _polytope([c for c in constraints if _variables(c)], outputs)
        grouped.setdefault((lower.tobytes(), upper.tobytes()), (lower, upper, []))[2].append(polytope)
    return tuple(Case(lower, upper, tuple(polytopes)) for lower, upper, polytopes in grouped.values())


def _variables(constraint: _Affine) -> list[str]:
    return [name for name, value in constraint.items() if name and value]


def _split(conjunction: _Conjunction) -> tuple[_Conjunction, _Conjunction]:
    """Constraints on one input, and those on outputs (or on nothing)."""
    on_inputs, on_outputs = [], []
    for constraint in conjunction:
        names = _variables(constraint)
        if not any(name[0] == "X" for name in names):
            on_outputs.append(constraint)
        elif len(names) == 1:
            on_inputs.append(constraint)
        else:
            raise _Unreadable(f"relates {names[0]} and {names[1]}; inputs can be bounded by numbers only")
    return on_inputs, on_outputs


_Sides: TypeAlias = tuple[dict[int, Fraction], dict[int, Fraction]]


def _tighten(box: _Sides, constraints: _Conjunction) -> _Sides:
    lower, upper = dict(box[0]), dict(box[1])
    for constraint in constraints:
        name = _variables(constraint)[0]
        value, index = -constraint.get("", Fraction(0)) / constraint[name], int(name[2:])
        if constraint[name] > 0:
            upper[index] = min(value, upper.get(index, value))
        else:
            lower[index] = max(value, lower.get(index, value))
    return lower, upper


def _bound(side: dict[int, Fraction], index: int, name: str) -> Fraction:
    if index not in side:
        raise _Unreadable(f"gives X_{index} no {name} bound; every input needs both")
    return side[index]


def _polytope(constraints: _Conjunction, outputs: int) -> Polytope:
    rows, inexact = np.zeros((2, len(constraints), outputs))
    bounds = np.zeros(len(constraints))
    for k, constraint in enumerate(constraints):
        bounds[k] = _rounded(-constraint.get("", Fraction(0)), math.inf)
        for name in _variables(constraint):
            exact, j = constraint[name], int(name[2:])
            rows[k, j] = _nearest(exact)
            inexact[k, j] = _rounded(abs(exact - Fraction(float(rows[k, j]))), math.inf)
    return Polytope(rows, bounds, inexact)


def _nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        raise _Unreadable("holds a number beyond the range of float64") from None


def _rounded(exact: Fraction, towards: float) -> float:
    """The next float64 that is not on the other side of ``exact`` than ``towards``."""
    value = _nearest(exact)
    wrong = Fraction(value) < exact if towards > 0 else Fraction(value) > exact
    return math.nextafter(value, towards) if wrong else value
