"""Ranges of outputs and of derivatives, over all samples' balls and over the domain: for networks of few inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from distverify.results.reader import Result
from distverify.words import significant

MOST_ROWS = 240
DOMAIN = "the domain"
# Of the codes of monotone features.
_CODES = {1: "always rises", -1: "always falls", 2: "rises and falls"}


@dataclass(frozen=True)
class Ranges:
    """Tables of ranges, a row each.

    Attributes
    ----------
    outputs : list of (output, region, range)
    derivatives : list of (output, input, region, range, sign)
    left_out : int
        Derivatives that are too many for a page.
    """

    outputs: list[list[str]] = field(default_factory=list)
    derivatives: list[list[str]] = field(default_factory=list)
    left_out: int = 0


def gather_ranges(result: Result, names: dict[str, list[str]]) -> Ranges:
    """What a result knows of ranges.

    Parameters
    ----------
    result : Result
    names : dict "output", "input" -> list of str
        What outputs and inputs are called.
    """
    dims, eps = result.dims, result.settings.eps
    ranges = Ranges()
    outputs, inputs = names["output"], names["input"]
    if "output_lower" in dims:
        lower, upper = result["output_lower"], result["output_upper"]
        if not np.isnan(lower).all():
            low, high = np.nanmin(lower, axis=0), np.nanmax(upper, axis=0)
            for k, radius in enumerate(eps):
                ranges.outputs.extend([n, _ball(radius), _range(low[k, o], high[k, o])] for o, n in enumerate(outputs))
    if "domain_output_lower" in dims:
        low, high = result["domain_output_lower"], result["domain_output_upper"]
        ranges.outputs.extend([n, DOMAIN, _range(low[o], high[o])] for o, n in enumerate(outputs))
    del ranges.outputs[MOST_ROWS:]
    regions: list[tuple[str, np.ndarray, np.ndarray]] = []
    size = len(outputs) * len(inputs)
    over_balls = "jacobian_lower" in dims
    if size * (len(eps) * over_balls + ("domain_jacobian_lower" in dims)) > MOST_ROWS:
        return Ranges(ranges.outputs, [], size)
    if over_balls:
        lower, upper = result.hull()
        regions += [(_ball(radius), lower[k], upper[k]) for k, radius in enumerate(eps)]
    if "domain_jacobian_lower" in dims:
        regions.append((DOMAIN, result["domain_jacobian_lower"], result["domain_jacobian_upper"]))
    signs = result["domain_monotone"] if "domain_monotone" in dims else None
    for region, lower, upper in regions:
        for o, output in enumerate(outputs):
            for i, feature in enumerate(inputs):
                low, high = float(lower[o, i]), float(upper[o, i])
                if not np.isnan(low):
                    sign = signs[o, i] if signs is not None and region == DOMAIN else None
                    ranges.derivatives.append([output, feature, region, _range(low, high), _sign(low, high, sign)])
    return ranges


def _ball(eps: float) -> str:
    return f"balls of {eps:g}"


def _range(low: float, high: float) -> str:
    return f"{significant(float(low))} to {significant(float(high))}"


def _sign(low: float, high: float, code: int | None = None) -> str:
    if code in _CODES:
        return _CODES[int(code)]
    if low == high == 0.0:
        return "no influence"
    return "always rises" if low > 0 else "always falls" if high < 0 else "not known"
