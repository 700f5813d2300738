"""Parameters as networks hold them: real numbers, read-only, in C order, each copied at most once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from distverify.errors import ModelError
from distverify.network.linear.operator import Array
from distverify.network.nodes import ActivationNode, LinearNode, Node, Term

_MAX_EXACT_INTEGER = 2.0**53


def real_numbers(what: str, array: ArrayLike) -> Array:
    """``array`` as float64; itself where it is that already."""
    values = np.asarray(array)
    if values.dtype.kind not in "fiu" or values.dtype.itemsize > 8:
        raise ModelError(
            f"{what}: values of type {values.dtype} are not supported; give real numbers of at most 64 bits"
        )
    if values.dtype.kind in "iu" and (np.abs(values.astype(np.float64)) > _MAX_EXACT_INTEGER).any():
        raise ModelError(f"{what}: whole numbers beyond 2^53 have no exact float64; give floating-point numbers")
    return np.asarray(values, dtype=np.float64)


def frozen_node(node: Node, place: Mapping[int, int], copies: dict[int, Array]) -> Node:
    """``node`` with arrays that nobody can change, reading nodes where ``place`` has put them.

    ``copies`` holds arrays that are copied already, by identity.
    """
    if isinstance(node, LinearNode):
        constant = partial(_constant_array, f"{node.name}: W", copies)
        terms = tuple(Term(place[t.source], t.operator.mapped(constant)) for t in node.terms)
        bias, error = (
            None if values is None else _constant_array(f"{node.name}: b", copies, values)
            for values in (node.bias, node.bias_error)
        )
        assert bias is not None
        return replace(node, terms=terms, bias=bias, bias_error=error)
    if isinstance(node, ActivationNode):
        parameters = _constant_array(f"{node.name}: parameters", copies, node.parameters)
        return replace(node, source=place[node.source], parameters=parameters)
    return node


def _constant_array(what: str, copies: dict[int, Array], values: Array) -> Array:
    """``values`` as a read-only, C-contiguous array of its own; itself where it is that already."""
    if not np.isfinite(values).all():
        raise ModelError(f"{what}: {int((~np.isfinite(values)).sum())} values are NaN or infinite; the model is broken")
    if values.flags.writeable or not (values.flags.c_contiguous and values.flags.aligned):
        if id(values) not in copies:
            copy = np.array(values, order="C")
            copy.flags.writeable = False
            copies[id(values)] = copy
        return copies[id(values)]
    return values
