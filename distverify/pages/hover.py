"""The numbers of a figure's curves, for the script that tells them under the pointer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_MOST_POINTS = 200
_DIGITS = 5
_POINTS = 72.0  # per inch, the unit of Matplotlib's SVG files
_STEPS = {"steps-pre": "pre", "steps-post": "post"}


def curves_of(figure: Figure) -> str | None:
    """JSON of the curves of a figure that was saved already (its layout is decided then); None where it has none."""
    width, height = (float(inches) * _POINTS for inches in figure.get_size_inches())
    axes = [told for a in figure.axes if a.get_visible() and (told := _axes(figure, a, width, height))]
    return json.dumps({"width": width, "height": height, "axes": axes}, separators=(",", ":")) if axes else None


def _axes(figure: Figure, axes: Axes, width: float, height: float) -> dict[str, Any] | None:
    curves = [
        _curve(line) for line in axes.lines if line.get_transform() == axes.transData and np.size(line.get_xdata()) > 1
    ]
    if not curves:
        return None
    place = axes.get_position()
    label = axes.get_xlabel() or figure.get_supxlabel()
    return {
        "box": _short([place.x0 * width, (1.0 - place.y1) * height, place.width * width, place.height * height]),
        "name": label.split(" (")[0],
        "x": [*_short(axes.get_xlim()), bool(axes.get_xscale() == "log")],
        "percent": bool(axes.get_ylim()[1] <= 1.1 and "samples" in (axes.get_ylabel() or figure.get_supylabel())),
        "curves": curves,
    }


def _curve(line: Any) -> dict[str, Any]:
    x, y = (np.asarray(values, dtype=np.float64) for values in (line.get_xdata(), line.get_ydata()))
    if x.size > _MOST_POINTS:
        kept = np.unique(np.linspace(0, x.size - 1, _MOST_POINTS).astype(np.int64))
        x, y = x[kept], y[kept]
    label = str(line.get_label())
    return {
        "label": "" if label.startswith("_") else label,
        "xs": _short(x),
        "ys": _short(y),
        "step": _STEPS.get(line.get_drawstyle(), ""),
    }


def _short(values: Any) -> list[float]:
    return [float(f"{float(value):.{_DIGITS}g}") for value in values]
