"""Numbers of curves under the pointer, and tables on narrow pages."""

from __future__ import annotations

import io
import json

import pytest
from matplotlib.figure import Figure

from distverify.pages.hover import curves_of
from distverify.pages.html import table


def test_curves_are_told_where_they_are_drawn() -> None:
    figure = Figure(figsize=(4.0, 2.0), layout="constrained")
    axes = figure.subplots()
    axes.step([0.0, 1.0, 2.0], [1.0, 0.5, 0.0], where="pre", label="certified")
    axes.plot(range(1000), [0.25] * 1000)
    axes.axhline(0.5)  # a mark is no curve
    axes.set_xlabel("radius eps (inf norm)")
    axes.set_ylabel("samples certified")
    axes.set_ylim(0, 1)
    axes.set_xlim(0, 10)
    figure.savefig(io.StringIO(), format="svg")
    told = json.loads(curves_of(figure) or "")
    (shown,) = told["axes"]
    assert (told["width"], told["height"]) == (288.0, 144.0)
    assert (shown["name"], shown["percent"], shown["x"]) == ("radius eps", True, [0.0, 10.0, False])
    left, top, width, height = shown["box"]
    assert 0 < left < left + width <= 288
    assert 0 <= top < top + height < 144
    stepped, plain = shown["curves"]
    assert stepped == {"label": "certified", "xs": [0.0, 1.0, 2.0], "ys": [1.0, 0.5, 0.0], "step": "pre"}
    assert (plain["label"], plain["step"]) == ("", "")
    assert len(plain["xs"]) == 200
    assert plain["xs"][-1] == 999.0
    assert curves_of(Figure()) is None


@pytest.mark.parametrize(("columns", "wide"), [(4, False), (5, True)])
def test_cells_of_wide_tables_know_their_heading(columns: int, wide: bool) -> None:
    made = table([f"h{k}" for k in range(columns)], [["<b>"] * columns], caption="of all")
    assert ('data-label="h3"' in made) is wide
    assert ("wide" in made) is wide
    assert made.endswith('<p class="note">of all</p>')
    assert "<b>" not in made
