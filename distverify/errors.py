"""Exceptions: misuse or breakage. Outcomes of verification (not verified, timed out, ...) are values, not exceptions.

Every message says which argument, what was received and what to do, in the caller's language: arguments that are marked by
:func:`argument` are ``time_limit=5`` to those who call Python and ``--time-limit 5`` to those who type a command.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_MARK, _VALUE = "\x1f", "\x1e"
_MARKED = re.compile(f"{_MARK}([a-z_]+)(?:{_VALUE}([^{_MARK}]*))?{_MARK}")
_BARE = re.compile(r"True|[-+.e0-9]+")
# A message may begin with the arguments that it is about.
_SUBJECTS = re.compile(r"^[a-z_]+(?:, [a-z_]+)*(?=: )")


def argument(name: str, value: object = None) -> str:
    """The argument ``name``, with a ``value`` where one is given (True: a flag), for a message in either language."""
    return f"{_MARK}{name}{'' if value is None else f'{_VALUE}{value}'}{_MARK}"


def in_python(text: str) -> str:
    """``text`` with its marked arguments as Python spells them: ``name``, ``name=value``."""
    return _MARKED.sub(lambda found: _keyword(found[1], found[2]), text)


def in_words_of(text: str, subject: Callable[[str], str], marked: Callable[[str, str | None], str]) -> str:
    """``text`` with the arguments that it begins with spelt by ``subject``, marked ones by ``marked`` (name, value or None)."""
    text = _SUBJECTS.sub(lambda found: ", ".join(map(subject, found[0].split(", "))), text)
    return _MARKED.sub(lambda found: marked(found[1], found[2]), text)


def _keyword(name: str, value: str | None) -> str:
    if value is None:
        return name
    return f"{name}={value if _BARE.fullmatch(value) else repr(value)}"


class DistverifyError(Exception):
    """Base of every error that distverify raises on purpose; the command line prints its text without a traceback."""

    def __str__(self) -> str:
        return in_python(self.marked)

    @property
    def marked(self) -> str:
        """The text with its arguments marked, for :func:`in_words_of`."""
        return super().__str__()


class ModelError(DistverifyError, ValueError):
    """The model file or network description cannot be used."""


class DataError(DistverifyError, ValueError):
    """The data set cannot be used, or does not fit the model."""


class SettingsError(DistverifyError, ValueError):
    """An option or argument has a value that makes no sense, or would be ignored."""


class ResultError(DistverifyError, RuntimeError):
    """A result file or its journal cannot be read, written or resumed."""


class ExecutorError(DistverifyError, RuntimeError):
    """The workers cannot run at all (not: one sample failed)."""


class PieceError(DistverifyError):
    """A part of one sample's bounds could not be computed; the sample is recorded as failed with this text."""


class Interrupted(DistverifyError):
    """A signal, or an error told first, stopped the run; what was computed is kept, and the same command continues.

    Parameters
    ----------
    done, total, output
        See below.
    cause : Exception, optional
        Told first.
    begun : bool
        False: an older result stands there still, for nothing was computed yet.
    afresh : bool
        The run was to replace an older result, and would do so again.

    Attributes
    ----------
    done, total : int
        Samples that are kept, and samples of the whole run.
    output : str
        The result path.
    """

    def __init__(
        self,
        done: int,
        total: int,
        output: str,
        cause: Exception | None = None,
        *,
        begun: bool = True,
        afresh: bool = False,
    ) -> None:
        reason = ""
        if cause is not None:
            told = cause.marked if isinstance(cause, DistverifyError) else f"{type(cause).__name__}: {cause}"
            reason = f"error: {told}\n"
        if begun:
            told = f"{done} of {total} samples are kept in {output}.parts; run the same command to continue"
            told += f", without {argument('overwrite', True)} where it was given" if afresh else ""
        else:
            told = f"nothing was computed yet, and {output} is as it was; run the same command again"
        super().__init__(f"{reason}interrupted: {told}")
        self.done = done
        self.total = total
        self.output = output
