from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import Case

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
