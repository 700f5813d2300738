"""The words of a VNN-LIB 2.0 query, and a reader that takes them one by one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from distverify.data.vnnlib.text import Budget, Unreadable

MOST_WORDS = 2**24
_SECONDS = 60.0

_WORD = re.compile(
    r"""[ \t\r\n\f\v]+|;[^\n]*|(?P<word><\d+\.\d+>|<=|>=|==|!=|[()\[\],<>+*]
    |-?\d+(?:\.\d+)?(?![\w.])|-|[A-Za-z][A-Za-z0-9_]*(?:-[a-z]+)*|"(?:[^"\\]|\\["\\nt])*")""",
    re.VERBOSE,
)
_HYPHENATED = frozenset(
    {"vnnlib-version", "declare-network", "declare-input", "declare-hidden", "declare-output", "equal-to", "isomorphic-to"}
)  # fmt: skip


@dataclass(frozen=True)
class Words:
    """A text's words and where each begins."""

    text: str
    words: list[str]
    starts: list[int]

    def line(self, place: int) -> int:
        """The line of the word at ``place``, from 1."""
        start = self.starts[place] if place < len(self.starts) else len(self.text)
        return self.text.count("\n", 0, start) + 1


def split(text: str) -> Words:
    """The words of ``text``, without comments.

    Raises
    ------
    Unreadable
    """
    words: list[str] = []
    starts: list[int] = []
    position, budget, match = 0, Budget(_SECONDS), _WORD.match
    while position < len(text):
        found = match(text, position)
        if found is None:
            line = text.count("\n", 0, position) + 1
            near = text[position:].split(None, 1)[0][:40]
            raise Unreadable(f"line {line}: {near!r} is no word of VNN-LIB 2.0; numbers are like 0.5 or -3")
        position = found.end()
        word = found["word"]
        if word is not None:
            if "-" in word[1:] and word[0].isalpha() and word not in _HYPHENATED:
                line = text.count("\n", 0, found.start()) + 1
                raise Unreadable(f"line {line}: {word[:40]!r} is no name; names have letters, digits and underscores")
            words.append(word)
            starts.append(found.start())
            if not len(words) % 65536:
                budget.check()
                if len(words) > MOST_WORDS:
                    raise Unreadable(f"has more than {MOST_WORDS} words; give a smaller query")
    return Words(text, words, starts)


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
