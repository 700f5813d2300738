"""The page: what a reader who did not make the run needs, in the order of the questions that they ask."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib import resources

import numpy as np
from matplotlib.figure import Figure

from distverify.pages.compare import compare
from distverify.pages.content import Content
from distverify.pages.html import Html, facts, join, picture, table, tag, tiles
from distverify.pages.references import references
from distverify.pages.verdicts import verdicts
from distverify.pages.wording import in_words, of
from distverify.results.telling import facts_of_network, rows_of_radii, sentence, weakest
from distverify.status import STATUS_MEANINGS, VERDICTS
from distverify.words import describe_settings, duration, provenance_facts, session_facts, session_title, significant

Figures = Mapping[str, tuple[Figure, str, str]]
_FAILURES_LISTED = 50
_TILE_RADII = 2
_SAMPLES_LISTED = 2000


def render(contents: Sequence[Content], figures: Figures) -> str:
    """The whole page as text; ``figures`` are those of :func:`distverify.pages.figures.draw_all`."""
    names = [c.name for c in contents]
    title = (
        f"{contents[0].provenance['model']['name']} on {contents[0].provenance['data']['name']}"
        if len(contents) == 1
        else " / ".join(names)
    )
    body: list[object] = [tag("p", "distverify: certification report", class_="note"), tag("h1", title)]
    if len(contents) == 1:
        body += _one(contents[0], figures)
    else:
        body += [_figures(figures), compare(contents)]
        for content in contents:
            body += [tag("h2", content.name), tag("p", in_words(content)), *_failures(content), *_provenance(content)]
    body += _citations(contents)
    style = resources.files("distverify.pages").joinpath("style.css").read_text(encoding="utf-8")
    # Nothing may be loaded, and nothing run but the script for tables and values under the pointer, whatever text the files hold.
    script = "".join(
        resources.files("distverify.pages").joinpath(name).read_text(encoding="utf-8")
        for name in ("sort.js", "hover.js")
    )
    digest = b64encode(sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    head = join([
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", f"{title} - distverify"),
        Html(f"<style>{style}</style>"),
    ])  # fmt: skip
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body><main>{join(body)}</main><script>{script}</script></body></html>\n'


def _one(content: Content, figures: Figures) -> list[object]:
    plots = {name: f for name, f in figures.items() if not name.startswith("jacobian-")}
    maps = {name: f for name, f in figures.items() if name.startswith("jacobian-")}
    body: list[object] = [
        tag("p", in_words(content)),
        _headline(content),
        tag("h2", "Figures"),
        _figures(plots),
        *_numbers(content),
        *_network(content),
    ]
    if maps:
        assert content.shape is not None
        said = (
            f"Inputs drawn as images of {' x '.join(map(str, content.shape))}; derivatives are those of "
            f"{'the predicted class' if content.classes_told else 'the largest output'}. "
            "Left: the input. Middle: the largest magnitude that the derivative by each pixel can have anywhere in the ball. "
            "Right: pixels whose derivative certainly keeps one sign all over the ball: brightening them always "
        )
        legend = [
            tag("b", "raises", style="color:var(--c1)"),
            " or always ",
            tag("b", "lowers", style="color:var(--c2)"),
            " the output; grey: not known.",
        ]
        body += [tag("h2", "Jacobian maps"), tag("p", said, *legend, class_="note"), _figures(maps)]
    body += verdicts(content)
    return body + _ranges(content) + _samples(content) + _failures(content) + _time(content) + _provenance(content)


def _headline(content: Content) -> Html:
    summary = content.summary
    shown: dict[str, tuple[str, str]] = {}
    shown["Samples"] = (f"{summary.computed:,}", f"computed of {summary.samples:,}")
    if summary.accuracy is not None:
        shown["Clean accuracy"] = (f"{summary.accuracy:.1%}", f"{summary.correct:,} of {summary.labelled:,} right")
    radii = list(summary.certified.items())
    for eps, certified in [radii[i] for i in sorted({0, len(radii) - 1})][:_TILE_RADII] if radii else []:
        shown[f"Certified at {significant(eps)}"] = (
            f"{certified / summary.computed:.1%}",
            f"{certified:,} of {summary.computed:,} certified",
        )
    if content.properties:
        total = len(content.properties)
        for verdict in VERDICTS[:3]:
            number = sum(v.verdict == verdict for v in content.properties)
            shown[sentence(verdict)] = (f"{number:,}", f"of {total:,} property files")
    for spread in content.spreads:
        first, q = next(iter(summary.spreads[spread.name].items()))
        at = "" if first is None else f" at {significant(first)}"
        rest = f"mean {significant(q.mean)}, {spread.weakest} {significant(weakest(spread, q))}"
        shown[f"{sentence(spread.short)}{at}"] = (significant(q.median), f"median; {rest}")
    failed = len(summary.failures)
    shown["Failed or timed out"] = (f"{failed:,}", "listed below" if failed else "none")
    return tiles(shown)


def _figures(figures: Figures) -> Html:
    return tag(
        "div",
        *(picture(f, name, label, caption) for name, (f, label, caption) in figures.items()),
        class_="figures",
    )


def _numbers(content: Content) -> list[object]:
    """The figures' numbers at every radius that was asked for."""
    rows = rows_of_radii(content.summary, content.settings)
    return [] if rows is None else [tag("h3", "In numbers"), table(rows.headers, rows.rows, caption=rows.note)]


def _network(content: Content) -> list[object]:
    """Constants of the network alone, where they were computed."""
    rows = facts_of_network(content.summary, content.settings)
    if not rows:
        return []
    note = "Upper bounds that hold for all inputs (global) or for all inputs in the domain."
    return [tag("h3", "The network as a whole"), facts(rows), tag("p", note, class_="note")]


def _ranges(content: Content) -> list[object]:
    """Ranges of outputs and derivatives, where they are few."""
    ranges, parts = content.ranges, list[object]()
    if ranges.outputs:
        rows = table(["output", "over", "range"], ranges.outputs, words=["output", "over", "range"])
        parts += [tag("h2", "Ranges of outputs"), rows]
    if ranges.derivatives:
        headers = ["output", "input", "over", "derivative", "the output"]
        said = "Bounds of each derivative everywhere in the region, and how the output changes as the input grows."
        parts += [
            tag("h2", "Derivatives and signs"),
            tag("p", said, class_="note"),
            table(headers, ranges.derivatives, words=headers, sortable=True),
        ]
    elif ranges.left_out:
        said = f"{ranges.left_out:,} derivatives are too many for a page: distverify export has them."
        parts.append(tag("p", said, class_="note"))
    return parts


def _samples(content: Content) -> list[object]:
    """Every computed sample, the weakest guarantee first; of very many the first and the last."""
    order = content.by_strength()
    if not order or content.properties:  # property files have a table of their own
        return []
    arrays, columns, classes = content.arrays, content.of_samples(), content.classes_told
    verdicts = content.verdicts()
    some = order if len(order) <= _SAMPLES_LISTED else order[: _SAMPLES_LISTED // 2] + order[-_SAMPLES_LISTED // 2 :]
    headers = [
        "sample",
        *(["label", "predicted", "status"] if classes else []),
        *(name for name, _ in columns),
        *(name for name, _ in verdicts),
        "seconds",
    ]
    words = ["status", *(["label", "predicted"] if content.class_names else []), *(name for name, _ in verdicts)]

    def row(i: int) -> list[object]:
        label = int(arrays["label"][i])
        status = STATUS_MEANINGS[int(arrays["status"][i])]
        predicted = content.class_name(int(arrays["predicted"][i]))
        known = ["-" if label < 0 else content.class_name(label), predicted, status] if classes else []
        own = [significant(float(values[i])) for _, values in columns]
        return [
            int(arrays["sample"][i]),
            *known,
            *own,
            *(values[i] for _, values in verdicts),
            significant(float(arrays["seconds"][i])),
        ]

    said = (
        "Samples are numbered as in the data set"
        + (f", those with the weakest {columns[0][0]} first" if columns else "")
        + "."
    )
    if len(some) < len(order):
        said += f" Of {len(order):,} samples the first and the last {len(some) // 2:,} are listed; distverify export has all."
    listed = table(headers, map(row, some), words=words, sortable=True)
    return [tag("h2", "Samples"), tag("p", said, class_="note"), tag("div", listed, class_="long")]


def _failures(content: Content) -> list[object]:
    failures = content.summary.failures
    counts, samples = content.summary.counts, content.summary.samples
    parts: list[object] = [tag("h2", "Failures and timeouts")]
    if not failures:
        said = [f"None of {samples:,} samples failed or timed out."]
        if content.classes_told:
            said += [
                f"{of(n, 'sample')} {s} (radius 0)." for s in ("misclassified", "undecided") if (n := counts.get(s, 0))
            ]
        return [*parts, tag("p", " ".join(said))]
    rows = [[f.sample, f.status.replace("_", " "), f.message] for f in failures[:_FAILURES_LISTED]]
    more = len(failures) - len(rows)
    parts.append(tag("p", f"{len(failures):,} of {content.summary.samples:,} samples without a result.", class_="bad"))
    parts.append(
        table(
            ["sample", "status", "message"],
            rows,
            words=["status", "message"],
            caption=f"and {more:,} more" if more else "",
        )
    )
    return parts


def _time(content: Content) -> list[object]:
    summary, provenance = content.summary, content.provenance
    seconds = content.arrays["seconds"][content.arrays["status"] != 0]
    rows: dict[str, object] = {"Kernel time": f"{duration(summary.kernel_seconds)} (summed over samples)"}
    if seconds.size:
        rows["Per sample"] = f"median {duration(float(np.median(seconds)))}, most {duration(float(seconds.max()))}"
    if summary.wall_seconds:
        rows["From start to end"] = duration(summary.wall_seconds)
    note = "From start to end counts everything: starting Ray, compiling, writing, and pauses of an interrupted run."
    parts: list[object] = [tag("h2", "Time"), facts(rows), tag("p", note, class_="note")]
    told = provenance.get("environment", {}).get("statistics")
    if told:
        parts += [tag("h3", session_title(told)), facts(session_facts(told, summary.samples))]
    return parts


def _provenance(content: Content) -> list[object]:
    told = content.provenance
    model, data = told["model"], told["data"]
    rows: dict[str, object] = {
        "Result file": content.name,
        "Model": f"{model['name']} ({model.get('features', model['inputs'])} inputs, {model['outputs']} outputs)",
        "Data": f"{data['name']} ({data['samples']:,} samples)",
        "Settings": describe_settings(content.settings),
    }
    rows |= provenance_facts(told)
    command = rows.pop("Command", None)
    parts: list[object] = [tag("h2", "Provenance"), facts(rows)]
    if command:
        parts += [tag("h3", "How to reproduce"), tag("p", "With the same files and versions, this gives the same numbers:", class_="note"),
                  tag("pre", command)]  # fmt: skip
    return parts


def _citations(contents: Sequence[Content]) -> list[object]:
    papers = list(dict.fromkeys(paper for c in contents for paper in references(c.settings)))
    versions = sorted({c.provenance["distverify_version"] for c in contents})
    return [
        tag("h2", "How to cite"),
        tag("p", "These numbers come from the methods of:", class_="note"),
        tag("ul", *(tag("li", paper) for paper in papers)),
        tag("p", f"Computed with distverify {', '.join(versions)}.", class_="note"),
    ]
