"""The cases in which a counterexample may lie: boxes of inputs, each with polytopes of outputs, rounded outwards."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from distverify.data.memory import check_memory
from distverify.data.vnnlib.constraints import Affine, Conjunction, alternatives, conjunction, variables_of
from distverify.data.vnnlib.text import NUMBER, VARIABLE, Commands, Unreadable

Floats = NDArray[np.float64]

_IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "exit")
_LARGEST_ARRAYS = 2**29  # bytes of all boxes and polytopes


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


def find_cases(commands: Commands, inputs: int, outputs: int) -> tuple[Case, ...]:
    """The cases that a file's commands leave for a network of so many inputs and outputs.

    Raises
    ------
    Unreadable
    """
    budget = commands.budget
    declared = set(commands.declared)
    asserted: list[list[Conjunction]] = []
    for command in commands.others:
        name = command[0] if command else ""
        if name in ("declare-const", "declare-fun"):
            if len(command) < 3 or not isinstance(command[1], str) or not VARIABLE.fullmatch(command[1]):
                raise Unreadable("declares something else than X_0, X_1, ... and Y_0, Y_1, ...")
            declared.add(command[1])
        elif name == "assert" and len(command) == 2:
            asserted.append(alternatives(command[1], budget))
        elif name not in _IGNORED:
            raise Unreadable(f"has the command {str(name)[:40]!r}; known in VNN-LIB 1.0 are declare-const and assert")
    always = [constraint for options in asserted if len(options) == 1 for constraint in options[0]]
    several = conjunction([options for options in asserted if len(options) != 1], budget)
    _check_declared(
        declared, commands.variables, (*always, *(c for option in several for c in option)), inputs, outputs
    )
    _check_size(several, always, inputs, outputs)
    common, bounds = _split(always)
    shared = _tighten(_simple_box(commands, inputs), common)
    # Alternatives with one box (as in a disjunction over classes) are looked at together.
    grouped: dict[tuple[bytes, bytes], tuple[Floats, Floats, list[Polytope]]] = {}
    for option in several:
        budget.check()
        on_inputs, on_outputs = _split(option)
        lower, upper = _tighten(shared, on_inputs) if on_inputs else shared
        if (lower > upper).any():
            continue
        constraints = bounds + on_outputs
        if any(c.get("", Fraction(0)) > 0 for c in constraints if not variables_of(c)):
            continue
        _check_bounded(lower, upper)
        polytope = _polytope([c for c in constraints if variables_of(c)], outputs)
        grouped.setdefault((lower.tobytes(), upper.tobytes()), (lower, upper, []))[2].append(polytope)
    return tuple(Case(lower, upper, tuple(polytopes)) for lower, upper, polytopes in grouped.values())


def _check_declared(
    declared: set[str], bounded: Sequence[str], constraints: Iterable[Affine], inputs: int, outputs: int
) -> None:
    if declared != {*(f"X_{i}" for i in range(inputs)), *(f"Y_{j}" for j in range(outputs))}:
        told = {letter: sum(d[0] == letter for d in declared) for letter in "XY"}
        raise Unreadable(
            f"declares {told['X']} inputs and {told['Y']} outputs; the model has {inputs} and {outputs}, numbered from 0"
        )
    undeclared = set(bounded) - declared
    for constraint in constraints:
        undeclared |= constraint.keys() - declared - {""}
    if undeclared:
        raise Unreadable(f"constrains {min(undeclared)}, which it does not declare")


def _check_size(several: list[Conjunction], always: Conjunction, inputs: int, outputs: int) -> None:
    """Refuse a product of alternatives whose arrays would not fit, before any of them is made."""
    rows = sum(len(option) for option in several) + len(several) * len(always)
    boxes = sum(any(name[0] == "X" for c in option for name in variables_of(c)) for option in several) + 1
    needed = 8 * (2 * boxes * inputs + 3 * rows * outputs)
    check_memory("property", needed)
    if needed > _LARGEST_ARRAYS:
        raise Unreadable(f"has boxes and constraints of {needed >> 20} MiB; split the property")


def _simple_box(commands: Commands, inputs: int) -> tuple[Floats, Floats]:
    """The box of the bounds of single inputs, rounded outwards."""
    lower, upper = np.full(inputs, -math.inf), np.full(inputs, math.inf)
    index = np.array([int(name[2:]) for name in commands.variables], dtype=np.int64)
    above = np.array([side == ">=" for side in commands.sides], dtype=bool)
    down, up = _outwards(commands.numbers)
    np.maximum.at(lower, index[above], down[above])
    np.minimum.at(upper, index[~above], up[~above])
    return lower, upper


def _outwards(numbers: Sequence[str]) -> tuple[Floats, Floats]:
    """For each decimal number the largest float64 that is not above it, and the smallest that is not below it."""
    try:
        nearest = list(map(float, numbers))
    except ValueError:
        wrong = next(text for text in numbers if not NUMBER.fullmatch(text))
        raise Unreadable(f"has {wrong[:40]!r} where a number or a variable X_0, Y_0, ... is expected") from None
    values = np.array(nearest, dtype=np.float64)
    if np.isinf(values).any():
        raise Unreadable("holds a number beyond the range of float64")
    # Decimals compare exactly, whatever their number of digits.
    exact, rounded = list(map(Decimal, numbers)), list(map(Decimal, nearest))
    above = np.fromiter(map(operator.gt, rounded, exact), dtype=bool, count=len(exact))
    below = np.fromiter(map(operator.lt, rounded, exact), dtype=bool, count=len(exact))
    return np.where(above, np.nextafter(values, -np.inf), values), np.where(below, np.nextafter(values, np.inf), values)


def _split(constraints: Conjunction) -> tuple[Conjunction, Conjunction]:
    """Constraints on one input, and those on outputs (or on nothing)."""
    on_inputs, on_outputs = [], []
    for constraint in constraints:
        names = variables_of(constraint)
        if not any(name[0] == "X" for name in names):
            on_outputs.append(constraint)
        elif len(names) == 1:
            on_inputs.append(constraint)
        else:
            raise Unreadable(f"relates {names[0]} and {names[1]}; inputs can be bounded by numbers only")
    return on_inputs, on_outputs


def _tighten(box: tuple[Floats, Floats], constraints: Conjunction) -> tuple[Floats, Floats]:
    lower, upper = box[0].copy(), box[1].copy()
    for constraint in constraints:
        name = variables_of(constraint)[0]
        value, index = -constraint.get("", Fraction(0)) / constraint[name], int(name[2:])
        if constraint[name] > 0:
            upper[index] = min(_rounded(value, math.inf), upper[index])
        else:
            lower[index] = max(_rounded(value, -math.inf), lower[index])
    return lower, upper


def _check_bounded(lower: Floats, upper: Floats) -> None:
    for side, name in ((lower, "lower"), (upper, "upper")):
        unbounded = np.flatnonzero(np.isinf(side))
        if unbounded.size:
            raise Unreadable(f"gives X_{unbounded[0]} no {name} bound; every input needs both")


def _polytope(constraints: Conjunction, outputs: int) -> Polytope:
    rows, inexact = np.zeros((2, len(constraints), outputs))
    bounds = np.zeros(len(constraints))
    for k, constraint in enumerate(constraints):
        bounds[k] = _rounded(-constraint.get("", Fraction(0)), math.inf)
        for name in variables_of(constraint):
            exact, j = constraint[name], int(name[2:])
            rows[k, j] = _nearest(exact)
            inexact[k, j] = _rounded(abs(exact - Fraction(float(rows[k, j]))), math.inf)
    return Polytope(rows, bounds, inexact)


def _nearest(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        raise Unreadable("holds a number beyond the range of float64") from None


def _rounded(exact: Fraction, towards: float) -> float:
    """The next float64 that is not on the other side of ``exact`` than ``towards``."""
    value = _nearest(exact)
    wrong = Fraction(value) < exact if towards > 0 else Fraction(value) > exact
    return math.nextafter(value, towards) if wrong else value
