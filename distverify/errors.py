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
