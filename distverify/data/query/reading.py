"""Reading a VNN-LIB 2.0 query: grammar, scopes and types, as chapter 3 of the standard has them.

Sources: the standard's grammar (appendix A), its rules of scoping and typing (sections 3.2 and 3.3). Files are not trusted: bytes,
words, depth and seconds are limited, and nothing in them is executed.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import prod
from pathlib import Path

from distverify.data.query.comparison_types import NUMBER, ComparisonTypes, goes_with
from distverify.data.query.declarations import (
    ELEMENT_TYPES,
    HIDDEN,
    INPUT,
    OUTPUT,
    REAL,
    NetworkDeclaration,
    Query,
    Tensor,
)  # fmt: skip
from distverify.data.query.syntax import Cursor, split
from distverify.data.query.terms import Arithmetic, Comparison, Connective, Constant, Formula, Term, Variable
from distverify.data.vnnlib.text import Unreadable, read_text
from distverify.errors import DataError

NEWEST = (2, 0)
_DEEPEST = 10_000
_LARGEST_TENSOR = 2**24
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_KEYWORDS = frozenset({"and", "or"})
_TURNED = {">": "<", ">=": "<="}
_BOUNDS = frozenset({"<=", ">=", "<", ">", "=="})
_LONGEST_NUMBER = 4000


def read_query(path: str | Path) -> Query:
    """Read a query file, plain or gzipped.

    Raises
    ------
    DataError
        A file that cannot be read or is no well-formed VNN-LIB 2.0 query.
    """
    try:
        return parse_query(read_text(Path(path)))
    except Unreadable as error:
        raise DataError(f"{path}: {error}") from None


def parse_query(text: str) -> Query:
    """The query of a text.

    Raises
    ------
    Unreadable
    """
    return _Reader(Cursor(split(text))).query()


class _Reader:
    """Reads a query from its words."""

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self.tensors: dict[str, Tensor] = {}
        self.networks: dict[str, NetworkDeclaration] = {}
        self.numbers: dict[str, Constant] = {}
        self.warnings: list[str] = []
        self.size = 0

    def query(self) -> Query:
        version = self._version()
        while self.cursor.next == "(" and self.cursor.ahead(1) == "declare-network":
            self._network()
        if not self.networks:
            raise self.cursor.fail("a network is to be declared after the version: (declare-network NAME ...)")
        assertions = []
        while self.cursor.next == "(" and self.cursor.ahead(1) == "assert":
            assertions.append(self._bound() or self._assertion())
        if self.cursor.next:
            told = f"{self.cursor.next}{self.cursor.ahead(1)}"[:40]
            raise self.cursor.fail(f"{told!r} is neither a network before all assertions nor an assertion after them")
        if not assertions:
            raise self.cursor.fail("there is no assertion; give at least one")
        return Query(version, tuple(self.networks.values()), tuple(assertions), tuple(self.warnings))

    def _version(self) -> tuple[int, int]:
        if self.cursor.next != "(" or self.cursor.ahead(1) != "vnnlib-version":
            raise self.cursor.fail("a query begins with its version: (vnnlib-version <2.0>)")
        self.cursor.place += 2
        word = self.cursor.take()
        found = re.fullmatch(r"<(\d{1,6})\.(\d{1,6})>", word)
        if found is None:
            raise self.cursor.fail(f"{word[:40]!r} is no version; write <2.0>", 1)
        version = int(found[1]), int(found[2])
        if version[0] != NEWEST[0]:
            raise self.cursor.fail(f"version {word[1:-1]} is not read; give a query of version 2.0", 1)
        if version[1] > NEWEST[1]:
            self.warnings.append(f"the query is of version {word[1:-1]}, newer than 2.0: it is read as one of 2.0")
        self.cursor.expect(")")
        return version

    def _network(self) -> None:
        cursor = self.cursor
        cursor.expect("(", "declare-network")
        name = self._name("a network's name")
        if name in self.networks:
            raise cursor.fail(f"network {name} is declared twice; give each its own name", 1)
        relations: list[tuple[str, str]] = []
        while cursor.next == "(" and cursor.ahead(1) in ("equal-to", "isomorphic-to"):
            cursor.place += 1
            relation = cursor.take()
            relations.append((relation, self._related(relation, name)))
            cursor.expect(")")
        if len(relations) > 1:
            raise cursor.fail(f"network {name} has {len(relations)} relations to others; at most one is allowed")
        tensors: list[Tensor] = []
        for kind in (INPUT, HIDDEN, OUTPUT):
            while cursor.next == "(" and cursor.ahead(1) == f"declare-{kind}":
                tensors.append(self._tensor(kind))
            if kind != HIDDEN and not any(t.kind == kind for t in tensors):
                raise cursor.fail(
                    f"network {name} has no {kind} here; inputs come first, then hidden nodes, then outputs"
                )
        if cursor.next != ")":
            raise cursor.fail(
                f"network {name}: {cursor.next}{cursor.ahead(1)} is out of place; inputs come first, then hidden nodes, then outputs"
            )
        cursor.place += 1
        made = NetworkDeclaration(name, tuple(tensors), **{r.replace("-", "_"): other for r, other in relations})
        for relation, other in relations:
            self._check_relation(made, relation, self.networks[other])
        self.networks[name] = made

    def _related(self, relation: str, name: str) -> str:
        other = self._name("a network's name")
        if other not in self.networks:
            raise self.cursor.fail(f"network {name} is {relation} {other}, which is not declared before it", 1)
        named = self.networks[other]
        if named.equal_to or named.isomorphic_to:
            raise self.cursor.fail(
                f"network {name} is {relation} {other}, which itself names another; name that one instead", 1
            )
        return other

    def _check_relation(self, one: NetworkDeclaration, relation: str, other: NetworkDeclaration) -> None:
        def told(tensors: tuple[Tensor, ...]) -> list[tuple[object, ...]]:
            return [(t.kind, t.shape, t.element if relation == "equal-to" else "") for t in tensors if t.kind != HIDDEN]

        mine, theirs = told(one.tensors), told(other.tensors)
        hidden = {t.node: t for t in other.of(HIDDEN)}
        for tensor in one.of(HIDDEN):
            if tensor.node in hidden:
                twin = hidden[tensor.node]
                mine.append((tensor.shape, tensor.element if relation == "equal-to" else ""))
                theirs.append((twin.shape, twin.element if relation == "equal-to" else ""))
        if mine != theirs:
            what = "number, kind, shape and type" if relation == "equal-to" else "number, kind and shape"
            raise self.cursor.fail(
                f"network {one.name} is {relation} {other.name}, but their tensors differ in {what}", 1
            )

    def _tensor(self, kind: str) -> Tensor:
        cursor = self.cursor
        cursor.place += 2
        name = self._name("a variable's name")
        if name in self.tensors:
            raise cursor.fail(f"variable {name} is declared twice; give each its own name", 1)
        element = self._name("an element type")
        element = REAL if element == "Real" else element
        if element not in ELEMENT_TYPES:
            raise cursor.fail(f"{element[:40]!r} is no element type; give real, float32 or another type of ONNX", 1)
        shape = self._shape(name)
        node = None
        if kind == HIDDEN:
            if not cursor.next.startswith('"'):
                raise cursor.fail(f'hidden node {name} needs its name in the ONNX graph, in quotes: "..."')
            word = cursor.take()[1:-1]
            node = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), word)
        elif cursor.next.startswith('"'):
            raise cursor.fail(
                f"{kind} {name} has a name in the ONNX graph, which hidden nodes have; it is bound by its position"
            )
        elif kind == INPUT and cursor.next == "initialized":
            raise cursor.fail(f"input {name} is initialized, which VNN-LIB 2.0 does not know; bound it by assertions")
        cursor.expect(")")
        tensor = Tensor(name, kind, element, shape, self.size, node)
        self.size += tensor.size
        self.tensors[name] = tensor
        return tensor

    def _shape(self, name: str) -> tuple[int, ...]:
        self.cursor.expect("[")
        shape = self._numbers(f"a dimension of {name}")
        if any(d < 1 for d in shape):
            raise self.cursor.fail(f"{name} has a dimension below 1; dimensions are positive whole numbers", 1)
        if prod(shape) > _LARGEST_TENSOR:
            raise self.cursor.fail(f"{name} has more than {_LARGEST_TENSOR} elements; give a smaller query", 1)
        return shape

    def _numbers(self, what: str) -> tuple[int, ...]:
        """Whole numbers up to the closing bracket, which is taken."""
        cursor = self.cursor
        numbers: list[int] = []
        if cursor.next == "]":
            cursor.place += 1
            return ()
        while True:
            word = cursor.take()
            if not (word.isdigit() and len(word) < 19):
                raise cursor.fail(f"{word[:40]!r} is no whole number, for {what}", 1)
            numbers.append(int(word))
            word = cursor.take()
            if word == "]":
                return tuple(numbers)
            if word != ",":
                raise cursor.fail(f"a comma or a closing bracket is expected, not {word[:40]!r}", 1)

    def _name(self, what: str) -> str:
        word = self.cursor.take()
        if not _NAME.fullmatch(word) or word in _KEYWORDS:
            raise self.cursor.fail(f"{what} is expected, not {word[:40]!r}", 1)
        return word

    def _assertion(self) -> Formula:
        self.cursor.expect("(", "assert")
        made = self._formula()
        self.cursor.expect(")")
        return made

    def _bound(self) -> Comparison | None:
        """An element compared with a number, which most assertions are; None where it is anything else, or wrong."""
        cursor = self.cursor
        operator, name = cursor.ahead(3), cursor.ahead(4)
        tensor = self.tensors.get(name)
        if tensor is None or not tensor.shape or operator not in _BOUNDS or cursor.ahead(2) != "(":
            return None
        first = cursor.place + 6
        last = first + 2 * len(tensor.shape) - 1
        indices = cursor.list[first:last]
        word, *rest = cursor.list[last + 1 : last + 4] or [""]
        if cursor.list[first - 1] + cursor.ahead(last - cursor.place) != "[]" or rest != [")", ")"]:
            return None
        if any(mark != "," for mark in indices[1::2]) or not goes_with(tensor.element, word) or len(word) > 300:
            return None
        flat = 0
        for index, size in zip(indices[::2], tensor.shape, strict=True):
            if not (index.isdigit() and len(index) < 19 and int(index) < size):
                return None
            flat = flat * size + int(index)
        cursor.place = last + 4
        left, right = Variable(tensor.first + flat), self._number(word)
        turned = _TURNED.get(operator)
        return Comparison(operator, left, right) if turned is None else Comparison(turned, right, left)

    def _number(self, word: str) -> Constant:
        made = self.numbers.get(word)
        if made is None:
            made = self.numbers[word] = Constant(Fraction(word))
        return made

    def _formula(self) -> Formula:
        """A formula; connectives of one kind within each other are one."""
        cursor = self.cursor
        opened: list[tuple[str, list[Formula]]] = []
        while True:
            cursor.expect("(")
            operator = cursor.take()
            if operator in ("and", "or"):
                self._enter(operator, len(opened), "formula")
                opened.append((operator, []))
                continue
            made: Formula = self._comparison(operator)
            while opened:
                joined, parts = opened[-1]
                if isinstance(made, Connective) and made.operator == joined:
                    parts.extend(made.parts)
                else:
                    parts.append(made)
                if cursor.next != ")":
                    break
                cursor.place += 1
                opened.pop()
                made = parts[0] if len(parts) == 1 else Connective(joined, tuple(parts))
            else:
                return made

    def _enter(self, operator: str, depth: int, what: str) -> None:
        if depth >= _DEEPEST:
            raise self.cursor.fail(f"is nested deeper than {_DEEPEST} levels")
        if self.cursor.next == ")":
            raise self.cursor.fail(f"{operator} of nothing; give at least one {what}")

    def _comparison(self, operator: str) -> Comparison:
        cursor = self.cursor
        if operator not in ("<=", ">=", "<", ">", "==", "!="):
            raise cursor.fail(
                f"{operator[:40]!r} is no comparison and no connective; known are and, or, <=, >=, <, >, ==, !=", 1
            )
        types = ComparisonTypes(self.cursor)
        left, right = self._term(types), self._term(types)
        if cursor.next != ")":
            raise cursor.fail(f"{operator} compares two terms; {cursor.next[:40]!r} is one too many")
        cursor.place += 1
        if operator in _TURNED:
            return Comparison(_TURNED[operator], right, left)
        return Comparison(operator, left, right)

    def _term(self, types: ComparisonTypes) -> Term:
        cursor = self.cursor
        opened: list[tuple[str, list[Term]]] = []
        while True:
            word = cursor.take()
            if word == "(":
                operator = cursor.take()
                if operator not in ("+", "-", "*"):
                    raise cursor.fail(f"{operator[:40]!r} is no operation; known are +, - and *", 1)
                self._enter(operator, len(opened), "term")
                opened.append((operator, []))
                continue
            made = self._leaf(word, types)
            while opened:
                operator, parts = opened[-1]
                parts.append(made)
                if cursor.next != ")":
                    break
                cursor.place += 1
                opened.pop()
                made = parts[0] if len(parts) == 1 and operator != "-" else Arithmetic(operator, tuple(parts))
            else:
                return made

    def _leaf(self, word: str, types: ComparisonTypes) -> Term:
        cursor = self.cursor
        if NUMBER.fullmatch(word):
            if len(word) > _LONGEST_NUMBER:
                raise cursor.fail(f"a number has more than {_LONGEST_NUMBER} digits", 1)
            types.constant(word)
            return self._number(word)
        if _NAME.fullmatch(word):
            return self._element(word, types)
        raise cursor.fail(f"a number, a variable or a term in parentheses is expected, not {word[:40]!r}", 1)

    def _element(self, name: str, types: ComparisonTypes) -> Variable:
        cursor = self.cursor
        tensor = self.tensors.get(name)
        if tensor is None:
            raise cursor.fail(f"variable {name[:40]} is not declared", 1)
        types.variable(tensor)
        indices: tuple[int, ...] = ()
        if cursor.next == "[":
            cursor.place += 1
            indices = self._numbers(f"an index of {name}")
        if len(indices) != len(tensor.shape):
            raise cursor.fail(f"{name} has {len(tensor.shape)} dimensions, and got {len(indices)} indices", 1)
        flat = 0
        for index, size in zip(indices, tensor.shape, strict=True):
            if index >= size:
                raise cursor.fail(f"index {index} of {name} is out of bounds; its shape is {list(tensor.shape)}", 1)
            flat = flat * size + index
        return Variable(tensor.first + flat)
