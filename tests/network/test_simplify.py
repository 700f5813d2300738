"""What is folded, what is not, and that the function stays the same."""

from __future__ import annotations

import numpy as np
import pytest

from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import LinearNode
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
    "diagonal": Diagonal(RNG.normal(size=4)), "identity": Identity(4), "dense": Dense(np.round(4 * dense(4, 4)))
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


@pytest.mark.parametrize("weights", [(1e17, -1.0, -1e17), (0.1, -0.2, 0.3)])
def test_products_that_would_be_rounded_are_not_folded(weights: tuple[float, ...]) -> None:
    """The sum of three products: 1e17 - 1 - 1e17 is -1, and 0 in float64."""
    builder = NetworkBuilder((1,))
    first = builder.linear("a", [(0, Dense(np.array(weights)[:, None]))])
    output = builder.linear("b", [(first, Dense(np.array([[1.0, 1.0, 1.0]])))])
    simplify(builder, output)
    assert operators(builder.build(output)) == ["Dense", "Dense"]


def test_scaled_weights_count_their_rounding() -> None:
    builder = NetworkBuilder((4,))
    first = builder.linear("a", [(0, Dense(dense(3, 4)))], RNG.normal(size=3))
    output = builder.linear("b", [(first, Diagonal(RNG.normal(size=3)))])
    network = folded(builder, output)
    node = network.nodes[1]
    assert isinstance(node, LinearNode)
    assert node.terms[0].operator.roundings == 1
    assert node.terms[0].operator.push_terms == 4 + 1
    assert (node.bias_error > 0).all()  # type: ignore[operator]


def test_exact_folding_leaves_no_error() -> None:
    builder = NetworkBuilder((4,))
    weight = dense(3, 4).astype(np.float32).astype(float)
    first = builder.linear("a", [(0, Dense(weight))], np.array([0.5, -1.0, 3.0]))
    scale = RNG.normal(size=3).astype(np.float32).astype(float)
    network = folded(builder, builder.linear("b", [(first, Diagonal(scale))]))
    node = network.nodes[1]
    assert isinstance(node, LinearNode)
    assert node.terms[0].operator.roundings == 0
    assert node.bias_error is None
