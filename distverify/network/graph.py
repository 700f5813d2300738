"""Networks as directed acyclic graphs of linear and activation nodes.

A linear node is ``z = bias + sum_i M_i a_i`` over its input nodes: dense layers, residual sums and folded constants are
all of this one form. An activation node is ``a = s(z)``, elementwise. Nodes are stored in topological order; node 0 is
the input. All parameters lie in one contiguous float64 buffer, which pickles out of band: an actor that receives the
network reads the weights where the object store holds them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distverify.errors import ModelError
from distverify.kernels.activations import ACTIVATIONS, PARAMETER_ROWS, activate
from distverify.network.linear.operator_spec import BufferSlice, OperatorSpec, parts
from distverify.network.linear.operators import Array, LinearOperator
from distverify.settings import PRECISIONS

_ALIGN = 8  # float64 values: 64 bytes


@dataclass(frozen=True)
class InputNode:
    """The flattened input, float64 [size]."""

    name: str
    size: int

    @property
    def sources(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Term:
    """One summand of a linear node: ``operator`` applied to the value of node ``source``."""

    source: int
    operator: LinearOperator


@dataclass(frozen=True, eq=False)
class LinearNode:
    """``z = bias + sum of terms``; ``bias`` float64 [size]."""

    name: str
    size: int
    terms: tuple[Term, ...]
    bias: Array

    @property
    def sources(self) -> tuple[int, ...]:
        return tuple(t.source for t in self.terms)


@dataclass(frozen=True, eq=False)
class ActivationNode:
    """``a = s(z)`` elementwise; ``kind`` names a row of the activation table, ``parameters`` float64 [PARAMETER_ROWS, size]."""

    name: str
    size: int
    source: int
    kind: str
    parameters: Array

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)

    @property
    def code(self) -> int:
        """The number by which compiled kernels know the activation."""
        return ACTIVATIONS[self.kind].code


Node = InputNode | LinearNode | ActivationNode


@dataclass(frozen=True)
class _LinearSpec:
    name: str
    size: int
    terms: tuple[tuple[int, OperatorSpec], ...]
    bias: BufferSlice


@dataclass(frozen=True)
class _ActivationSpec:
    name: str
    size: int
    source: int
    kind: str
    parameters: BufferSlice


_Spec = InputNode | _LinearSpec | _ActivationSpec


@dataclass(eq=False)
class Graph:
    """Nodes in topological order, with the index of the output node; ``nodes[0]`` is the input."""

    nodes: Sequence[Node]
    output: int

    def consumers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the indices of the nodes that read it, ascending."""
        out: list[list[int]] = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in dict.fromkeys(node.sources):
                out[source].append(i)
        return tuple(tuple(c) for c in out)


class Network(Graph):
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
    buffer : float64 [parameters]
        Every weight, bias and slope, in one contiguous array; read-only.
    """

    def __init__(
        self,
        specs: Sequence[_Spec],
        output: int,
        input_shape: tuple[int, ...],
        buffer: Array,
        precision: str = "float64",
    ) -> None:
        self.precision = precision
        self._bind(tuple(specs), output, input_shape, buffer)

    def in_precision(self, precision: str) -> Network:
        """The same network, whose bounds are computed by matrix products in "float64" or "float32".

        Bounds are sound either way: single precision is faster, and its larger rounding terms make them a little wider.
        """
        if precision not in PRECISIONS:
            raise ModelError(f"precision: got {precision!r}; choose {', '.join(PRECISIONS)}")
        return Network(self._specs, self.output, self.input_shape, self.buffer, precision)

    def _bind(self, specs: tuple[_Spec, ...], output: int, input_shape: tuple[int, ...], buffer: Array) -> None:
        if buffer.flags.writeable:
            buffer.flags.writeable = False
        self._specs = specs
        self.output = output
        self.input_shape = input_shape
        self.buffer = buffer
        nodes: list[Node] = []
        for spec in specs:
            if isinstance(spec, InputNode):
                nodes.append(spec)
            elif isinstance(spec, _LinearSpec):
                terms = tuple(Term(source, op.bind(buffer)) for source, op in spec.terms)
                nodes.append(LinearNode(spec.name, spec.size, terms, spec.bias.view(buffer)))
            else:
                nodes.append(ActivationNode(spec.name, spec.size, spec.source, spec.kind, spec.parameters.view(buffer)))
        self.nodes: tuple[Node, ...] = tuple(nodes)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (Network, (self._specs, self.output, self.input_shape, self.buffer, self.precision))

    @property
    def input_size(self) -> int:
        return self.nodes[0].size

    @property
    def output_size(self) -> int:
        return self.nodes[self.output].size

    @property
    def digest(self) -> str:
        """SHA-256 of the graph and every parameter, as hexadecimal digits."""
        sha = hashlib.sha256()
        sha.update(repr((self._specs, self.output, self.input_shape)).encode())
        sha.update(np.ascontiguousarray(self.buffer).tobytes())
        return sha.hexdigest()

    def __repr__(self) -> str:
        widths = "-".join(str(n.size) for n in self.nodes if not isinstance(n, ActivationNode))
        kinds = sorted({n.kind for n in self.nodes if isinstance(n, ActivationNode)})
        return f"Network({widths}, activations: {', '.join(kinds) or 'none'})"

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
        array = np.asarray(x, dtype=np.float64)
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
        if len(layers) == 0:
            raise ModelError("layers: got none; give at least one (W, b) pair")
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
        first = np.asarray(layers[0][0])
        if first.ndim != 2:
            raise ModelError(f"layers[0]: W has shape {first.shape}; give a matrix [out, in]")
        builder = NetworkBuilder((first.shape[1],))
        node = 0
        for i, (weight, bias) in enumerate(layers):
            node = builder.linear(f"layer{i}", [(node, "dense", np.asarray(weight))], np.asarray(bias))
            if i < len(kinds):
                parameters = {}
                if slopes[i] is not None:
                    if kinds[i] != "leaky_relu":
                        raise ModelError(
                            f"slope: got {slopes[i]} for activation {kinds[i]!r}; only leaky_relu takes it"
                        )
                    parameters["slope"] = float(slopes[i])  # type: ignore[arg-type]
                node = builder.activation(f"{kinds[i]}{i}", node, kinds[i], parameters)
        return builder.build(node)


class NetworkBuilder:
    """Collects nodes in topological order, then lays every parameter into one buffer.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one sample. Node 0 is the input; every method returns the index of the node that it made.
    """

    def __init__(self, input_shape: Sequence[int], name: str = "input") -> None:
        shape = tuple(int(s) for s in input_shape)
        if not shape or any(s < 1 for s in shape):
            raise ModelError(f"input_shape: got {shape}; every dimension must be a positive number")
        self.input_shape = shape
        self._specs: list[_Spec] = [InputNode(name, int(np.prod(shape)))]
        self._arrays: list[Array] = []
        self._length = 0

    def size(self, node: int) -> int:
        """Number of values of ``node``."""
        return self._specs[node].size

    def _store(self, what: str, array: ArrayLike, shape: tuple[int, ...]) -> BufferSlice:
        values = np.asarray(array)
        if values.dtype.kind not in "fiu" or values.dtype.itemsize > 8:
            raise ModelError(
                f"{what}: values of type {values.dtype} are not supported; give real numbers of at most 64 bits"
            )
        values = np.ascontiguousarray(values, dtype=np.float64)
        if values.shape != shape:
            raise ModelError(f"{what}: got shape {values.shape}, expected {shape}")
        if not np.isfinite(values).all():
            raise ModelError(
                f"{what}: {int((~np.isfinite(values)).sum())} values are NaN or infinite; the model is broken"
            )
        piece = BufferSlice(self._length, shape)
        padding = -values.size % _ALIGN
        self._arrays.append(values.reshape(-1))
        if padding:
            self._arrays.append(np.zeros(padding))
        self._length += values.size + padding
        return piece

    def linear(self, name: str, terms: Sequence[tuple[int, str, Any]], bias: ArrayLike | None = None) -> int:
        """Add ``z = bias + sum of terms``.

        Parameters
        ----------
        terms : sequence of (source, kind, value)
            ``kind`` is "dense" (value: array [out, in]), "diagonal" (array [size]), "identity" (None), "convolution"
            (:class:`~distverify.network.linear.convolution.Convolution`) or "sparse" (scipy CSR [out, in]).
        bias : [out] or None
        """
        sizes, specs = [], []
        for source, kind, value in terms:
            size, spec = self._operator(name, kind, value, self.size(source))
            sizes.append(size)
            specs.append((source, spec))
        if not sizes or len(set(sizes)) != 1:
            raise ModelError(
                f"{name}: its terms give {sizes} values; they must be equal, and at least one term is needed"
            )
        stored = self._store(f"{name}: b", np.zeros(sizes[0]) if bias is None else bias, (sizes[0],))
        self._specs.append(_LinearSpec(name, sizes[0], tuple(specs), stored))
        return len(self._specs) - 1

    def _operator(self, name: str, kind: str, value: Any, width: int) -> tuple[int, OperatorSpec]:
        """The number of values that an operator on ``width`` values gives, and its stored form."""
        if kind == "identity":
            return width, OperatorSpec(kind, (), (width,))
        if kind == "diagonal":
            return width, OperatorSpec(kind, (self._store(f"{name}: scale", value, (width,)),))
        if kind not in ("dense", "convolution", "sparse"):
            raise ModelError(
                f"{name}: unknown linear operator {kind!r}; use dense, diagonal, identity, convolution or sparse"
            )
        matrix: Any = np.asarray(value) if kind == "dense" else value
        shape = (matrix.out_size, matrix.in_size) if kind == "convolution" else matrix.shape
        if len(shape) != 2 or shape[1] != width or shape[0] < 1:
            raise ModelError(f"{name}: W has shape {shape}; expected [out, {width}] to fit the layer before it")
        arrays, attributes = parts(kind, matrix)
        stored = tuple(self._store(f"{name}: W", a, a.shape) for a in arrays)
        return int(shape[0]), OperatorSpec(kind, stored, attributes)

    def activation(self, name: str, source: int, kind: str, parameters: Mapping[str, ArrayLike] | None = None) -> int:
        """Add ``a = s(z)``; ``parameters`` by the names of the activation table, scalars or one value per neuron."""
        if kind not in ACTIVATIONS:
            raise ModelError(f"{name}: unknown activation {kind!r}; known: {', '.join(sorted(ACTIVATIONS))}")
        entry = ACTIVATIONS[kind]
        given = dict(parameters or {})
        unknown = set(given) - set(entry.parameters)
        if unknown:
            raise ModelError(f"{name}: {kind} has no parameter {', '.join(sorted(unknown))}")
        if not isinstance(self._specs[source], _LinearSpec):
            # Every activation reads a linear node, whose bounds are its pre-activation bounds.
            source = self.linear(f"{name}: input", [(source, "identity", None)])
        size = self.size(source)
        rows = np.zeros((PARAMETER_ROWS, size))
        for row, (parameter, default) in enumerate(entry.parameters.items()):
            rows[row] = np.broadcast_to(np.asarray(given.get(parameter, default), dtype=np.float64), (size,))
        stored = self._store(f"{name}: parameters", rows, rows.shape)
        self._specs.append(_ActivationSpec(name, size, source, kind, stored))
        return len(self._specs) - 1

    def build(self, output: int) -> Network:
        """The network whose output is node ``output``."""
        buffer = np.concatenate(self._arrays) if self._arrays else np.zeros(0)
        return Network(tuple(self._specs), output, self.input_shape, buffer)
