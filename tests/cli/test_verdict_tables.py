"""Verdicts on property files in the terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from distverify.cli.tables import print_tables, verdict_tables
from distverify.status import BY_BRANCHING, BY_CROWN, FALSIFIED, NO_VALUE, NOT_VERIFIED


@dataclass
class Held:
    """What is read of a result."""

    arrays: dict[str, Any] = field(default_factory=dict)

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self.arrays, ("sample",))

    def __getitem__(self, name: str) -> np.ndarray:
        return np.asarray(self.arrays[name])


def test_a_row_per_property(capsys: Any) -> None:
    codes = [BY_CROWN, BY_BRANCHING, FALSIFIED, NOT_VERIFIED, NO_VALUE]
    held = Held({
        "property": [f"p{k}.vnnlib" for k in range(5)], "verified": codes, "seconds": [0.1, 2.0, 0.3, 9.0, np.nan],
        "subproblems": [1, 1200, 4, 5000, -1],
    })  # fmt: skip
    print_tables(verdict_tables(held))  # type: ignore[arg-type]
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "p0.vnnlib verified, by CROWN 0.10 1" in lines
    assert "p1.vnnlib verified, by branch and bound 2.00 1,200" in lines
    assert "p2.vnnlib falsified, counterexample stored 0.30 4" in lines
    assert "p3.vnnlib unknown 9.00 5,000" in lines
    assert "p4.vnnlib no value nan" in lines


def test_samples_have_no_such_table() -> None:
    assert verdict_tables(Held({"verified": [1]})) == []  # type: ignore[arg-type]
