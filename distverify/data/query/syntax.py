"""The words of a VNN-LIB 2.0 query, and a reader that takes them one by one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice

from distverify.data.vnnlib.text import Unreadable

MOST_WORDS = 2**24

_WORD = re.compile(
    r"""[ \t\r\n\f\v]+|;[^\n]*|(?P<word><\d+\.\d+>|<=|>=|==|!=|[()\[\],<>+*]
    |-?[0-9]+(?:\.[0-9]+)?(?![0-9.]|[eE][+-]?[0-9]|(?<=0)[xX][0-9a-fA-F])|-|[A-Za-z][A-Za-z0-9_]*(?:-[a-z]+)*|"(?:[^"\\]|\\["\\nt])*"
    |-?[0-9][\w.]*|.)""",
    re.VERBOSE | re.DOTALL,
)
_SINGLE = frozenset("()[],<>+*-")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_HYPHENATED = frozenset(
    {"vnnlib-version", "declare-network", "declare-input", "declare-hidden", "declare-output", "equal-to", "isomorphic-to"}
)  # fmt: skip


@dataclass(frozen=True)
class Words:
    """A text's words."""

    text: str
    words: list[str]

    def line(self, place: int) -> int:
        """The line of the word at ``place``, from 1; the last one where there is no such word."""
        return self.text.count("\n", 0, self.start(place)) + 1

    def start(self, place: int) -> int:
        """Where the word at ``place`` begins."""
        found = (m.start() for m in _WORD.finditer(self.text) if m["word"])
        return next(islice(found, place, None), len(self.text))


def split(text: str) -> Words:
    """The words of ``text``, without comments.

    Raises
    ------
    Unreadable
    """
    words = [word for word in _WORD.findall(text) if word]
    if len(words) > MOST_WORDS:
        raise Unreadable(f"has more than {MOST_WORDS} words; give a smaller query")
    made = Words(text, words)
    wrong = {word for word in set(words) if _is_wrong(word)}
    if wrong:
        place = next(k for k, word in enumerate(words) if word in wrong)
        start = made.start(place)
        near = text[start:].split(None, 1)[0][:40]
        named = words[place][0].isalpha() and len(words[place]) > 1
        why = (
            "is no name; names have letters, digits and underscores"
            if named
            else "is no word of VNN-LIB 2.0; numbers are like 0.5 or -3"
        )
        raise Unreadable(f"line {made.line(place)}: {near!r} {why}")
    return made


def _is_wrong(word: str) -> bool:
    """Whether it is a character that begins no word, a number with more to it, or a hyphenated word that is no keyword."""
    if word in _SINGLE:
        return False
    if word[0] == "-" or word[0].isdigit():
        return _NUMBER.fullmatch(word) is None
    if len(word) == 1:
        return not (word.isascii() and word.isalpha())
    return "-" in word and word[0].isalpha() and word not in _HYPHENATED


class Cursor:
    """Takes words one by one."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.list = words.words
        self.place = 0

    def fail(self, message: str, back: int = 0) -> Unreadable:
        """What is wrong at the next word, or ``back`` before it."""
        return Unreadable(f"line {self._words.line(max(0, self.place - back))}: {message}")

    @property
    def next(self) -> str:
        """The next word; empty at the end."""
        return self.list[self.place] if self.place < len(self.list) else ""

    def ahead(self, count: int) -> str:
        """The word ``count`` after the next one."""
        place = self.place + count
        return self.list[place] if place < len(self.list) else ""

    def take(self) -> str:
        """The next word, taken."""
        word = self.next
        if not word:
            raise self.fail("the query ends inside of a command; it is cut off")
        self.place += 1
        return word

    def expect(self, *words: str) -> None:
        """Take exactly these words."""
        for word in words:
            if self.next != word:
                raise self.fail(
                    f"{word!r} is expected, not {self.next[:40]!r}" if self.next else f"{word!r} is missing"
                )
            self.place += 1
