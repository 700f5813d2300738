"""Rows times a sparse matrix, row by row: what a row gathers stays in the cache, and zeros cost nothing."""

from __future__ import annotations

from distverify.kernels.jit import f4, f8, i4, kernel, readonly, void, writable


@kernel(*(void(readonly(2, f), readonly(1, i4), readonly(1, i4), readonly(1, f), writable(2, f)) for f in (f8, f4)))
def add_sparse_product(rows, starts, indices, values, out):
    """out += rows @ W, with W in compressed rows: ``starts``, ``indices`` int32, ``values``."""
    for r in range(rows.shape[0]):
        source, target = rows[r], out[r]
        for i in range(source.shape[0]):
            a = source[i]
            if a != 0.0:
                for k in range(starts[i], starts[i + 1]):
                    target[indices[k]] += a * values[k]
