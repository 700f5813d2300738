"""Small pieces of HTML; every text that comes in is escaped here, wherever it is from."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from distverify.pages.figures import GRID, INK, MUTED, SERIES, UNKNOWN, drawing
from distverify.pages.hover import curves_of

# The page's own colours, which follow the reader's light or dark setting, in place of those of the files.
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", UNKNOWN: "--unknown"} | {
    colour: f"--c{k}" for k, colour in enumerate(SERIES, start=1)
}


_WIDE = 5  # columns from which on a narrow page shows rows as blocks


class Html(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """``value`` as text, with what HTML would read as markup escaped and control characters made visible."""
    if isinstance(value, Html):
        return value
    shown = "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    return Html(html.escape(shown, quote=True))


def tag(name: str, *inside: object, **attributes: object) -> Html:
    """One element; ``class_`` stands for the attribute class, underscores for hyphens."""
    given = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{given}>{''.join(text(part) for part in inside)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """The parts one after the other."""
    return Html("\n".join(text(part) for part in parts))


def facts(rows: Mapping[str, object]) -> Html:
    """A table of names and values; what is None or empty is left out."""
    body = [
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in rows.items()
        if value not in (None, "")
    ]
    return tag("div", tag("table", *body, class_="facts"), class_="scroll")


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    words: Sequence[str] = (),
    caption: str = "",
    sortable: bool = False,
) -> Html:
    """A table; columns named in ``words`` hold text, all others numbers. A sortable one is sorted by a click on a heading."""
    kinds = ["t" if header in words else "n" for header in headers]
    head = tag("thead", tag("tr", *(tag("th", h, scope="col", class_=k) for h, k in zip(headers, kinds, strict=True))))
    wide = len(headers) >= _WIDE
    body = tag("tbody", *(tag("tr", *map(partial(_cell, wide), row, kinds, headers)) for row in rows))
    classes = " ".join([*(["sortable"] if sortable else []), *(["wide"] if wide else [])])
    made = tag("div", tag("table", head, body, **({"class_": classes} if classes else {})), class_="scroll")
    # Beside the table, not in it: a caption would be as wide as the table, where the page is narrower.
    return join([made, tag("p", caption, class_="note")]) if caption else made


def _cell(wide: bool, value: object, kind: str, header: str) -> Html:
    """A cell; of a wide table with its heading, which stands in it where the page is narrow."""
    return tag("td", value, class_=kind, **({"data_label": header} if wide else {}))


def tiles(values: Mapping[str, tuple[str, str]]) -> Html:
    """Headline figures: name -> (figure, what it means)."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value, tag("small", more))) for name, (value, more) in values.items()),
               class_="tiles")  # fmt: skip


def picture(figure: Figure, name: str, label: str, caption: object) -> Html:
    """A Matplotlib figure as inline SVG in the page's colours."""
    buffer = io.StringIO()
    with drawing(name):
        figure.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{text(label)}" ', 1)
    for colour, variable in _VARIABLES.items():
        svg = re.sub(rf"(?<=[:\s]){re.escape(colour)}\b", f"var({variable})", svg)
    curves = curves_of(figure)
    told = {} if curves is None else {"data_curves": curves}
    return tag("figure", Html(svg), tag("figcaption", caption), id=name, **told)
