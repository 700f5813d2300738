"""Text that a spreadsheet only shows."""

from __future__ import annotations

import string

# What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@")
_UNSEEN = "\ufeff\u200b\u2060"  # marks that some programs pass over, besides white space


def safe_cell(text: str) -> str:
    """``text`` as a spreadsheet may show it: no control characters, and nothing that it would compute.

    Messages hold what libraries and files said; a leading apostrophe keeps a spreadsheet from running it.
    """
    # With what may stand before it unseen: spreadsheets strip blanks, and a byte order mark.
    seen = text.lstrip(_UNSEEN + string.whitespace + "\xa0")
    guarded = f"'{text}" if seen.startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else text
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in guarded)
