"""Which variables and numbers may be compared with each other: the typing rules of section 3.3 of the standard."""

from __future__ import annotations

import re

from distverify.data.query.declarations import FLOATS, REAL, SIGNED, UNSIGNED, Tensor
from distverify.data.query.syntax import Cursor

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class ComparisonTypes:
    """The element type of one comparison: of its first variable, and what its constants allow."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._tensor: Tensor | None = None
        self._constants: list[str] = []

    def variable(self, tensor: Tensor) -> None:
        """Take a variable that was read just now."""
        if self._tensor is None:
            self._tensor = tensor
            for word in self._constants:
                self._check(word)
        elif tensor.element != self._tensor.element:
            raise self._cursor.fail(
                f"{tensor.name} is of type {tensor.element} and {self._tensor.name} of {self._tensor.element}; "
                "one comparison has one type",
                1,
            )

    def constant(self, word: str) -> None:
        """Take a number that was read just now."""
        if self._tensor is not None:
            self._check(word)
        elif self._constants and ("." in word) != ("." in self._constants[0]):
            raise self._cursor.fail(f"{self._constants[0]} and {word} are of different types", 1)
        self._constants.append(word)

    def _check(self, word: str) -> None:
        assert self._tensor is not None
        element = self._tensor.element
        if not goes_with(element, word):
            raise self._cursor.fail(
                f"the constant {word[:40]} does not go with {self._tensor.name} of type {element}; {_advice(element, word)}",
                1,
            )


def goes_with(element: str, word: str) -> bool:
    """Whether a number that is written as ``word`` may be compared with variables of a type."""
    if not NUMBER.fullmatch(word):
        return False
    whole = "." not in word
    if element == REAL or element in FLOATS:
        return not whole
    return whole and (element in SIGNED or (element in UNSIGNED and word[0] != "-"))


def _advice(element: str, word: str) -> str:
    if element == REAL or element in FLOATS:
        return f"write {word}.0"
    if element in SIGNED:
        return "give a whole number"
    return "give a whole number that is not negative" if element in UNSIGNED else "compare it with variables only"
