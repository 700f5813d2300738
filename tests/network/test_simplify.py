"""What is folded, what is not, and that the function stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.simplify import simplify

RNG = np.random.default_rng(3)
X = RNG.normal(size=(6, 4))


def dense(rows: int, columns: int) -> np.ndarray:
    return RNG.normal(size=(rows, columns))


def folded(builder: NetworkBuilder, output: int) -> Network:
    """The simplified network, after checking that it computes what was built."""
    expected = builder.build(output)(X)
    simplify(builder, output)
    network = builder.build(output)
    assert network(X) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    return network


def operators(network: Network) -> list[str]:
    return [type(t.operator).__name__ for n in network.nodes for t in getattr(n, "terms", ())]


OPERATORS: dict[str, LinearOperator] = {
    "diagonal": Diagonal(RNG.normal(size=4)), "identity": Identity(4), "dense": Dense(dense(4, 4))
}  # fmt: skip


@pytest.mark.parametrize("first", OPERATORS)
@pytest.mark.parametrize("second", OPERATORS)
def test_two_linear_nodes_become_one(first: str, second: str) -> None:
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, OPERATORS[first])], RNG.normal(size=4))
    network = folded(builder, builder.linear("b", [(a, OPERATORS[second])], RNG.normal(size=4)))
    strongest = next(k for k in ("dense", "diagonal", "identity") if k in (first, second))
    assert operators(network) == [strongest.capitalize()]


def test_a_bottleneck_is_kept() -> None:
    """4 -> 1 -> 4 has 8 weights; their product would have 16."""
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, Dense(dense(1, 4)))])
    assert operators(folded(builder, builder.linear("b", [(a, Dense(dense(4, 1)))]))) == ["Dense", "Dense"]


def test_a_dense_layer_with_two_readers_is_kept() -> None:
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, Dense(dense(4, 4)))])
    b = builder.activation("tanh", a, "tanh")
    network = folded(builder, builder.linear("sum", [(a, Dense(dense(2, 4))), (b, Dense(dense(2, 4)))]))
    assert operators(network) == ["Dense", "Dense", "Dense"]


def test_a_scaling_with_two_dense_readers_is_folded_into_both() -> None:
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, Diagonal(RNG.normal(size=4)))], RNG.normal(size=4))
    b = builder.activation("relu", builder.linear("b", [(a, Dense(dense(3, 4)))]), "relu")
    network = folded(builder, builder.linear("sum", [(a, Dense(dense(2, 4))), (b, Dense(dense(2, 3)))]))
    assert operators(network) == ["Dense", "Dense", "Dense"]


def test_a_scaling_between_activations_stays() -> None:
    builder = NetworkBuilder((4,))
    a = builder.activation("relu", 0, "relu")
    b = builder.linear("b", [(a, Diagonal(RNG.normal(size=4)))])
    network = folded(builder, builder.activation("tanh", b, "tanh"))
    assert operators(network) == ["Identity", "Diagonal"]


def test_a_skip_around_a_dense_layer_becomes_one_matrix() -> None:
    builder = NetworkBuilder((4,))
    weight = dense(4, 4)
    a = builder.linear("a", [(0, Dense(weight))])
    network = folded(builder, builder.linear("sum", [builder.skip(a), builder.skip(0)]))
    assert operators(network) == ["Dense"]
    assert (network.nodes[1].terms[0].operator.weight == weight + np.eye(4)).all()


def test_the_output_is_kept_although_another_node_reads_it() -> None:
    builder = NetworkBuilder((4,))
    a = builder.linear("a", [(0, Dense(dense(4, 4)))])
    builder.linear("b", [(a, Dense(dense(2, 4)))])
    assert folded(builder, a).output_size == 4


def test_every_activation_reads_a_linear_node() -> None:
    builder = NetworkBuilder((4,))
    a = builder.activation("relu", 0, "relu")
    network = folded(builder, builder.activation("tanh", a, "tanh"))
    assert [n.name for n in network.nodes] == ["input", "relu (input)", "relu", "tanh (input)", "tanh"]


def test_a_network_without_layers() -> None:
    network = NetworkBuilder((4,)).build(0)
    assert operators(network) == ["Identity"]
    assert (network(X) == X).all()
