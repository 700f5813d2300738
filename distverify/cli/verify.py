"""``distverify verify`` and ``distverify supports``: the solver that chapter 5 of the VNN-LIB standard describes."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import click

from distverify.cli.answering import answered, started
from distverify.cli.main import complain, said
from distverify.errors import DistverifyError


class _Seconds(click.ParamType[Any]):
    """A positive number of seconds, whole or decimal."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not (math.isfinite(seconds) and seconds > 0):
            self.fail(f"got {value!r}; give a number of seconds above 0", param, ctx)
        return seconds


class _Model(click.ParamType[Any]):
    """NAME=MODEL."""

    name = "name=model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, separator, path = value.partition("=")
        if not (separator and name and path):
            self.fail(f"got {value!r}; give NAME=MODEL.onnx, with the network's name in the query", param, ctx)
        return name, path


@click.command()
@click.argument("query", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--network", "models", type=_Model(), multiple=True, metavar="NAME=MODEL",
              help="The ONNX model of a network that the query declares; once for each that is not equal to another.")  # fmt: skip
@click.option("--timeout", type=_Seconds(), metavar="SECONDS", help="After which the answer is timed-out.")
@click.option("--serialise-assignments", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Write a satisfying assignment as ONNX tensors, one file per variable, instead of printing it.")  # fmt: skip
@click.option("--results-file", "results", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write the verdict and an assignment there, in VNN-COMP's form.")  # fmt: skip
def verify(
    query: Path,
    models: tuple[tuple[str, str], ...],
    timeout: float | None,
    folder: Path | None,
    results: Path | None,
) -> None:
    """Decide a VNN-LIB query (2.0 or 1.0): is there an input for which all of its assertions are true?

    The first line on stdout is sat, unsat, unknown or timed-out; after sat comes the assignment. Logs and errors go to stderr.

    \b
    Exit status: 0 a verdict, 2 misuse or a query that cannot be answered.
    """
    paths = dict(models)
    if len(paths) < len(models):
        raise click.UsageError("--network: a network is given twice; give one model for each")
    deadline = None if timeout is None else started() + timeout
    if results is not None:
        results.write_text("timeout\n", encoding="utf-8")
    sys.exit(answered(lambda: _compute(query, paths, deadline, folder, results), deadline))


def _compute(
    query: Path, models: dict[str, str], deadline: float | None, folder: Path | None, results: Path | None = None
) -> tuple[int, str]:
    """The exit status and what goes to stdout."""
    from distverify.analysis.query.opening import open_query
    from distverify.analysis.query.solve import SAT, solve
    from distverify.analysis.query.telling import assignment_lines, competition_text, write_assignment

    try:
        bound = open_query(query, models)
        for warning in bound.query.warnings:
            _log(f"warning: {warning}")
        answer = solve(bound, deadline, _log)
        if results is not None:
            results.write_text(competition_text(bound.query, answer.status, answer.witness), encoding="utf-8")
        lines = [answer.status]
        if answer.reason:
            _log(answer.reason)
        if answer.status == SAT:
            assert answer.witness is not None
            if folder is None:
                lines += assignment_lines(bound.query, answer.witness)
            else:
                write_assignment(bound.query, answer.witness, folder)
    except DistverifyError as error:
        complain(said(verify, error))
        return 2, ""
    except OSError as error:
        complain(f"{error.filename or folder}: cannot be written ({error.strerror}); choose another place")
        return 2, ""
    return 0, "\n".join(lines) + "\n"


def _log(text: str) -> None:
    from distverify.notices import tell

    tell(text)
