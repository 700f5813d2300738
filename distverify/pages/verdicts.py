"""Verdicts on the page: a row for each property file, and whatever is open."""

from __future__ import annotations

from distverify.pages.content import Content
from distverify.pages.html import table, tag
from distverify.pages.wording import of
from distverify.results.verdicts import WORDS, rows_of_unknowns, rows_of_verdicts

_PROPERTIES_LISTED = 2000
_UNKNOWNS_LISTED = 200


def verdicts(content: Content) -> list[object]:
    """The sections of verdicts; none where the run gives none."""
    return _properties(content) + _unknowns(content)


def _properties(content: Content) -> list[object]:
    if not content.properties:
        return []
    rows = rows_of_verdicts(content.properties, _PROPERTIES_LISTED)
    said = (
        "Bound: by how much the clearest constraint rules out a counterexample, at least; what branch and bound proved is above 0, "
        "and by how much was not asked. Witness: whether a counterexample is stored."
    )
    listed = table(rows.headers, rows.rows, words=WORDS, caption=rows.note, sortable=True)
    return [tag("h2", "Verdicts"), tag("p", said, class_="note"), tag("div", listed, class_="long")]


def _unknowns(content: Content) -> list[object]:
    rows = rows_of_unknowns(content.unknowns, _UNKNOWNS_LISTED)
    if rows is None:
        return []
    if content.properties:
        said = f"{of(len(content.unknowns), 'property file')} neither verified nor falsified."
    else:
        samples = len({unknown.sample for unknown in content.unknowns})
        said = f"{of(samples, 'sample')} neither verified nor falsified in some ball. Bound: the smallest margin over that ball, at least."
    listed = table(rows.headers, rows.rows, words=WORDS, caption=rows.note, sortable=True)
    return [tag("h2", "Still open"), tag("p", said, class_="note"), tag("div", listed, class_="long")]
