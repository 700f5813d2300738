"""Rows of open neurons in terms of the groups, on their way between workers: pulled once, by whoever bounds the neurons.

Without them every worker that goes on to the next layer would pull the open rows of all neurons again, those of others too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array, issparse

from distverify.bounds.edges import edge, entries, stacked
from distverify.bounds.reduced import Affine, Indices
from distverify.questions.pieces import Arrays

OpenRows = tuple[Indices, Affine]


def told(rows: OpenRows | None, node: int) -> Arrays:
    """``rows`` of ``node`` as named arrays."""
    if rows is None:
        return {}
    which, affine = rows
    arrays: Arrays = {
        f"open{node}": which, f"constant{node}": affine.constant, f"error{node}": affine.error, f"size{node}": affine.size,
        f"groups{node}": np.array(sorted(affine.edges), dtype=np.int64),
    }  # fmt: skip
    for group, of in affine.edges.items():
        matrix, name = entries(of), f"edge{node}.{group}"
        if issparse(matrix):
            arrays |= {f"{name}.data": matrix.data, f"{name}.indices": matrix.indices, f"{name}.starts": matrix.indptr}
            arrays[f"{name}.shape"] = np.array(matrix.shape)
        else:
            arrays[name] = matrix
    return arrays


def heard(answers: Sequence[Arrays], node: int) -> OpenRows | None:
    """The inverse of :func:`told`, of consecutive blocks; None where some block has none.

    Of a block without open neurons nothing is said of edges.
    """
    if any(f"open{node}" not in answer for answer in answers):
        return None
    which = np.concatenate([np.asarray(answer[f"open{node}"]) for answer in answers]).astype(np.int64)
    some = [answer for answer in answers if answer[f"open{node}"].size]
    if not some:
        return which, Affine({}, *np.zeros((3, 0)))
    groups = sorted({int(g) for answer in some for g in answer[f"groups{node}"]})
    if any(answer[f"groups{node}"].size < len(groups) for answer in some):
        return None
    edges = {g: edge(stacked([_matrix(answer, f"edge{node}.{g}") for answer in some])) for g in groups}
    constant, error, size = (
        np.concatenate([np.asarray(answer[f"{name}{node}"], np.float64) for answer in some])
        for name in ("constant", "error", "size")
    )
    return which, Affine(edges, constant, error, size)


def _matrix(answer: Arrays, name: str) -> Any:
    if name in answer:
        return np.ascontiguousarray(answer[name])
    parts = (np.array(answer[f"{name}.{part}"]) for part in ("data", "indices", "starts"))
    rows, columns = answer[f"{name}.shape"].tolist()
    return csr_array(tuple(parts), shape=(rows, columns))
