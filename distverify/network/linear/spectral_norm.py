"""An upper bound of a matrix's spectral norm."""

from __future__ import annotations

import numpy as np

from distverify.network.linear.operator import NORM_MARGIN, Array

# Larger ones are estimated by Lanczos steps: all eigenvalues cost some products of the matrix with itself.
_SMALL = 512


def spectral_norm_bound(weight: Array) -> float:
    """An upper bound of ||W||_2, usually within a millionth, proven by a Cholesky factorisation.

    s^2 I - W W^T is positive semidefinite, hence ||W||_2 <= s, if the factorisation succeeds with the diagonal lowered by the
    rounding of the product and of the factorisation (Rump, Verification of positive definiteness, BIT 46, 2006).
    """
    scale = float(np.abs(weight).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    w = weight / scale
    w = w if w.shape[0] <= w.shape[1] else w.T
    n = w.shape[0]
    gram = w @ w.T
    estimate = float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0))) if n <= _SMALL else _by_lanczos(gram)
    frobenius = float(np.linalg.norm(w)) * NORM_MARGIN
    for factor in (1.0 + 1e-6, 1.01, 1.05, 1.15, 1.4, 2.0):
        bound = estimate * factor
        # The product is off by gamma_n ||W||_F^2 at most, the factorisation by gamma_(n + 1) times the trace of what it factorises.
        margin = 4.0 * (sum(w.shape) + 4) * 2.0**-53 * (frobenius**2 + n * bound**2)
        shifted = -gram
        shifted[np.diag_indices(n)] += bound * bound - margin
        try:
            np.linalg.cholesky(shifted)
        except np.linalg.LinAlgError:
            continue
        return min(bound, frobenius) * scale * (1.0 + 1e-12)
    return frobenius * scale


def _by_lanczos(gram: Array) -> float:
    """About the root of the largest eigenvalue."""
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    start = np.random.default_rng(0).standard_normal(gram.shape[0])
    try:
        largest = eigsh(gram, k=1, which="LA", v0=start, tol=1e-9, return_eigenvectors=False)
    except ArpackNoConvergence as stopped:
        largest = stopped.eigenvalues if stopped.eigenvalues.size else np.zeros(1)
    return float(np.sqrt(max(float(largest[-1]), 0.0)))
