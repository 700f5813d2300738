"""Which class is predicted for certain, against exact arithmetic near ties."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from distverify.analysis.sample import analyse_sample
from distverify.bounds.interval import output_at
from distverify.network.graph import Network
from distverify.settings import Settings
from distverify.status import MISCLASSIFIED, OK, UNDECIDED
from distverify.work import Sample
from tests.networks import build_chain

SETTINGS = Settings(eps=(0.01,), compute=("lipschitz",))


def outcome(network: Network, x: list[float], label: int, settings: Settings = SETTINGS) -> tuple[object, object]:
    values = analyse_sample(network, Sample(np.array(x), label), settings)
    return values["status"], values["message"]


def two_outputs(rows: list[list[float]], bias: list[float]) -> Network:
    return Network.from_layers([(np.array(rows), np.array(bias))])


@pytest.mark.parametrize("label", [0, 1])
def test_a_tie_is_undecided(label: int) -> None:
    network = two_outputs([[0.1, 0.7], [0.7, 0.1]], [0.0, 0.0])
    status, message = outcome(network, [0.3, 0.3], label)
    assert status == UNDECIDED
    assert message == f"undecided: classes {label} and {1 - label} differ by less than the error of their evaluation"


def test_a_tie_between_others_does_not_matter() -> None:
    network = two_outputs([[0.1, 0.7], [0.7, 0.1], [0.0, 0.0]], [0.0, 0.0, -1.0])
    assert outcome(network, [0.3, 0.3], 2) == (MISCLASSIFIED, "predicted class 0, label 2")
    ahead = two_outputs([[0.1, 0.7], [0.7, 0.1], [0.0, 0.0]], [0.0, 0.0, 1.0])
    assert outcome(ahead, [0.3, 0.3], 2) == (OK, "")


def test_cancellation_in_the_evaluation_decides_nothing() -> None:
    # In exact arithmetic the outputs are 1 and 0.5; in double precision the first may come out as 0.
    network = two_outputs([[1e17, 1.0, -1e17], [0.0, 0.5, 0.0]], [0.0, 0.0])
    for label in (0, 1):
        assert outcome(network, [1.0, 1.0, 1.0], label)[0] == UNDECIDED


def test_what_compares_no_classes_decides_none_without_labels() -> None:
    network = two_outputs([[1.0, 0.0], [1.0, 0.0]], [0.0, 0.0])
    assert outcome(network, [0.3, 0.3], -1) == (OK, "")
    values = analyse_sample(network, Sample(np.array([0.3, 0.3])), Settings(compute=("radius",)))
    assert (values["status"], values["radius"]) == (UNDECIDED, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_the_exact_output_lies_between_the_bounds_and_decides(seed: int) -> None:
    generator = np.random.default_rng(seed)
    network = build_chain([3, 5, 4, 3], ["relu", "relu"], generator)
    x = generator.uniform(-1, 1, 3)
    exact = exact_output(network, x)
    lower, upper = output_at(network, x)
    assert all(Fraction(lo) <= y <= Fraction(hi) for lo, y, hi in zip(lower, exact, upper, strict=True))
    assert (upper - lower).max() < 1e-12
    best = int(np.argmax([float(y) for y in exact]))
    assert outcome(network, x.tolist(), best)[0] == OK
    assert outcome(network, x.tolist(), (best + 1) % 3)[0] == MISCLASSIFIED


def exact_output(network: Network, x: np.ndarray) -> list[Fraction]:
    values = {0: [Fraction(v) for v in x.tolist()]}
    for index, node in enumerate(network.nodes[1:], start=1):
        if hasattr(node, "terms"):
            total = [Fraction(b) for b in node.bias.tolist()]
            for term in node.terms:
                for i, row in enumerate(term.operator.weight.tolist()):
                    total[i] += sum(
                        (Fraction(w) * v for w, v in zip(row, values[term.source], strict=True)), Fraction(0)
                    )
            values[index] = total
        else:
            values[index] = [max(v, Fraction(0)) for v in values[node.source]]
    return values[network.output]
