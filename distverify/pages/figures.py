"""The figures of a report, as Matplotlib figures: for the page, and as files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, PercentFormatter, StrMethodFormatter

from distverify.pages.content import Content, JacobianMap
from distverify.pages.curves import between, distribution, share_at_least, wide
from distverify.quantities.quantity import Spread
from distverify.results.telling import sentence
from distverify.words import norm_name

# Okabe and Ito's colours: told apart with every kind of colour vision, and in grey by their lightness.
INK, MUTED, GRID = "#1b1f24", "#5c6673", "#d9dee4"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
UNKNOWN = "#e3e6ea"
_DASHES: tuple[object, ...] = ("-", (0, (5, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)))
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10.8,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",  # text stays text: small, sharp, and read by screen readers
}
_WIDTH = 4.8  # inches; text of 10 points is legible where the figure is 360 pixels wide
_MOST_CLASSES = 12


@contextmanager
def drawing(name: str) -> Iterator[None]:
    """The style of the figures, for as long as they are drawn or saved; ``name`` makes their identifiers differ."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        yield


def draw_all(contents: Sequence[Content]) -> dict[str, tuple[Figure, str, str]]:
    """Every figure that the results allow: name -> (figure, what it shows in short, what it shows)."""
    drawn: dict[str, tuple[Figure, str, str]] = {}
    first, several = contents[0], len(contents) > 1
    for spread in dict.fromkeys(s for c in contents for s in c.spreads):
        own = [c for c in contents if spread in c.spreads]
        drawn |= _over_radii(own, spread) if "eps" in spread.dims else _over_samples(own, spread, several)
    drawn["seconds"] = (
        kernel_time(contents),
        "Distribution of the kernel time per sample",
        "Kernel time: computation alone, without starting, sending and writing.",
    )
    for m in first.maps if not several else []:
        drawn[f"jacobian-{m.sample}"] = jacobian_map(m), _map_label(m), _map_label(m)
    return drawn


def _over_samples(contents: Sequence[Content], spread: Spread, several: bool) -> dict[str, tuple[Figure, str, str]]:
    drawn: dict[str, tuple[Figure, str, str]] = {}
    noun = f"{spread.head[:1].lower()}{spread.head[1:]}"
    if spread.certifies:
        drawn["certified-accuracy"] = (
            certified_accuracy(contents, spread),
            "Certified accuracy falls as the radius grows",
            "Share of the computed samples that are certainly classified right in the whole ball of radius eps"
            + (
                ": best of all methods of each result."
                if several
                else ", by each way of proving it. A misclassified sample counts as not certified."
            ),
        )
    zero = " (0: misclassified or nothing proven)" if spread.nothing is not None else ""
    drawn[spread.figure] = (
        distribution_of(contents, spread),
        f"Empirical distribution: {noun}",
        f"Distribution of the {noun}: share with at most this value{zero}.",
    )
    if (
        not several
        and contents[0].classes_told
        and spread.dims == ("sample",)
        and len(np.unique(contents[0].classes())) > 1
    ):
        drawn[f"{spread.figure}-by-class"] = (
            distribution_by_class(contents[0], spread),
            f"Distribution of the {noun} of each class against all",
            "The same for each class (blue; number of samples in brackets) against all samples (grey).",
        )
    return drawn


def _over_radii(contents: Sequence[Content], spread: Spread) -> dict[str, tuple[Figure, str, str]]:
    note = spread.note.format(norm=_norm(contents[0]))
    said = f"{spread.head}: {note}; over samples." if note else f"{spread.head} over samples."
    return {spread.figure: (quantiles_over_eps(contents, spread), f"Quantiles over the radius: {spread.head}", said)}


def certified_accuracy(contents: Sequence[Content], spread: Spread) -> Figure:
    """Share of samples that are certified at a radius of at least eps: one result by each way, or several by their best."""
    figure, axes = _axes(3.1)
    if len(contents) > 1:
        shown = [(c.numbers(spread), c.name) for c in contents]
    else:
        shown = [(contents[0].numbers(spread), "best of all")]
        shown += [(contents[0].numbers(spread, part), label) for part, _, label in spread.parts]
    attacked = contents[0].attacked() if len(contents) == 1 else np.zeros(0)
    if attacked.size and attacked.size == shown[0][0].size:
        x, low, high = between(shown[0][0], attacked)
        axes.fill_between(x, low, high, step="pre", color=UNKNOWN, linewidth=0.0, label="open")
        axes.step(x, high, where="pre", color=MUTED, linewidth=1.0, label="not broken by attacks")
    for k, (radii, label) in enumerate(shown):
        if radii.size:
            x, share = share_at_least(radii)
            axes.step(
                np.append(x, x[-1]),
                np.append(share, 0.0),
                where="pre",
                color=_colour(k),
                linestyle=_dash(k),
                label=label,
            )
    for k, content in enumerate(contents):
        if content.summary.accuracy is not None:
            colour = MUTED if len(contents) == 1 else _colour(k)
            axes.axhline(content.summary.accuracy, color=colour, linewidth=1.0, linestyle=(0, (1, 2)),
                         label="clean accuracy" if k == 0 else None)  # fmt: skip
    axes.set_ylim(0, 1.03)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=6)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(_radius_label(contents, "radius eps"))
    axes.set_ylabel("samples certified")
    _legend(figure, axes)
    return figure


def distribution_of(contents: Sequence[Content], spread: Spread) -> Figure:
    """Empirical distribution of a number over all computed samples."""
    figure, axes = _axes(2.9)
    for k, content in enumerate(contents):
        values = content.numbers(spread)
        x, share = distribution(values)
        axes.step(
            np.concatenate([x[:1], x]),
            np.concatenate([[0.0], share]),
            where="post",
            color=_colour(k),
            linestyle=_dash(k),
        )
        label = f"{content.name}: " * (len(contents) > 1) + f"median {np.median(values):.3g}"
        axes.axvline(float(np.median(values)), color=_colour(k), linewidth=1.0, linestyle=(0, (1, 2)), label=label)
    _share_axis(axes)
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(_value_label(contents, spread))
    _legend(figure, axes)
    return figure


def distribution_by_class(content: Content, spread: Spread) -> Figure:
    """The distribution of each class (at most twelve, those with the weakest medians) against that of all."""
    values, classes = content.values(spread)[content.computed], content.classes()
    known = ~np.isnan(values)
    values, classes = values[known], classes[known]
    by_class = {int(c): values[classes == c] for c in np.unique(classes)}
    weakest = 1.0 if spread.weakest == "least" else -1.0
    chosen = sorted(sorted(by_class, key=lambda c: weakest * float(np.median(by_class[c])))[:_MOST_CLASSES])
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(_WIDTH, 0.75 + 1.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    every = distribution(values, 150)
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    for axes, number in zip(grid.flat, chosen, strict=False):
        axes.step(*every, where="post", color=MUTED, linewidth=0.9)
        axes.step(*distribution(by_class[number], 150), where="post", color=SERIES[0])
        name = content.class_name(number) if content.class_names else f"class {number}"
        axes.set_title(f"{name[:14]} ({by_class[number].size})", fontsize=9, pad=3)
        axes.set_ylim(0, 1.05)
        axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
        axes.locator_params(axis="x", nbins=2)
        axes.tick_params(labelsize=8.5)
    figure.supxlabel(_value_label([content], spread), fontsize=10)
    figure.supylabel("samples at or below", fontsize=10)
    return figure


def quantiles_over_eps(contents: Sequence[Content], spread: Spread) -> Figure:
    """Median and 5 to 95 % range of a number at every radius."""
    figure, axes = _axes(2.9)
    top: list[float] = []
    for k, content in enumerate(contents):
        found = {e: q for e, q in content.summary.spreads[spread.name].items() if e is not None}
        eps = sorted(found)
        low, middle, high = np.array([[found[e].low, found[e].median, found[e].high] for e in eps]).T
        prefix = f"{content.name}: " if len(contents) > 1 else ""
        axes.plot(eps, middle, color=_colour(k), linestyle=_dash(k), marker="o", markersize=4, label=f"{prefix}median")
        attained = content.attained(spread) if len(contents) == 1 else None
        if attained is not None:
            ends = [attained[list(content.settings.eps).index(e)] for e in eps]
            axes.plot(eps, ends, color=SERIES[1], linestyle=_dash(1), marker="o", markersize=4, label="median attained")
            axes.fill_between(eps, ends, middle, color=SERIES[1], alpha=0.35, linewidth=0, label="between: not known")
            top += [e for e in ends if math.isfinite(e)]
        if len(eps) > 1:
            axes.fill_between(
                eps, low, high, color=_colour(k), alpha=0.2, linewidth=0, label=f"{prefix}5 to 95 % of samples"
            )
        else:
            axes.errorbar(
                eps,
                middle,
                [middle - low, high - middle],
                color=_colour(k),
                capsize=4,
                label=f"{prefix}5 to 95 % of samples",
            )
        top += [*low, *high]
    values = np.array(top)
    if values.size and values.min() > 0 and values.max() > 10 * values.min():
        axes.set_yscale("log")
    radii = np.array(sorted({e for c in contents for e in c.summary.spreads[spread.name] if e is not None}))
    if radii.size > 1 and radii[-1] > 8 * radii[0]:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif radii.size <= 4:
        axes.xaxis.set_major_locator(FixedLocator(radii.tolist()))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.margins(x=0.15)
    axes.set_xlabel(_radius_label(contents, "radius eps"))
    axes.set_ylabel(f"{sentence(spread.head)} ({_norm(contents[0])} norm)")
    _legend(figure, axes)
    return figure


def kernel_time(contents: Sequence[Content]) -> Figure:
    """Empirical distribution of the kernel time per sample."""
    figure, axes = _axes(2.9)
    for k, content in enumerate(contents):
        seconds = content.arrays["seconds"][content.arrays["status"] != 0]
        seconds = seconds[~np.isnan(seconds)]
        if seconds.size:
            x, share = distribution(seconds)
            x, share = np.concatenate([x[:1], x]), np.concatenate([[0.0], share])
            label = f"{content.name}: " * (len(contents) > 1) + f"median {np.median(seconds):.2g} s"
            axes.step(x, share, where="post", color=_colour(k), linestyle=_dash(k), label=label)
            if wide(seconds):
                axes.set_xscale("log")
    _share_axis(axes)
    axes.set_xlabel("kernel time per sample (s)")
    _legend(figure, axes)
    return figure


def jacobian_map(m: JacobianMap) -> Figure:
    """The input, and for each radius the bound of the derivative's magnitude and the certain signs."""
    rows = len(m.eps)
    has_image = not np.isnan(m.image).any()
    mosaic = [[*(["x"] if has_image else []), f"m{k}", f"s{k}"] for k in range(rows)]
    figure = Figure(figsize=(_WIDTH, 0.35 + 1.75 * rows), layout="constrained")
    panels: dict[str, Axes] = figure.subplot_mosaic(mosaic)
    for axes in panels.values():
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        axes.spines[:].set_visible(False)
    if has_image:
        low, high = float(m.image.min()), float(m.image.max())
        shown = (m.image - low) / (high - low) if high > low else np.zeros_like(m.image)
        panels["x"].imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panels["x"].set_title(f"input {m.sample}\n{low:.3g} to {high:.3g}", fontsize=9)
    signs = ListedColormap([SERIES[1], UNKNOWN, SERIES[0]])
    for k, eps in enumerate(m.eps):
        drawn = panels[f"m{k}"].imshow(m.magnitude[k], cmap="cividis", vmin=0, interpolation="nearest")
        bar = figure.colorbar(drawn, ax=panels[f"m{k}"], shrink=0.75, pad=0.03)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8, length=2)
        bar.ax.locator_params(nbins=3)
        panels[f"m{k}"].set_title(f"bound of |df/dx|\neps {eps:g}", fontsize=9)
        panels[f"s{k}"].imshow(m.sign[k], cmap=signs, vmin=-1, vmax=1, interpolation="nearest")
        panels[f"s{k}"].set_title(f"sign known: {np.mean(m.sign[k] != 0):.0%}\neps {eps:g}", fontsize=9)
    return figure


def _map_label(m: JacobianMap) -> str:
    label = f"label {m.names[0]}, predicted class {m.names[1]}" if m.label >= 0 else f"output {m.names[1]}"
    return f"Sample {m.sample} ({label}): bounds and certain signs of the derivatives"


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:  # above the axes: it never covers a curve
        longest = max(map(len, labels))
        figure.legend(
            handles, labels, loc="outside upper center", ncols=1 if longest > 26 else 2, fontsize=9, handlelength=2.4
        )


def _share_axis(axes: Axes) -> None:
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylabel("samples at or below")


def _norm(content: Content) -> str:
    return norm_name(content.settings.norm)


def _value_label(contents: Sequence[Content], spread: Spread) -> str:
    return _radius_label(contents, f"{spread.head[:1].lower()}{spread.head[1:]}")


def _radius_label(contents: Sequence[Content], what: str) -> str:
    return f"{what} ({_norm(contents[0])} norm, units of the data)"


def _colour(k: int) -> str:
    return SERIES[k % len(SERIES)]


def _dash(k: int) -> object:
    return _DASHES[k % len(_DASHES)]
