"""The environment of every test."""

from __future__ import annotations

import os

# Tests that run side by side are told of a terminal with 80 columns; tables are to be as wide as where no terminal is.
for _variable in ("COLUMNS", "LINES"):
    os.environ.pop(_variable, None)
