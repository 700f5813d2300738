"""A result as one JSON object, for programs that watch or compare runs: ``distverify show --json``.

Fields may be added; what there is keeps its name and meaning while ``format`` is the same. Where there is no number, null.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from distverify.results.reader import Result
from distverify.results.schema import all_variables
from distverify.results.verdicts import property_verdicts, unknowns

FORMAT = "distverify result 1"
_NEAREST = 200  # of what is open


def as_json(result: Result) -> dict[str, Any]:
    """What a result says in numbers, at one moment, as values that JSON can hold.

    Parameters
    ----------
    result : Result

    Returns
    -------
    dict
        ``format``, ``file``, ``complete`` (the run has ended), ``samples``, ``counts`` (status -> samples; they add up
        to ``samples``), ``computed``, ``labelled``, ``correct``, ``accuracy`` (0 to 1), ``kernel_seconds``, ``wall_seconds``;
        ``spreads``: name of a number -> a list with, for every radius, ``eps`` (null for what is not about a given radius),
        ``count``, ``least``, ``low`` (5 %), ``median``, ``high`` (95 %), ``most``, ``mean``;
        ``shares``: name -> a list of ``eps`` and ``samples`` for which it holds;
        ``constants``: name -> number of the network alone;
        ``failures``: a list of ``sample``, ``status``, ``message``;
        ``verdicts``: of property files, a list of ``sample``, ``file``, ``verdict`` ("verified", "falsified", "unknown" or
        "no value"), ``by``, ``bound``, ``witness``, ``nodes``, ``seconds``;
        ``unknowns``: what is open, property files or samples at a radius: ``total``, and ``nearest``, a list of those that are nearest
        to a proof: ``sample``, ``file``, ``eps``, ``margin``, ``radius``, ``attacked`` (inf: none found), ``nodes``, ``seconds``;
        ``arrays``: name -> ``dimensions``, ``shape``, ``units``, ``meaning``;
        ``provenance``: as in the file: hashes of model and data, settings, command, packages, start, end.

    Raises
    ------
    ResultError
        If the file cannot be read.
    """
    with result.at_one_moment() as moment:
        summary, dims, sizes = moment.summary(), moment.dims, moment.sizes
        open_ = unknowns(moment)
        variables = {v.name: v for v in all_variables(moment.settings)}
        told = {
            "format": FORMAT,
            "file": str(result.path),
            "complete": moment.complete,
            "samples": summary.samples,
            "counts": summary.counts,
            "computed": summary.computed,
            "labelled": summary.labelled,
            "correct": summary.correct,
            "accuracy": summary.accuracy,
            "kernel_seconds": summary.kernel_seconds,
            "wall_seconds": summary.wall_seconds,
            "spreads": {
                name: [{"eps": eps, **asdict(quantiles)} for eps, quantiles in by_eps.items()]
                for name, by_eps in summary.spreads.items()
            },
            "shares": {
                name: [{"eps": eps, "samples": number} for eps, number in by_eps.items()]
                for name, by_eps in summary.shares.items()
            },
            "constants": summary.constants,
            "failures": [asdict(failure) for failure in summary.failures],
            "verdicts": [asdict(verdict) for verdict in property_verdicts(moment)],
            "unknowns": {"total": len(open_), "nearest": [asdict(unknown) for unknown in open_[:_NEAREST]]},
            "arrays": {
                name: {
                    "dimensions": list(axes),
                    "shape": [sizes[axis] for axis in axes],
                    "units": variables[name].units,
                    "meaning": variables[name].long_name,
                }
                for name, axes in dims.items()
            },
            "provenance": moment.provenance,
        }
    plain: dict[str, Any] = _plain(told)
    return plain


def _plain(value: Any) -> Any:
    """``value`` with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {str(name): _plain(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value
