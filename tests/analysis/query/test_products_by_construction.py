"""Queries with products of inputs and outputs, whose answers are known by how they are made."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from distverify.analysis.query.opening import open_query
from distverify.analysis.query.solve import solve
from tests.product_cases import make_product


def answers(seeds: range, element: str, folder: Path) -> Counter[str]:
    """How many are answered right; a wrong answer fails at once."""
    found: Counter[str] = Counter()
    for seed in seeds:
        case = make_product(np.random.default_rng(seed), element)
        query, model = case.write(folder)
        status = solve(open_query(query, {"f": model}), time.monotonic() + 20).status
        assert {status, case.answer} != {"sat", "unsat"}, (seed, case.text)
        found["right" if status == case.answer else "open"] += 1
    return found


@pytest.mark.parametrize("element", ["real", "float32", "float64"])
def test_products(element: str, tmp_path: Path) -> None:
    assert answers(range(3), element, tmp_path)["right"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("element", ["real", "float32"])
def test_a_hundred_products(element: str, tmp_path: Path) -> None:
    assert answers(range(100, 200), element, tmp_path)["open"] <= 5
