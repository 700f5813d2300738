"""Exceptions: misuse or breakage. Outcomes of verification (not verified, timed out, ...) are values, not exceptions.

Every message says which argument, what was received and what to do.
"""

from __future__ import annotations


class DistverifyError(Exception):
    """Base of every error that distverify raises on purpose; the command line prints its text without a traceback."""


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

    Attributes
    ----------
    done, total : int
        Samples that are kept, and samples of the whole run.
    output : str
        The result path.
    """

    def __init__(self, done: int, total: int, output: str, cause: Exception | None = None) -> None:
        reason = ""
        if cause is not None:
            known = isinstance(cause, DistverifyError)
            reason = f"error: {cause}\n" if known else f"error: {type(cause).__name__}: {cause}\n"
        super().__init__(
            f"{reason}interrupted: {done} of {total} samples are kept in {output}.parts; run the same command to continue"
        )
        self.done = done
        self.total = total
        self.output = output
