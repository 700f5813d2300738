"""Models bound to a query's declarations: which model stands for which network, and whether types and shapes fit.

The errors are those that the standard asks for (section 5.3.2): too few or too many models, element types that differ, types for which
there is no sound analysis; and shapes that differ (section 3.3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distverify.analysis.query.formats import FloatFormat, format_of
from distverify.data.query.declarations import HIDDEN, INPUT, OUTPUT, REAL, NetworkDeclaration, Query, Tensor
from distverify.errors import DataError, ModelError
from distverify.network.onnx.bound import Model, Port, open_model


@dataclass(frozen=True, eq=False)
class BoundNetwork:
    """A declared network and its model.

    Attributes
    ----------
    declaration : NetworkDeclaration
    model : Model
    ports : dict name -> Port
        Of each declared tensor.
    """

    declaration: NetworkDeclaration
    model: Model
    ports: Mapping[str, Port]


@dataclass(frozen=True, eq=False)
class BoundQuery:
    """A query whose networks have models.

    Attributes
    ----------
    query : Query
    networks : tuple of BoundNetwork
    format : FloatFormat or None
        Of its numbers and arithmetic; None: it is about real numbers.
    """

    query: Query
    networks: tuple[BoundNetwork, ...]
    format: FloatFormat | None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """All input tensors, in the order of the file."""
        return tuple(t for t in self.query.tensors if t.kind == INPUT)


def bind_models(query: Query, paths: Mapping[str, str | Path]) -> BoundQuery:
    """Open the models and hold them against the declarations.

    Parameters
    ----------
    paths : dict name of a declared network -> path
        One for each network that is not declared equal to another.

    Raises
    ------
    DataError, ModelError
    """
    needed = [n.name for n in query.networks if n.equal_to is None]
    _check_names(query, needed, paths)
    format_ = format_of(query)
    models = {name: open_model(paths[name]) for name in needed}
    networks = tuple(_bound(n, models[n.equal_to or n.name]) for n in query.networks)
    return BoundQuery(query, networks, format_)


def _check_names(query: Query, needed: Sequence[str], paths: Mapping[str, str | Path]) -> None:
    declared = {n.name: n for n in query.networks}
    for name in paths:
        if name not in declared:
            raise DataError(f"models: {name} is no network of the query, which declares {', '.join(declared)}")
        if declared[name].equal_to:
            raise DataError(
                f"models: network {name} is declared equal to {declared[name].equal_to}, whose model it has; leave {name} out"
            )
    missing = [name for name in needed if name not in paths]
    if missing:
        raise DataError(f"models: network {missing[0]} has no model; give the ONNX file of {', '.join(missing)}")


def _bound(declaration: NetworkDeclaration, model: Model) -> BoundNetwork:
    ports: dict[str, Port] = {}
    for kind, own in ((INPUT, model.inputs), (OUTPUT, model.outputs)):
        tensors = declaration.of(kind)
        if len(tensors) != len(own):
            raise ModelError(
                f"{model.path}: has {len(own)} {kind}s; network {declaration.name} declares {len(tensors)}"
            )
        ports.update({t.name: port for t, port in zip(tensors, own, strict=True)})
    for tensor in declaration.of(HIDDEN):
        assert tensor.node is not None
        ports[tensor.name] = model.inner(tensor.node)
    for tensor in declaration.tensors:
        _check_fit(tensor, ports[tensor.name], model)
    return BoundNetwork(declaration, model, ports)


def _check_fit(tensor: Tensor, port: Port, model: Model) -> None:
    if tensor.element != REAL and port.element is not None and port.element != tensor.element:
        raise ModelError(
            f"{model.path}: {port.name!r} is of type {port.element}; {tensor.name} is declared as {tensor.element}"
        )
    if not port.takes(tensor.shape):
        shown = "[" + ",".join("?" if d is None else str(d) for d in port.shape or ()) + "]"
        raise ModelError(
            f"{model.path}: {port.name!r} has shape {shown}; {tensor.name} is declared as {list(tensor.shape)}"
        )
