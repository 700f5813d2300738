"""Queries of VNN-LIB 1.0, as VNN-COMP publishes them: inputs X_i and outputs Y_j of one network, over the reals."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from distverify.data.query.declarations import INPUT, OUTPUT, REAL, NetworkDeclaration, Query, Tensor
from distverify.data.query.terms import Arithmetic, Comparison, Connective, Constant, Formula, Term, Variable
from distverify.data.vnnlib.text import NUMBER, Budget, Unreadable

Words: TypeAlias = "str | list[Words]"

_WORD = re.compile(r";[^\n]*|[()]|[^\s();]+")
_VARIABLE = re.compile(r"([XY])_(\d{1,8})")
_IGNORED = ("set-logic", "set-info", "set-option", "check-sat", "get-model", "exit")
_MOST_WORDS, _DEEPEST, _DEEPEST_FORMULA, _SECONDS = 2**24, 10_000, 200, 60.0
# Of which SMT-LIB takes more than two operands: each with the next one.
_CHAINS = frozenset({"<=", "<", ">=", ">", "=", "=="})
_COMPARISONS = {"<=": "<=", "<": "<", ">=": "<=", ">": "<", "=": "==", "==": "==", "!=": "!=", "distinct": "!="}

# The shapes of input and output, from their numbers of elements.
Shapes: TypeAlias = Callable[[int, int], tuple[tuple[int, ...], tuple[int, ...]]]


def is_first_version(text: str) -> bool:
    """Whether a text declares inputs and outputs one by one, as version 1.0 does."""
    return re.search(
        r"^[^;]*?\(\s*(vnnlib-version|declare-(const|fun|network))\b", text, re.MULTILINE
    ) is not None and (re.search(r"^[^;\n]*\(\s*(?:vnnlib-version|declare-network)\b", text, re.MULTILINE) is None)


def parse_first_version(text: str, name: str, shapes: Shapes) -> Query:
    """The query of a text of version 1.0 about a network called ``name``.

    Raises
    ------
    Unreadable
    """
    declared: dict[str, set[int]] = {"X": set(), "Y": set()}
    asserted: list[Words] = []
    for command in _commands(text):
        head = command[0] if command else ""
        if head in ("declare-const", "declare-fun") and len(command) >= 3 and isinstance(command[1], str):
            found = _VARIABLE.fullmatch(command[1])
            if found is None:
                raise Unreadable(
                    f"declares {command[1][:40]!r}; known in VNN-LIB 1.0 are X_0, X_1, ... and Y_0, Y_1, ..."
                )
            declared[found[1]].add(int(found[2]))
        elif head == "assert" and len(command) == 2:
            asserted.append(command[1])
        elif head not in _IGNORED:
            raise Unreadable(f"has the command {str(head)[:40]!r}; known in VNN-LIB 1.0 are declare-const and assert")
    sizes = {letter: len(numbers) for letter, numbers in declared.items()}
    for letter, numbers in declared.items():
        if numbers != set(range(sizes[letter])) or not numbers:
            raise Unreadable(
                f"declares {sizes[letter]} variables {letter}_i, which are not numbered from 0 without gaps"
            )
    if not asserted:
        raise Unreadable("has no assertion; give at least one")
    first, second = shapes(sizes["X"], sizes["Y"])
    tensors = (Tensor("X", INPUT, REAL, first, 0), Tensor("Y", OUTPUT, REAL, second, sizes["X"]))
    reader = _Reader(sizes["X"], sizes["Y"])
    formulas = tuple(reader.formula(words, 0) for words in asserted)
    return Query((1, 0), (NetworkDeclaration(name, tensors),), formulas)


def _commands(text: str) -> list[list[Words]]:
    commands: list[list[Words]] = []
    stack: list[list[Words]] = []
    budget = Budget(_SECONDS)
    for count, found in enumerate(_WORD.finditer(text)):
        word = found[0]
        if not count % 65536:
            budget.check()
            if count > _MOST_WORDS:
                raise Unreadable(f"has more than {_MOST_WORDS} words; give a smaller query")
        if word[0] == ";":
            continue
        if word == "(":
            if len(stack) >= _DEEPEST:
                raise Unreadable(f"is nested deeper than {_DEEPEST} levels")
            stack.append([])
        elif word == ")":
            if not stack:
                raise Unreadable("has a closing parenthesis too many")
            done = stack.pop()
            (stack[-1] if stack else commands).append(done)
        elif stack:
            stack[-1].append(word)
        else:
            raise Unreadable(f"has {word[:40]!r} outside of any parenthesis")
    if stack:
        raise Unreadable("ends inside a parenthesis; it is cut off")
    return commands


class _Reader:
    """Makes formulas of words."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._sizes = {"X": inputs, "Y": outputs}

    def formula(self, words: Words, depth: int) -> Formula:
        if depth > _DEEPEST_FORMULA:
            raise Unreadable(f"has formulas nested deeper than {_DEEPEST_FORMULA} levels")
        head = words[0] if isinstance(words, list) and words else words
        parts = words[1:] if isinstance(words, list) else []
        if head in ("and", "or") and parts:
            formulas = tuple(self.formula(part, depth + 1) for part in parts)
            return formulas[0] if len(formulas) == 1 else Connective(str(head), formulas)
        if isinstance(head, str) and head in _COMPARISONS and (len(parts) == 2 or (len(parts) > 2 and head in _CHAINS)):
            terms = [self.term(part) for part in parts]
            if head in (">=", ">"):
                terms.reverse()
            links = tuple(Comparison(_COMPARISONS[head], left, right) for left, right in pairwise(terms))
            return links[0] if len(links) == 1 else Connective("and", links)
        raise Unreadable(f"asserts {str(head)[:40]!r} of {len(parts)} operands; known are and, or, <=, <, >=, > and =")

    def term(self, words: Words) -> Term:
        made: list[Term] = []
        ahead: list[tuple[Words, bool]] = [(words, False)]
        while ahead:
            own, entered = ahead.pop()
            if isinstance(own, str):
                made.append(self._leaf(own))
            elif entered:
                first = len(made) - (len(own) - 1)
                parts = tuple(made[first:])
                made[first:] = [parts[0] if len(parts) == 1 and own[0] != "-" else Arithmetic(str(own[0]), parts)]
            else:
                operator = own[0] if own else ""
                if operator not in ("+", "-", "*") or len(own) < 2:
                    raise Unreadable(
                        f"has a term {str(operator)[:40]!r} of {max(0, len(own) - 1)} operands; known are +, - and *"
                    )
                ahead.append((own, True))
                ahead.extend((part, False) for part in reversed(own[1:]))
        return made[0]

    def _leaf(self, word: str) -> Term:
        found = _VARIABLE.fullmatch(word)
        if found is not None:
            number = int(found[2])
            if number >= self._sizes[found[1]]:
                raise Unreadable(f"constrains {word}, which it does not declare")
            return Variable(number + (self._sizes["X"] if found[1] == "Y" else 0))
        if not NUMBER.fullmatch(word):
            raise Unreadable(f"has {word[:40]!r} where a number or a variable X_0, Y_0, ... is expected")
        return Constant(Fraction(word))
