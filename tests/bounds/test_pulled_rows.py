"""Rows that are pulled through stable neurons, against whole maps; containment and rounding have tests of their own, in all ways."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.analysis.sample import analyse_sample
from distverify.bounds.methods import bound_rows
from distverify.bounds.pulled_reduction import PulledReduction
from distverify.network.graph import Network
from distverify.region import Ball
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.test_in_pieces import NETWORKS, TINY, in_pieces, point
from tests.networks import Floats, enclose_by


def bounds(way: str, network: Network, eps: float) -> list[Floats]:
    enclosure = enclose_by(way, network, Ball(point(network), eps))
    rows = np.eye(network.output_size)
    jacobian = bound_rows(enclosure, rows, "linear", "backward")
    return [*enclosure.lower, *enclosure.upper, *enclosure.row_bounds(rows), jacobian.lower, jacobian.upper]


@pytest.mark.parametrize("name", ["convolution", "dense", "residual"])
@pytest.mark.parametrize("eps", [0.0, 1e-3, 0.05, 0.5])
def test_rows_and_maps_agree(name: str, eps: float) -> None:
    pulled, mapped = (bounds(way, NETWORKS[name], eps) for way in ("rows", "maps"))
    for one, other in zip(pulled, mapped, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * float(np.abs(other).max()))


@pytest.mark.parametrize("node", [3, 5])
def test_it_changes_to_whole_maps_where_rows_are_dear(node: int, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["convolution"]
    expected = bounds("maps", network, 0.05)
    monkeypatch.setattr(PulledReduction, "is_dear", lambda self, index, rows: index == node)
    changed = enclose_by("rows", network, Ball(point(network), 0.05))
    assert changed.reduced.pulled is None
    for one, other in zip(bounds("rows", network, 0.05), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * float(np.abs(other).max()))


@pytest.mark.parametrize("dear", [None, 3])
def test_pieces_are_pulled_as_the_whole_is(dear: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    network = NETWORKS["convolution"]
    monkeypatch.setattr("distverify.bounds.pulled_reduction.LEAST_ENTRIES", 0)
    if dear is not None:
        monkeypatch.setattr(PulledReduction, "is_dear", lambda self, index, rows: index == dear)
    x, settings = point(network), Settings(eps=(0.02,), compute=("jacobian", "lipschitz", "verified"))
    whole = analyse_sample(network, Sample(x), settings)
    for pieces, tolerance in ((1, 0.0), (3, 1e-12)):
        parts, _ = in_pieces(network, x, settings, pieces, workers=2, cuts=TINY)
        for name in ("jacobian_lower", "jacobian_upper", "lipschitz", "verified"):
            values = np.asarray(whole[name], float)
            scale = float(np.abs(values).max())
            np.testing.assert_allclose(np.asarray(parts[name], float), values, rtol=0.0, atol=tolerance * scale)


def test_workers_of_one_sample_pull_a_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever bounds a neuron pulls its row; the others are told, and results are those of one worker with the same cut, bit by bit."""
    monkeypatch.setattr("distverify.bounds.pulled_reduction.LEAST_ENTRIES", 0)
    monkeypatch.setattr(PulledReduction, "is_dear", lambda self, index, rows: False)
    network, pulled = NETWORKS["convolution"], []
    before = PulledReduction._block

    def counting(self, index, node, which, *others):  # type: ignore[no-untyped-def]
        if index > 1:  # first layers are the weights themselves
            pulled.extend((index, int(row)) for row in which)
        return before(self, index, node, which, *others)

    monkeypatch.setattr(PulledReduction, "_block", counting)
    x, settings = point(network), Settings(eps=(0.02,), compute=("jacobian", "lipschitz"))
    alone, _ = in_pieces(network, x, settings, 3, workers=1, cuts=TINY)
    of_one = sorted(pulled)
    pulled.clear()
    shared, _ = in_pieces(network, x, settings, 3, workers=2, cuts=TINY)
    assert len(of_one) == len(set(of_one)) > 0
    assert sorted(pulled) == of_one
    for name in ("jacobian_lower", "jacobian_upper", "lipschitz"):
        np.testing.assert_array_equal(alone[name], shared[name])
