"""Split neurons: each subproblem's bounds hold for the points on its side, exactly; and they never lose to the parent's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from distverify.bounds.enclosure import Enclosure, enclose
from distverify.bounds.layers.table import LAYER_METHODS, layer_method
from distverify.bounds.methods import bound_rows
from distverify.bounds.splits import Split
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode
from distverify.questions.askers import ThroughCrew
from distverify.questions.bounder import Bounder
from distverify.questions.question import Cuts
from distverify.questions.rows import Derivatives
from distverify.region import Ball
from distverify.settings import LAYER_BOUNDS
from tests.analysis.crews import CrewHere
from tests.exact import ExactNetwork
from tests.networks import build_chain, build_residual, points_in, violations

TINY = Cuts(rows=1, neurons=1, columns=1, work=0.0)


def networks() -> dict[str, Network]:
    rng = np.random.default_rng(3)
    return {
        "relu": build_chain([3, 5, 4, 2], ["relu", "relu"], rng),
        "leaky": build_chain([2, 4, 4, 2], ["leaky_relu", "relu"], rng),
        "clipped": build_chain([3, 4, 3, 2], ["clip", "hard_sigmoid"], rng),
        "smooth": build_chain([3, 4, 3, 2], ["tanh", "silu"], rng),
        "turning": build_chain([2, 3, 3, 2], ["sin", "gelu"], rng),
        "residual": build_residual(3, ["relu", "relu"], rng, final_activation=False),
        "residual, smooth": build_residual(2, ["sigmoid", "relu"], rng, final_activation=True),
    }


NETWORKS = networks()


def neurons(network: Network) -> Iterator[tuple[int, int]]:
    for index, node in enumerate(network.nodes):
        if isinstance(node, ActivationNode):
            yield from ((index, i) for i in range(node.size))


def children(network: Network, region: Ball, parent: Enclosure, layers: str) -> Iterator[tuple[Split, Enclosure]]:
    """Both sides of every neuron, at 0 and where the parent's interval has its middle."""
    for node, neuron in neurons(network):
        source = network.nodes[node].sources[0]
        middle = float(0.5 * parent.lower[source][neuron] + 0.5 * parent.upper[source][neuron])
        for at in (0.0, middle):
            split = Split(node, neuron, 1, at)
            for side in (split, split.other()):
                yield side, enclose(network, region, layers, splits=[side], within=parent.linear_bounds)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layers", LAYER_BOUNDS)
def test_both_sides_of_every_neuron_contain_what_lies_there(name: str, layers: str) -> None:
    network = NETWORKS[name]
    region = Ball(np.full(network.input_size, 0.4), 0.6)
    parent, exact, rows = enclose(network, region, layers), ExactNetwork(network), np.eye(network.output_size)
    points = points_in(region, 10, np.random.default_rng(0))
    values, jacobians = [exact.values(p) for p in points], [exact.jacobian(p) for p in points]
    sides = 0
    for split, child in children(network, region, parent, layers):
        source = network.nodes[split.node].sources[0]
        gaps = [split.sign * (v[source][split.neuron] - exact.convert(split.at)) for v in values]
        inside = [i for i, gap in enumerate(gaps) if gap >= 0]
        assert not (child.empty and inside)
        if child.empty:
            continue
        sides += 1
        low, up = child.row_bounds(rows)
        jacobian = bound_rows(child, rows, "linear", "both")
        for i in inside:
            assert not violations(child.lower, values[i], child.upper), split
            assert not violations(low, values[i][network.output], up), split
            if gaps[i] > 0:
                assert not violations(jacobian.lower, jacobians[i], jacobian.upper), split
    assert sides > sum(1 for _ in neurons(network)), "most neurons have two sides"


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layers", LAYER_BOUNDS)
def test_children_are_never_looser_than_their_parent(name: str, layers: str) -> None:
    network = NETWORKS[name]
    region = Ball(np.full(network.input_size, 0.4), 0.6)
    parent = enclose(network, region, layers)
    tighter = 0
    for split, child in children(network, region, parent, layers):
        for node, (lower, upper) in child.linear_bounds.items():
            assert (lower >= parent.lower[node]).all()
            assert (upper <= parent.upper[node]).all()
            tighter += int((lower > parent.lower[node]).sum() + (upper < parent.upper[node]).sum())
        if not child.empty:
            source = network.nodes[split.node].sources[0]
            end = child.lower[source] if split.sign > 0 else child.upper[source]
            assert split.sign * (end[split.neuron] - split.at) >= 0
    assert tighter


def test_a_split_relu_is_stable() -> None:
    network = NETWORKS["relu"]
    region = Ball(np.full(3, 0.4), 0.6)
    parent = enclose(network, region)
    open_ = [(g.node, int(m)) for g in parent.reduced.groups[1:] for m in g.members if g.members is not None]  # type: ignore[union-attr]
    for node, neuron in open_:
        source = network.nodes[node].sources[0]
        if parent.lower[source][neuron] < 0 < parent.upper[source][neuron]:
            for sign, slope in ((1, 1.0), (-1, 0.0)):
                child = enclose(network, region, splits=[Split(node, neuron, sign)])
                glo, ghi = child.slopes[node]
                assert glo[neuron] == ghi[neuron] == slope
    splits = [Split(node, neuron, 1) for node, neuron in open_]
    settled = enclose(network, region, splits=splits, fold=True)
    assert settled.empty or [g.size for g in settled.reduced.groups] == [3]


def test_nothing_left_is_said() -> None:
    network = NETWORKS["relu"]
    region = Ball(np.full(3, 0.4), 1e-3)
    parent = enclose(network, region)
    node, neuron = 2, int(np.argmax(np.abs(parent.lower[1])))
    sign = -1 if parent.lower[1][neuron] > 0 else 1
    empty = enclose(network, region, splits=[Split(node, neuron, sign)])
    assert empty.empty
    lower, upper = empty.row_bounds(np.eye(2))
    assert (lower == np.inf).all()
    assert (upper == -np.inf).all()
    for crew in (None, ThroughCrew(CrewHere(network), 1), ThroughCrew(CrewHere(network), 3, TINY)):
        bounder = Bounder(network, crew=crew)
        enclosed = bounder.enclose(region, [Split(node, neuron, sign)])
        assert enclosed.place.empty
        assert (bounder.margins(enclosed, np.eye(2)) == np.inf).all()
        with pytest.raises(ValueError, match="nothing of the region"):
            bounder.rows(enclosed, np.eye(2), Derivatives(("bounds",)))


@pytest.mark.parametrize("name", ["relu", "residual, smooth"])
def test_splits_in_pieces_are_those_of_the_whole(name: str) -> None:
    network = NETWORKS[name]
    rows, region = np.eye(network.output_size), Ball(np.full(network.input_size, 0.4), 0.6)
    parent = enclose(network, region)
    for split, child in children(network, region, parent, "crown"):
        if child.empty:
            continue
        answers = []
        for crew in (None, ThroughCrew(CrewHere(network), 1), ThroughCrew(CrewHere(network), 3, TINY)):
            bounder = Bounder(network, crew=crew)
            enclosed = bounder.enclose(region, [split], parent.linear_bounds)
            jacobian = bounder.rows(enclosed, rows, Derivatives(("bounds",)))
            answers.append((bounder.margins(enclosed, rows), jacobian["lower"], jacobian["upper"]))
        for whole, one, three in zip(*answers, strict=True):
            np.testing.assert_array_equal(one, whole)
            np.testing.assert_allclose(three, whole, rtol=1e-10, atol=1e-12)
        np.testing.assert_array_equal(answers[0][0], child.row_bounds(rows)[0])


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (Split(1, 0, 1), "node 1 is no activation"),
        (Split(40, 0, 1), "node 40 is no activation"),
        (Split(2, 9, 1), "node 2 has 5 neurons; got neuron 9"),
        (Split(2, 0, 0), "got sign 0 at 0.0"),
        (Split(2, 0, 1, np.inf), "got sign 1 at inf"),
    ],
)
def test_splits_of_no_neuron_are_refused(split: Split, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        enclose(NETWORKS["relu"], Ball(np.zeros(3), 0.1), splits=[split])


def test_the_table_has_what_settings_name() -> None:
    assert tuple(LAYER_METHODS) == tuple(LAYER_BOUNDS)
    with pytest.raises(SettingsError, match="layer_bounds: got 'ibp'; choose alpha, crown, interval"):
        layer_method("ibp")
    with pytest.raises(SettingsError, match="layer_bounds: got 'ibp'"):
        enclose(NETWORKS["relu"], Ball(np.zeros(3), 0.1), "ibp")
