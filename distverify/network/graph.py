"""Networks as directed acyclic graphs of linear and activation nodes, and the builder that makes them.

Nodes are stored in topological order; node 0 is the input. All parameters are read-only, C-contiguous float64 arrays, which
pickle out of band: an actor that receives the network reads the weights where the object store holds them.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.errors import ModelError
from distverify.kernels.activations import ACTIVATIONS, PARAMETER_ROWS, activate
from distverify.network.constants import frozen_node, real_numbers
from distverify.network.digest import network_digest
from distverify.network.linear.dense import Dense
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.maxima import Maximum, maxima
from distverify.network.nodes import ActivationNode, InputNode, LinearNode, Node, Term, Unfolded
from distverify.options.values import number, numbers, shown
from distverify.settings import PRECISIONS


class Network:
    """A trained network, ready for verification.

    Build one with :func:`distverify.load_network`, :meth:`from_layers` or :class:`NetworkBuilder`.

    Attributes
    ----------
    nodes : tuple of InputNode, LinearNode and ActivationNode, in topological order; ``nodes[0]`` is the input.
    output : int
        Index of the output node.
    input_shape : tuple of int
        Shape of one sample, without the batch dimension.
    precision : "float64" or "float32"
        Of the matrix products in its bounds; see :meth:`in_precision`.
    remarks : dict
        What was noted when it was read, such as "reference" (whether it agrees with a reference evaluator) and "outputs".
    unfolded : Unfolded or None
        What was folded into it, where something was.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        output: int,
        input_shape: tuple[int, ...],
        precision: str = "float64",
        remarks: Mapping[str, str] | None = None,
        unfolded: Unfolded | None = None,
    ) -> None:
        self.nodes = tuple(nodes)
        self.output = output
        self.input_shape = input_shape
        self.precision = precision
        self.remarks = dict(remarks or {})
        self.unfolded = unfolded

    def in_precision(self, precision: str) -> Network:
        """The same network, whose bounds are computed by matrix products in "float64" or "float32".

        Bounds are sound either way: single precision is faster, and its larger rounding terms make them a little wider.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"precision: got {precision!r}; choose {', '.join(PRECISIONS)}")
        return Network(self.nodes, self.output, self.input_shape, precision, self.remarks, self.unfolded)

    def __reduce__(self) -> tuple[Any, ...]:
        return Network, (self.nodes, self.output, self.input_shape, self.precision, self.remarks, self.unfolded)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file that :func:`distverify.load_network` reads.

        Parameters
        ----------
        path : path
            ``.npz``: everything, to the bit; the digest stays. ``.onnx``: for other programs, in single precision where that
            holds every number, else in double; what was folded when the network was read is written as it was before.

        Raises
        ------
        ModelError
            Another suffix; for ``.onnx`` an activation that ONNX has no operator for, or weights that are rounded quotients.
        """
        from distverify.network.saving import save  # which knows networks

        save(self, path)

    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the indices of the nodes that read it, ascending."""
        out: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in dict.fromkeys(node.sources):
                out[source].append(i)
        return tuple(tuple(c) for c in out)

    @cached_property
    def maxima(self) -> tuple[Maximum, ...]:
        """Where it takes the larger one of two values."""
        return maxima(self.nodes)

    @property
    def input_size(self) -> int:
        return self.nodes[0].size

    @property
    def output_size(self) -> int:
        return self.nodes[self.output].size

    @property
    def jump(self) -> str:
        """An activation that jumps, where derivatives do not exist: its name and kind; empty where there is none."""
        jumps = (n for n in self.nodes if isinstance(n, ActivationNode) and not ACTIVATIONS[n.kind].continuous)
        return next((f"{n.kind} in {n.name!r}" for n in jumps), "")

    @property
    def digest(self) -> str:
        """SHA-256 of the graph and every parameter, as hexadecimal digits."""
        return network_digest(self.nodes, self.output, self.input_shape)

    def __repr__(self) -> str:
        widths = "-".join(str(n.size) for n in self.nodes if not isinstance(n, ActivationNode))
        kinds = sorted({n.kind for n in self.nodes if isinstance(n, ActivationNode)})
        return f"Network({widths}, activations: {', '.join(kinds) or 'none'})"

    @np.errstate(over="ignore", invalid="ignore")  # what overflows is infinite, or no number
    def values(self, x: ArrayLike) -> list[Array]:
        """Every node's value at the inputs ``x`` [N, ...]: a list of float64 [N, size]."""
        values: list[Array] = []
        for node in self.nodes:
            if isinstance(node, InputNode):
                values.append(self._flat(x))
            elif isinstance(node, LinearNode):
                total: Array = np.repeat(node.bias[None, :], values[0].shape[0], axis=0)
                for term in node.terms:
                    total += term.operator.push(np.ascontiguousarray(values[term.source].T)).T
                values.append(total)
            else:
                values.append(activate(node.code, values[node.source], node.parameters))
        return values

    def __call__(self, x: ArrayLike) -> Array:
        """The outputs at ``x`` [N, ...] (or one sample): float64 [N, output_size]."""
        return self.values(x)[self.output]

    def _flat(self, x: ArrayLike) -> Array:
        array = numbers("x", x, f"an array of numbers [N, {self.input_size}]")
        if array.size == self.input_size and (array.ndim <= 1 or array.shape == self.input_shape):
            array = array.reshape(1, -1)
        if array.ndim < 2 or array[0].size != self.input_size:
            raise ModelError(
                f"x: got an array of shape {array.shape}; this network takes [N, {self.input_size}] "
                f"(or [N, {', '.join(map(str, self.input_shape))}])"
            )
        return array.reshape(array.shape[0], -1)

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[tuple[ArrayLike, ArrayLike]],
        activation: str | Sequence[str] = "relu",
        *,
        slope: float | Sequence[float] | None = None,
    ) -> Network:
        """A fully connected network from plain arrays.

        Parameters
        ----------
        layers : sequence of (W, b)
            ``W`` [out, in], ``b`` [out], first layer first. The last layer has no activation after it, unless one name
            is given for every layer.
        activation : str or sequence of str
            One name for all hidden layers, or one per hidden layer (or per layer, with an activation at the end).
        slope : float or sequence of float, optional
            Negative slope of ``leaky_relu``, one for all or one per activation. Only for that activation.

        Raises
        ------
        ModelError
            Shapes that do not fit, values that are not finite, an unknown activation.
        """
        if not isinstance(layers, Sequence) or not layers or not all(_is_pair(layer) for layer in layers):
            got = (
                shown(layers)
                if not isinstance(layers, Sequence)
                else "none"
                if not layers
                else "an item that is no pair"
            )
            raise ModelError(f"layers: got {got}; give at least one (W, b) pair")
        if not isinstance(activation, str | Sequence):
            raise ModelError(f"activation: got {shown(activation)}; give a name, or one for each hidden layer")
        if isinstance(activation, str):
            kinds = [activation] * (len(layers) - 1)
        else:
            kinds = list(activation)
            if len(kinds) not in (len(layers) - 1, len(layers)):
                raise ModelError(
                    f"activation: got {len(kinds)} names for {len(layers)} layers; give one name, "
                    f"{len(layers) - 1} (hidden layers), or {len(layers)} (with one after the last layer)"
                )
        if slope is None or np.ndim(slope) == 0:
            slopes = [slope] * len(kinds)
        else:
            slopes = list(slope)  # type: ignore[arg-type]
        if len(slopes) != len(kinds):
            raise ModelError(f"slope: got {len(slopes)} values for {len(kinds)} activations; give one, or one each")
        weights = [np.asarray(weight) for weight, _ in layers]
        for i, weight in enumerate(weights):
            if weight.ndim != 2:
                raise ModelError(f"layers[{i}]: W has shape {weight.shape}; give a matrix [out, in]")
        builder = NetworkBuilder((weights[0].shape[1],))
        node = 0
        for i, (weight, (_, bias)) in enumerate(zip(weights, layers, strict=True)):
            node = builder.linear(f"layer{i}", [Term(node, Dense(weight))], np.asarray(bias))
            if i < len(kinds):
                parameters = {}
                if slopes[i] is not None:
                    if kinds[i] != "leaky_relu":
                        raise ModelError(
                            f"slope: got {slopes[i]} for activation {kinds[i]!r}; only leaky_relu takes it"
                        )
                    parameters["slope"] = number("slope", slopes[i], "a number, or one for each activation")
                node = builder.activation(f"{kinds[i]}{i}", node, kinds[i], parameters)
        return builder.build(node)


def _is_pair(layer: object) -> bool:
    return isinstance(layer, tuple | list) and len(layer) == 2


class NetworkBuilder:
    """A network under construction: nodes in topological order, which can still be rewritten.

    Every method that adds a node returns its index; indices stay valid while nodes are added.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample.

    Attributes
    ----------
    nodes : list of InputNode, LinearNode and ActivationNode; ``nodes[0]`` is the input.
    """

    def __init__(self, input_shape: Sequence[int], name: str = "input") -> None:
        shape = tuple(int(s) for s in input_shape)
        if not shape or any(s < 1 for s in shape):
            raise ModelError(f"input_shape: got {shape}; every dimension must be a positive number")
        self.input_shape = shape
        self.nodes: list[Node] = [InputNode(name, math.prod(shape))]

    def size(self, node: int) -> int:
        """Number of values of ``node``."""
        return self.nodes[node].size

    def add(self, node: Node) -> int:
        """Append ``node``, which must fit the nodes that it reads."""
        self.nodes.append(node)
        return len(self.nodes) - 1

    def skip(self, source: int) -> Term:
        """The term that passes node ``source`` on."""
        return Term(source, Identity(self.size(source)))

    def linear(
        self,
        name: str,
        terms: Sequence[tuple[int, LinearOperator]],
        bias: ArrayLike | None = None,
        bias_error: Array | None = None,
    ) -> int:
        """Add ``z = bias + sum of terms``.

        Parameters
        ----------
        terms : sequence of Term or (source, operator)
        bias : [out] or None
        bias_error : float64 [out] or None
            By how much the bias may be off; None where it is exact.
        """
        made = []
        for source, operator in terms:
            shape = operator.out_size, operator.in_size
            if shape[1] != self.size(source) or shape[0] < 1:
                expected = f"[out, {self.size(source)}] to fit the layer before it"
                expected += "; transpose it?" if shape[0] == self.size(source) else ""
                raise ModelError(f"{name}: W has shape {shape}; expected {expected}")
            made.append(Term(source, operator.mapped(partial(real_numbers, f"{name}: W"))))
        sizes = [t.operator.out_size for t in made]
        if len(set(sizes)) != 1:
            raise ModelError(f"{name}: its terms give {sizes} values; they must be equal, and at least one is needed")
        values = np.zeros(sizes[0]) if bias is None else real_numbers(f"{name}: b", bias)
        if values.shape != (sizes[0],):
            advice = f"; transpose W, to [{values.size}, in]?" if values.shape == (made[0].operator.in_size,) else ""
            raise ModelError(f"{name}: b: got shape {values.shape}, expected {(sizes[0],)}{advice}")
        error = bias_error if bias_error is not None and bias_error.any() else None
        return self.add(LinearNode(name, sizes[0], tuple(made), values, error))

    def activation(self, name: str, source: int, kind: str, parameters: Mapping[str, ArrayLike] | None = None) -> int:
        """Add ``a = s(z)``; ``parameters`` by the names of the activation table, scalars or one value per neuron.

        Every activation reads a linear node, whose bounds are its pre-activation bounds: where ``source`` is none, an
        identity is put between them.
        """
        if kind not in ACTIVATIONS:
            raise ModelError(f"{name}: unknown activation {kind!r}; known: {', '.join(sorted(ACTIVATIONS))}")
        entry = ACTIVATIONS[kind]
        own = dict(parameters or {})
        unknown = set(own) - set(entry.parameters)
        if unknown:
            raise ModelError(f"{name}: {kind} has no parameter {', '.join(sorted(unknown))}")
        size = self.size(source)
        rows = np.zeros((PARAMETER_ROWS, size))
        for row, (parameter, default) in enumerate(entry.parameters.items()):
            rows[row] = np.broadcast_to(real_numbers(f"{name}: {parameter}", own.get(parameter, default)), (size,))
        if not isinstance(self.nodes[source], LinearNode):
            source = self.linear(f"{name} (input)", [self.skip(source)])
        return self.add(ActivationNode(name, size, source, kind, rows))

    def needed(self, output: int) -> NDArray[np.bool_]:
        """Which nodes the ``output`` depends on; the input always counts."""
        return _needed(self.nodes, output)

    def places(self, output: int) -> dict[int, int]:
        """The nodes that ``output`` depends on, and their places in the network that is built of them."""
        return _places(self.nodes, output)

    def readers(self, output: int) -> Counter[int]:
        """How often each node is read, by nodes that ``output`` depends on and (once) by the caller."""
        counts = Counter(s for i in np.flatnonzero(self.needed(output)).tolist() for s in self.nodes[i].sources)
        counts[output] += 1
        return counts

    def build(
        self, output: int, remarks: Mapping[str, str] | None = None, unfolded: Sequence[Node] | None = None
    ) -> Network:
        """The network whose output is node ``output``, without the nodes that it does not depend on.

        Parameters
        ----------
        remarks : dict, optional
            What is worth knowing about it.
        unfolded : sequence of Node, optional
            The nodes as they were before some were folded into others, index by index.

        Raises
        ------
        ModelError
            Parameters that are not finite.
        """
        if output == 0:
            output, unfolded = self.linear("output", [self.skip(0)]), None
        place = self.places(output)
        frozen: dict[int, Array] = {}
        nodes = [frozen_node(self.nodes[i], place, frozen) for i in place]
        before = None
        if unfolded is not None and any(self.nodes[i] is not unfolded[i] for i in place):
            old = _places(unfolded, output)
            same = {old[i]: new for i, new in place.items() if i in old}
            before = Unfolded(tuple(frozen_node(unfolded[i], old, frozen) for i in old), old[output], same)
        return Network(nodes, place[output], self.input_shape, remarks=remarks, unfolded=before)


def _needed(nodes: Sequence[Node], output: int) -> NDArray[np.bool_]:
    needed = np.zeros(len(nodes), dtype=np.bool_)
    needed[[0, output]] = True
    for i in range(output, 0, -1):
        if needed[i]:
            needed[list(nodes[i].sources)] = True
    return needed


def _places(nodes: Sequence[Node], output: int) -> dict[int, int]:
    """The nodes that ``output`` depends on, and their places among themselves."""
    return {old: new for new, old in enumerate(np.flatnonzero(_needed(nodes, output)).tolist())}
