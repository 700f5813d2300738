from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import VARIANTS, Case

SAMPLES = 100


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = Case(tmp_path_factory.mktemp("faults") / "case", SAMPLES)
    case.truth()
    return case


@pytest.fixture
def case(prepared: Case, tmp_path: Path) -> Case:
    """A model, data and the truth about them, in a folder of this test."""
    return prepared.copy(tmp_path / "case")


@pytest.fixture(params=VARIANTS, ids=lambda options: " ".join(options) or "whole samples")
def options(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Further options for the runs on Ray."""
    chosen: tuple[str, ...] = request.param
    return chosen
