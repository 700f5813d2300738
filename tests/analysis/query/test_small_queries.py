"""Verdicts on small queries whose answers are known by exact enumeration, and that witnesses are ones."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from distverify.analysis.query.opening import open_query
from distverify.analysis.query.solve import SAT, UNKNOWN, UNSAT, Answer, solve
from distverify.analysis.query.telling import assignment_lines
from distverify.data.query.terms import holds
from tests.query_cases import THEORIES, Small, make, write_model


def answer_of(small: Small, folder: Path, seconds: float = 20.0) -> Answer:
    query = folder / "query.vnnlib"
    query.write_text(small.text)
    paths = {}
    for name, (layers, sizes) in small.models.items():
        paths[name] = folder / f"{name}.onnx"
        write_model(paths[name], layers, sizes)
    bound = open_query(query, paths)
    answer = solve(bound, time.monotonic() + seconds)
    if answer.status == SAT:
        assert answer.witness is not None
        check_text("\n".join(assignment_lines(bound.query, answer.witness)), bound, paths)
    return answer


def check_text(text: str, bound, paths: dict[str, Path]) -> None:
    """Read an assignment as a checker does, run the models, hold outputs and assertions against it."""
    words = text.split("\n")
    told: dict[str, list[Fraction]] = {}
    for tensor in bound.query.tensors:
        assert words.pop(0) == f"{tensor.name} {tensor.element} [{','.join(map(str, tensor.shape))}]"
        told[tensor.name] = [Fraction(words.pop(0)) for _ in range(tensor.size)]
    assert not words
    values: list[float] = []
    for network in bound.query.networks:
        session = onnxruntime.InferenceSession(paths[network.equal_to or network.name])
        feeds = {
            port.name: np.array([float(v) for v in told[t.name]], dtype=np.float32).reshape(t.shape)
            for t, port in zip(network.of("input"), session.get_inputs(), strict=True)
        }
        outputs = session.run(None, feeds)
        for tensor, output in zip(network.of("output"), outputs, strict=True):
            np.testing.assert_allclose(output.reshape(-1), [float(v) for v in told[tensor.name]], rtol=1e-5, atol=1e-5)
    values = [float(v) for t in bound.query.tensors for v in told[t.name]]
    if bound.format:
        rounded = [np.float32(v) for v in values]
        assert all(holds(f, rounded, lambda c: np.float32(float(c)), np.float32) for f in bound.query.assertions)


@pytest.mark.parametrize("element", ["real", "float32"])
@pytest.mark.parametrize("theory", THEORIES)
def test_small_queries_are_answered_right(theory: str, element: str, tmp_path: Path) -> None:
    for seed in (1, 2, 4):
        small = make(np.random.default_rng([seed, len(theory), ord(theory[0])]), theory, element)
        assert answer_of(small, tmp_path).status == (SAT if small.answer else UNSAT)


@pytest.mark.slow
@pytest.mark.parametrize("element", ["real", "float32"])
@pytest.mark.parametrize("theory", THEORIES)
def test_two_hundred_small_queries(theory: str, element: str, tmp_path: Path) -> None:
    unknown = 0
    for seed in range(200):
        small = make(np.random.default_rng([seed, len(theory), ord(theory[0])]), theory, element)
        status = answer_of(small, tmp_path).status
        unknown += status not in (SAT, UNSAT)
        assert status in (SAT if small.answer else UNSAT, UNKNOWN, "timed-out"), (seed, small.text)
    assert unknown <= 10
