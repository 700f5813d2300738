"""From result files to a page and to figure files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from distverify.errors import ResultError, SettingsError, argument
from distverify.options.files import check_output
from distverify.options.values import path_of
from distverify.pages.content import gather
from distverify.pages.figures import draw_all, drawing
from distverify.pages.page import render
from distverify.results.files import replacing
from distverify.results.reader import Result, as_result

MOST_RESULTS = 4  # as many as there are colours that everybody can tell apart


def report(
    results: Result | str | os.PathLike[str] | Sequence[Result | str | os.PathLike[str]],
    output: str | os.PathLike[str] | None = None,
    *,
    figures: str | os.PathLike[str] | None = None,
    samples: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
) -> Path:
    """Write one self-contained HTML page about one result, or a comparison of several.

    Parameters
    ----------
    results : Result or path, or a sequence of them
        One to four; finished, or of runs that go on.
    output : path, optional
        The page; replaced when it exists. By default named as the (first) result, with .html.
    figures : path, optional
        A folder that also gets every figure as PDF, PNG and SVG.
    samples : sequence of int, optional
        Data-set indices of the samples whose Jacobians are drawn; hardest and easiest ones by default.
    shape : sequence of int, optional
        [H, W], [C, H, W] or [H, W, C] of one input as an image; guessed by default.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    SettingsError
        No or too many results, results of different norms, samples or a shape for a comparison, a shape that does not fit.
    ResultError
        A file that cannot be read or written.
    """
    several = results if isinstance(results, list | tuple) else [results]
    opened = [as_result(r) for r in several]  # type: ignore[arg-type]
    if not 1 <= len(opened) <= MOST_RESULTS:
        raise SettingsError(f"results: got {len(opened)}; give 1 to {MOST_RESULTS}")
    if len(opened) > 1 and (samples is not None or shape is not None):
        raise SettingsError(
            "samples, shape: are for the maps of one result, and a comparison draws none; leave them out"
        )
    path = opened[0].path.with_suffix(".html") if output is None else path_of("output", output)
    check_output(path, (".html", ".htm"), (r.path for r in opened))
    with ExitStack() as moments:
        frozen = [moments.enter_context(r.at_one_moment()) for r in opened]
        norms = sorted({r.settings.norm for r in frozen})
        if len(norms) > 1:
            raise SettingsError(
                f"results: have norms {' and '.join(f'{n:g}' for n in norms)}, whose radii have nothing in common; "
                "report them one by one"
            )
        contents = [gather(r, samples, shape) for r in frozen]
    with drawing("report"):
        drawn = draw_all(contents)
        page = render(contents, drawn)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    if figures is not None:
        _write_figures({name: figure for name, (figure, _, _) in drawn.items()}, Path(figures))
    return path


def _write_figures(drawn: dict[str, object], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultError(
            f"{folder}: cannot be made a folder ({error.strerror}); choose another one ({argument('figures')})"
        ) from error
    for name, figure in drawn.items():
        # Without the time of day: the same result gives the same files.
        for suffix, metadata in (("pdf", {"CreationDate": None}), ("png", None), ("svg", {"Date": None})):
            with replacing(folder / f"{name}.{suffix}") as temporary, drawing(name):
                figure.savefig(temporary, format=suffix, dpi=200, metadata=metadata)  # type: ignore[attr-defined]
