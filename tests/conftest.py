"""The environment of every test."""

from __future__ import annotations

import os

import pytest

# Tests that run side by side are told of a terminal with 80 columns; tables are to be as wide as where no terminal is.
for _variable in ("COLUMNS", "LINES"):
    os.environ.pop(_variable, None)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile kernels before tests run side by side: else every process would, all at once."""
    config = session.config
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput") and not config.option.collectonly:
        from distverify.analysis.warm_up import warm_up

        warm_up(on_demand=True)
