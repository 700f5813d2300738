"""Rows times a sparse matrix, row by row: what a row gathers stays in the cache, and zeros cost nothing."""

from __future__ import annotations

from numba import types

from distverify.kernels.jit import kernel, readonly, writable


@kernel(
    *(
        types.void(readonly(2, f), readonly(1, types.int32), readonly(1, types.int32), readonly(1, f), writable(2, f))
        for f in (types.float64, types.float32)
    )
)
def add_sparse_product(rows, starts, indices, values, out):
    """out += rows @ W, with W in compressed rows: ``starts``, ``indices`` int32, ``values``."""
    for r in range(rows.shape[0]):
        source, target = rows[r], out[r]
        for i in range(source.shape[0]):
            a = source[i]
            if a != 0.0:
                for k in range(starts[i], starts[i + 1]):
                    target[indices[k]] += a * values[k]
