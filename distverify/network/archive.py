"""Networks as ``.npz``: a description of the graph in JSON, and the arrays that it counts. Everything comes back to the bit."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from distverify.errors import ModelError
from distverify.kernels.activations import ACTIVATIONS, PARAMETER_ROWS
from distverify.kernels.convolution import Geometry
from distverify.network.constants import frozen_node
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.network.linear.diagonal import Diagonal
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import Array, LinearOperator
from distverify.network.linear.sparse import Sparse
from distverify.network.nodes import ActivationNode, InputNode, LinearNode, Node, Term, Unfolded

FORMAT = "distverify network 1"
_DESCRIPTION = "network"
_MOST_BYTES = 2**31
_GEOMETRY_FIELDS = 15
_OPERATORS = ("convolution", "dense", "diagonal", "identity", "sparse")


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether ``path`` is named as an archive."""
    return Path(path).suffix.lower() == ".npz"


def write_archive(network: Network, path: Path) -> None:
    """Write ``network`` to ``path``."""
    arrays: dict[str, Array] = {}
    places: dict[int, str] = {}

    def keep(array: Array) -> str:
        if id(array) not in places:
            places[id(array)] = f"a{len(arrays)}"
            arrays[places[id(array)]] = np.asarray(array)
        return places[id(array)]

    told: dict[str, Any] = {
        "format": FORMAT,
        "input_shape": network.input_shape,
        "precision": network.precision,
        "remarks": network.remarks,
        "output": network.output,
        "nodes": [_told(node, keep) for node in network.nodes],
    }
    if network.unfolded is not None:
        told["unfolded"] = {
            "output": network.unfolded.output,
            "nodes": [_told(node, keep) for node in network.unfolded.nodes],
            "places": sorted(network.unfolded.places.items()),
        }
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, **{_DESCRIPTION: np.frombuffer(json.dumps(told).encode(), np.uint8)}, **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def _told(node: Node, keep: Any) -> dict[str, Any]:
    """``node`` in JSON, with its arrays by the names that ``keep`` gives them."""
    head: dict[str, Any] = {"name": node.name, "size": node.size}
    if isinstance(node, InputNode):
        return head
    if isinstance(node, ActivationNode):
        return {**head, "source": node.source, "activation": node.kind, "parameters": keep(node.parameters)}
    terms = [
        {
            "source": source,
            "operator": operator.kind,
            "arrays": [keep(array) for array in operator.arrays],
            "sizes": operator.sizes,
            "roundings": operator.roundings,
        }
        for source, operator in node.terms
    ]
    error = None if node.bias_error is None else keep(node.bias_error)
    return {**head, "terms": terms, "bias": keep(node.bias), "bias_error": error, "at_once": node.at_once}


def read_archive(path: str | os.PathLike[str], *, batch_axis: bool | None = None) -> Network:
    """The network that :func:`write_archive` wrote; nothing in the file is believed, and no code in it runs.

    Raises
    ------
    ModelError
        Another kind of file, or one that is damaged; a ``batch_axis``, which is for files that leave that open.
    """
    if batch_axis is not None:
        raise ModelError("batch_axis: is for ONNX files; a saved network says its shape itself, leave it out")
    try:
        with zipfile.ZipFile(path) as file:
            if sum(entry.file_size for entry in file.infolist()) > _MOST_BYTES:
                raise ModelError(f"{path}: holds more than {_MOST_BYTES} bytes, more than a network here has")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such model file; check the path") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); the file is damaged") from None
    if _DESCRIPTION not in arrays:
        raise ModelError(f"{path}: holds no network; give a file of Network.save, or an ONNX file")
    try:
        told = json.loads(arrays[_DESCRIPTION].tobytes())
        if told["format"] != FORMAT:
            raise ModelError(f"{path}: is of format {told['format']!r}, this is {FORMAT!r}; save it again")
        return _network(told, arrays)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ModelError(f"{path}: is damaged ({type(error).__name__}: {error}); save the network again") from None


def _network(told: Mapping[str, Any], arrays: Mapping[str, Array]) -> Network:
    shape = tuple(told["input_shape"])
    unfolded = None
    if "unfolded" in told:
        before = told["unfolded"]
        nodes = _nodes(shape, before["nodes"], arrays)
        places = {int(a): int(b) for a, b in before["places"]}
        _demand(all(0 <= a < len(nodes) and 0 <= b < len(told["nodes"]) for a, b in places.items()), "places")
        unfolded = Unfolded(nodes, _node(before["output"], len(nodes)), places)
    nodes = _nodes(shape, told["nodes"], arrays)
    remarks = {str(name): str(text) for name, text in told["remarks"].items()}
    network = Network(nodes, _node(told["output"], len(nodes)), shape, remarks=remarks, unfolded=unfolded)
    return network.in_precision(told["precision"])


def _nodes(shape: tuple[int, ...], told: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]) -> tuple[Node, ...]:
    """The nodes, made and checked as a builder does, each of the size that is told."""
    builder = NetworkBuilder(shape, told[0]["name"])
    for k, node in enumerate(told):
        if k and "terms" in node:
            terms = [Term(_node(t["source"], k), _operator(t, arrays)) for t in node["terms"]]
            error = None if node["bias_error"] is None else arrays[node["bias_error"]]
            if error is not None:
                _demand(
                    error.shape == (node["size"],) and error.dtype == np.float64 and bool((error >= 0).all()),
                    "bias_error",
                )
            _demand(isinstance(node["at_once"], bool), "at_once")
            made = builder.linear(node["name"], terms, arrays[node["bias"]], error)
            linear = builder.nodes[made]
            assert isinstance(linear, LinearNode)
            builder.nodes[made] = replace(linear, at_once=node["at_once"])
        elif k:
            rows, kind, source = arrays[node["parameters"]], node["activation"], _node(node["source"], k)
            _demand(kind in ACTIVATIONS and rows.shape == (PARAMETER_ROWS, node["size"]), "activation")
            _demand(isinstance(builder.nodes[source], LinearNode), "source")
            names = ACTIVATIONS[kind].parameters
            _demand(not rows[len(names) :].any(), "parameters")
            builder.activation(node["name"], source, kind, dict(zip(names, rows, strict=False)))
        _demand(len(builder.nodes) == k + 1 and builder.size(k) == node["size"], "size")
    same = {k: k for k in range(len(told))}
    copies: dict[int, Array] = {}
    return tuple(frozen_node(node, same, copies) for node in builder.nodes)


def _operator(told: Mapping[str, Any], arrays: Mapping[str, Array]) -> LinearOperator:
    kind, sizes, roundings = told["operator"], [_whole(s) for s in told["sizes"]], _whole(told["roundings"])
    _demand(kind in _OPERATORS, "operator")
    held = [arrays[name] for name in told["arrays"]]
    if kind == "identity":
        return Identity(sizes[0])
    if kind == "dense":
        _demand(held[0].ndim == 2, "dense")
        return Dense(held[0], roundings=roundings)
    if kind == "diagonal":
        _demand(held[0].ndim == 1, "diagonal")
        return Diagonal(held[0], roundings=roundings)
    if kind == "sparse":
        _demand(all(a.ndim == 1 for a in held) and all(a.dtype.kind == "i" for a in held[1:]), "sparse")
        matrix = csr_array((held[0], held[1], held[2]), shape=(sizes[0], sizes[1]))
        matrix.check_format(full_check=True)
        return Sparse(matrix, roundings=roundings)
    _demand(len(sizes) == _GEOMETRY_FIELDS + 1 and min(sizes[:13]) >= 1, "convolution")
    g = Geometry(*sizes[:_GEOMETRY_FIELDS])
    expected = (g.out_channels, g.channels // g.groups, g.kernel_height, g.kernel_width)
    _demand(held[0].shape == expected, "convolution")
    _demand(g.channels % g.groups == 0 and g.out_channels % g.groups == 0, "convolution")
    reach = g.top < g.kernel_height * g.dilation_y and g.left < g.kernel_width * g.dilation_x
    _demand(reach and min(g.top, g.left) >= 0, "convolution")
    return Convolution(held[0], g, transposed=bool(sizes[-1]), roundings=roundings)


def _node(index: Any, count: int) -> int:
    _demand(0 <= _whole(index) < count, "source")
    return int(index)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is no size")
    return value


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} does not fit")
