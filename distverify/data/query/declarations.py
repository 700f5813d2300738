"""What a query declares: networks, with tensors of inputs, hidden nodes and outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from distverify.data.query.terms import Formula

INPUT, HIDDEN, OUTPUT = "input", "hidden", "output"
REAL = "real"

# Element types of ONNX by their names in its IR specification, and which constants go with them.
FLOATS = (
    "float64", "float32", "float16", "bfloat16", "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
    "float8e8m0", "float4e2m1",
)  # fmt: skip
SIGNED = ("int64", "int32", "int16", "int8", "int4")
UNSIGNED = ("uint64", "uint32", "uint16", "uint8", "uint4")
OTHERS = ("bool", "complex64", "complex128", "string")
ELEMENT_TYPES = (REAL, *FLOATS, *SIGNED, *UNSIGNED, *OTHERS)


@dataclass(frozen=True)
class Tensor:
    """A declared variable.

    Attributes
    ----------
    name : str
    kind : "input", "hidden" or "output"
    element : str
        Its element type.
    shape : tuple of int
        () for a tensor without dimensions.
    first : int
        Where its elements, in row-major order, begin among all elements of the query.
    node : str or None
        Of a hidden node: the name in the ONNX graph.
    """

    name: str
    kind: str
    element: str
    shape: tuple[int, ...]
    first: int
    node: str | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def elements(self) -> range:
        """Its elements' places among all elements of the query."""
        return range(self.first, self.first + self.size)


@dataclass(frozen=True)
class NetworkDeclaration:
    """A declared network.

    Attributes
    ----------
    name : str
    tensors : tuple of Tensor
        Inputs, hidden nodes, outputs, in the order of the file.
    equal_to, isomorphic_to : str or None
        The network that it is declared to be equal to, or of one structure with.
    """

    name: str
    tensors: tuple[Tensor, ...]
    equal_to: str | None = None
    isomorphic_to: str | None = None

    def of(self, kind: str) -> tuple[Tensor, ...]:
        """The tensors of one kind."""
        return tuple(t for t in self.tensors if t.kind == kind)


@dataclass(frozen=True)
class Query:
    """A query: is there an assignment of inputs for which all assertions are true?

    Attributes
    ----------
    version : (int, int)
    networks : tuple of NetworkDeclaration
    assertions : tuple of Formula
    warnings : tuple of str
        What a reader is told, without being wrong.
    """

    version: tuple[int, int]
    networks: tuple[NetworkDeclaration, ...]
    assertions: tuple[Formula, ...]
    warnings: tuple[str, ...] = ()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, in the order of the file."""
        return tuple(t for network in self.networks for t in network.tensors)

    @property
    def size(self) -> int:
        """How many elements all tensors have."""
        return sum(t.size for t in self.tensors)
