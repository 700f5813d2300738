"""A result as notebooks show it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from distverify.results.telling import Rows, facts_of_run, rows_of_radii
from distverify.words import count, describe_settings, provenance_facts

if TYPE_CHECKING:
    from distverify.results.reader import Result


def as_html(result: Result) -> str:
    """The summary of ``result`` as HTML: a table of facts, one by radius, and where the numbers come from, folded."""
    with result.at_one_moment() as moment:
        summary, settings, provenance = moment.summary(), moment.settings, moment.provenance
        complete = moment.complete
    told = ", ".join(f"{n} {status.replace('_', ' ')}" for status, n in summary.counts.items() if n)
    facts = {
        "Result": f"{result.path}{'' if complete else ' (unfinished)'}",
        "Model": provenance["model"]["name"],
        "Data": f"{provenance['data']['name']} ({count(provenance['data']['samples'], 'sample')})",
        "Settings": describe_settings(settings),
        "Samples": told,
        **facts_of_run(summary, settings),
    }
    parts = [_facts(facts)]
    if (rows := rows_of_radii(summary, settings)) is not None:
        parts.append(_table(rows))
    parts.append(f"<details><summary>Provenance</summary>{_facts(provenance_facts(provenance))}</details>")
    return f"<div>{''.join(parts)}</div>"


def _facts(facts: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th><td style="text-align:left">{escape(str(value))}</td></tr>'
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def _table(rows: Rows) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in rows.headers)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows.rows)
    note = f"<p>{escape(rows.note)}</p>" if rows.note else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"
