"""Whether two result files hold the same bits: ``python -m tests.same_bits A.h5 B.h5`` exits 1 and says where they differ."""

from __future__ import annotations

import sys

import h5py
import numpy as np

# What depends on the clock, not on the bounds.
TIMES = {"seconds"}


def differences(first: str, second: str) -> list[str]:
    """One line for every variable that only one file has, or whose type, shape or bytes differ; times are left out."""
    with h5py.File(first) as a, h5py.File(second) as b:
        lines = [f"{name}: only in {first if name in a else second}" for name in sorted(set(a) ^ set(b))]
        for name in sorted((set(a) & set(b)) - TIMES):
            x, y = a[name], b[name]
            if (x.dtype, x.shape) != (y.dtype, y.shape):
                lines.append(f"{name}: {x.dtype} {x.shape} against {y.dtype} {y.shape}")
            elif x.dtype.hasobject:
                if not np.array_equal(x[()], y[()]):
                    lines.append(f"{name}: texts differ")
            elif x[()].tobytes() != y[()].tobytes():
                u, v = np.asarray(x[()]).reshape(-1), np.asarray(y[()]).reshape(-1)
                other = ~((u == v) | ((u != u) & (v != v)))
                lines.append(f"{name}: {int(other.sum())} of {other.size} values differ")
        return lines


def main() -> int:
    lines = differences(*sys.argv[1:3])
    print("\n".join(lines) or "the same bits")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
