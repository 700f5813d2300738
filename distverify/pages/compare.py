"""Several results side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from distverify.pages.content import Content, Floats
from distverify.pages.html import Html, join, table, tag
from distverify.quantities import catalogue
from distverify.words import duration, significant

_LISTED = 12
_VERDICTS_LISTED = 2000


def compare(contents: Sequence[Content]) -> Html:
    """The headline figures of every result, what differs, and the samples that differ most."""
    parts: list[object] = [tag("h2", "Side by side"), _headlines(contents)]
    digests = {c.provenance["data"]["digest"] for c in contents}
    if len(digests) > 1:
        parts.append(
            tag(
                "p",
                "The results hold different selections or data: samples are matched by their index in the data set.",
                class_="bad",
            )
        )
    parts += _verdicts(contents) + _ranges(contents)
    return join([*parts, *(d for other in contents[1:] for d in _differences(contents[0], other))])


def _verdicts(contents: Sequence[Content]) -> list[object]:
    """Verdicts on property files by the files' names, a column for each result: those on which the results differ first."""
    keyed = [{v.file: v.in_words for v in c.properties} for c in contents]
    words = [{v.file: v.verdict for v in c.properties} for c in contents]
    every = list(dict.fromkeys(name for known in keyed for name in known))
    if not every:
        return []
    listed = sorted(every, key=lambda name: len({known.get(name) for known in words}) == 1)
    headers = ["property", *(c.name for c in contents)]
    cells = ([name, *(known.get(name, "-") for known in keyed)] for name in listed[:_VERDICTS_LISTED])
    rest = len(listed) - _VERDICTS_LISTED
    caption = f"and {rest:,} more: distverify export has all" if rest > 0 else ""
    return [tag("h3", "Verdicts"), table(headers, cells, words=headers, caption=caption, sortable=True)]


def _ranges(contents: Sequence[Content]) -> list[object]:
    """Ranges of outputs and derivatives under their names, a column for each result: those that several have first."""
    parts: list[object] = []
    for title, heads, tables in (
        ("Ranges of outputs", ["output", "over"], [c.ranges.outputs for c in contents]),
        ("Derivatives and signs", ["output", "input", "over"], [c.ranges.derivatives for c in contents]),
    ):
        keyed = [{tuple(row[: len(heads)]): ": ".join(row[len(heads) :][::-1]) for row in rows} for rows in tables]
        every = dict.fromkeys(key for known in keyed for key in known)
        listed = sorted(every, key=lambda key: -sum(key in known for known in keyed))
        if listed:
            headers = [*heads, *(c.name for c in contents)]
            cells = ([*key, *(known.get(key, "-") for known in keyed)] for key in listed)
            parts += [tag("h3", title), table(headers, cells, words=headers)]
    return parts


def _headlines(contents: Sequence[Content]) -> Html:
    rows: dict[str, list[object]] = {
        "model": [c.provenance["model"]["name"] for c in contents],
        "model SHA-256": [c.provenance["model"]["digest"][:12] for c in contents],
        "data": [f"{c.provenance['data']['name']} ({c.provenance['data']['digest'][:12]})" for c in contents],
    }
    stored = [c.settings.to_json() for c in contents]
    for key in stored[0]:
        values = [", ".join(map(str, v)) if isinstance(v := s.get(key), list) else str(v) for s in stored]
        if len(set(values)) > 1 or key in ("method", "norm"):
            rows[key.replace("_", " ")] = list(values)
    summaries = [c.summary for c in contents]
    rows["samples computed"] = [f"{s.computed:,} of {s.samples:,}" for s in summaries]
    rows["failed or timed out"] = [f"{len(s.failures):,}" for s in summaries]
    rows["clean accuracy"] = ["-" if s.accuracy is None else f"{s.accuracy:.1%}" for s in summaries]
    for spread in dict.fromkeys(s for c in contents for s in c.spreads):
        for eps in dict.fromkeys(e for s in summaries for e in s.spreads.get(spread.name, {})):
            found = [s.spreads.get(spread.name, {}).get(eps) for s in summaries]
            rows[f"median {spread.short}{_at(eps)}"] = ["-" if q is None else significant(q.median) for q in found]
    for share in catalogue.all_shares():
        for eps in dict.fromkeys(e for s in summaries for e in s.shares.get(share.name, {})):
            rows[f"{share.head}{_at(eps)}"] = [
                f"{s.shares[share.name][eps] / s.computed:.1%}" if eps in s.shares.get(share.name, {}) else "-"
                for s in summaries
            ]
    rows["kernel time"] = [duration(s.kernel_seconds) for s in summaries]
    names = [c.name for c in contents]
    return table(
        ["", *names], ([name, *cells] for name, cells in rows.items() if set(cells) != {"-"}), words=["", *names]
    )


def _differences(one: Content, other: Content) -> list[object]:
    """What both know of the same samples: one sentence per quantity, and the samples with the largest differences."""
    common, i, j = np.intersect1d(one.arrays["sample"], other.arrays["sample"], return_indices=True)
    parts: list[object] = [tag("h2", f"{one.name} against {other.name}, sample by sample")]
    for what, first, second in _comparable(one, other):
        a, b = first[i], second[j]
        known = ~(np.isnan(a) | np.isnan(b))
        larger, smaller = int((b > a)[known].sum()), int((b < a)[known].sum())
        parts.append(
            tag(
                "p",
                f"{what}: of {known.sum():,} samples with a value in both, larger in {other.name} for {larger:,}, "
                f"smaller for {smaller:,}, equal for {known.sum() - larger - smaller:,}.",
            )
        )
        order = np.argsort(np.where(known, -np.abs(b - a), 0.0), kind="stable")
        differing = [int(k) for k in order if known[k] and a[k] != b[k]]
        classes = one.classes_told
        rows = [
            [int(common[k]), *([int(one.arrays["label"][i[k]])] if classes else []), significant(a[k]), significant(b[k]),
             f"{b[k] - a[k]:+.4g}", f"{b[k] / a[k]:.3g}" if a[k] else "-"] for k in differing[:_LISTED]
        ]  # fmt: skip
        headers = ["sample", *(["label"] if classes else []), one.name, other.name, "difference", "ratio"]
        more = f"the {_LISTED} largest differences; all values: distverify export" if len(differing) > _LISTED else ""
        if rows:
            parts.append(table(headers, rows, caption=more))
    if len(parts) == 1:
        parts.append(tag("p", "The two have no quantity in common to compare.", class_="note"))
    return parts


def _at(eps: float | None) -> str:
    return "" if eps is None else f" at {significant(eps)}"


def _comparable(one: Content, other: Content) -> Iterator[tuple[str, Floats, Floats]]:
    """Numbers of samples that both have, by each way; at the smallest radius that both have: (name, values, values)."""
    common = sorted(set(one.settings.eps) & set(other.settings.eps))
    for spread in (s for s in one.spreads if s in other.spreads and "output" not in s.dims):
        if "eps" not in spread.dims:
            yield spread.head, one.values(spread), other.values(spread)
            for part, short, _ in spread.parts:
                yield f"{spread.head} {short}", one.values(spread, part), other.values(spread, part)
        elif common:
            first, second = (c.values(spread)[:, c.settings.eps.index(common[0])] for c in (one, other))
            yield f"{spread.head} at eps {common[0]:g}", first, second
