"""What is folded, what is not, and that the function stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.network.draft import Draft, DraftActivation, DraftLinear, DraftTerm
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.simplify import simplify

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4))


def dense(rows: int, columns: int) -> np.ndarray:
    return RNG.normal(size=(rows, columns))


def linear(source: int, kind: str, array: np.ndarray | None = None, bias: np.ndarray | None = None) -> DraftLinear:
    size = 4 if array is None else array.shape[0]
    return DraftLinear(f"{kind}{source}", size, (DraftTerm(source, kind, array),), bias)


def folded(draft: Draft, output: int) -> Network:
    """The simplified network, after checking that it computes what the draft did."""
    expected = draft.build(output)(X)
    simplify(draft, output)
    network = draft.build(output)
    assert network(X) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    return network


def operators(network: Network) -> list[str]:
    return [type(t.operator).__name__ for n in network.nodes for t in getattr(n, "terms", ())]


@pytest.mark.parametrize("first", ["diagonal", "identity", "dense"])
@pytest.mark.parametrize("second", ["diagonal", "identity", "dense"])
def test_two_linear_nodes_become_one(first: str, second: str) -> None:
    arrays = {"diagonal": RNG.normal(size=4), "identity": None, "dense": dense(4, 4)}
    draft = Draft((4,))
    a = draft.add(linear(0, first, arrays[first], RNG.normal(size=4)))
    network = folded(draft, draft.add(linear(a, second, arrays[second], RNG.normal(size=4))))
    strongest = next(k for k in ("dense", "diagonal", "identity") if k in (first, second))
    assert operators(network) == [strongest.capitalize()]


def test_a_bottleneck_is_kept() -> None:
    """4 -> 1 -> 4 has 8 weights; their product would have 16."""
    draft = Draft((4,))
    a = draft.add(linear(0, "dense", dense(1, 4)))
    assert operators(folded(draft, draft.add(linear(a, "dense", dense(4, 1))))) == ["Dense", "Dense"]


def test_a_dense_layer_with_two_readers_is_kept() -> None:
    draft = Draft((4,))
    a = draft.add(linear(0, "dense", dense(4, 4)))
    b = draft.add(DraftActivation("tanh", 4, a, "tanh"))
    terms = (DraftTerm(a, "dense", dense(2, 4)), DraftTerm(b, "dense", dense(2, 4)))
    network = folded(draft, draft.add(DraftLinear("sum", 2, terms)))
    assert operators(network) == ["Dense", "Dense", "Dense"]


def test_a_scaling_with_two_dense_readers_is_folded_into_both() -> None:
    draft = Draft((4,))
    a = draft.add(linear(0, "diagonal", RNG.normal(size=4), RNG.normal(size=4)))
    b = draft.add(DraftActivation("relu", 3, draft.add(linear(a, "dense", dense(3, 4))), "relu"))
    terms = (DraftTerm(a, "dense", dense(2, 4)), DraftTerm(b, "dense", dense(2, 3)))
    network = folded(draft, draft.add(DraftLinear("sum", 2, terms)))
    assert operators(network) == ["Dense", "Dense", "Dense"]


def test_a_scaling_between_activations_stays() -> None:
    draft = Draft((4,))
    a = draft.add(DraftActivation("relu", 4, 0, "relu"))
    b = draft.add(linear(a, "diagonal", RNG.normal(size=4)))
    network = folded(draft, draft.add(DraftActivation("tanh", 4, b, "tanh")))
    assert operators(network) == ["Identity", "Diagonal"]


def test_a_skip_around_a_dense_layer_becomes_one_matrix() -> None:
    draft = Draft((4,))
    weight = dense(4, 4)
    a = draft.add(linear(0, "dense", weight))
    network = folded(draft, draft.add(DraftLinear("sum", 4, (DraftTerm(a, "identity"), DraftTerm(0, "identity")))))
    assert operators(network) == ["Dense"]
    assert (network.nodes[1].terms[0].operator.weight == weight + np.eye(4)).all()


def test_the_output_is_kept_although_another_node_reads_it() -> None:
    draft = Draft((4,))
    a = draft.add(linear(0, "dense", dense(4, 4)))
    draft.add(linear(a, "dense", dense(2, 4)))
    assert folded(draft, a).output_size == 4


def test_every_activation_reads_a_linear_node() -> None:
    draft = Draft((4,))
    a = draft.add(DraftActivation("relu", 4, 0, "relu"))
    network = folded(draft, draft.add(DraftActivation("tanh", 4, a, "tanh")))
    assert [n.name for n in network.nodes] == ["input", "relu (input)", "relu", "tanh (input)", "tanh"]


def test_a_network_without_layers() -> None:
    network = Draft((4,)).build(0)
    assert operators(network) == ["Identity"]
    assert (network(X) == X).all()


def test_a_draft_of_a_network_builds_the_same_network() -> None:
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, "dense", dense(4, 4)), (0, "identity", None)], RNG.normal(size=4))
    b = builder.activation("b", a, "leaky_relu", {"slope": 0.3})
    network = builder.build(builder.linear("c", [(b, "diagonal", RNG.normal(size=4))]))
    assert Draft.of(network).build(network.output).digest == network.digest
