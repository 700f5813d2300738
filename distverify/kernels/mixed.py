"""Lines and split points of neurons of several kinds side by side."""

from __future__ import annotations

import numpy as np

from distverify.kernels.activations import MAX_BREAKS, breakpoints
from distverify.kernels.jit import i8, kernel, readonly, void, writable
from distverify.kernels.relaxations import neuron_lines
from distverify.kernels.table import PIECES, integer


@kernel(void(readonly(1, i8), readonly(1), readonly(1), readonly(2), writable(2)))
def fill_mixed_lines(codes, lower, upper, parameters, out):
    """Rows su, cu, sl, cl of ``out`` [4, n]: lines above and below activations of several kinds, ``codes`` [n]."""
    scratch = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        out[0, i], out[1, i], out[2, i], out[3, i] = neuron_lines(
            codes[i], lower[i], upper[i], parameters[0, i], parameters[1, i], scratch
        )


@kernel(void(readonly(1, i8), readonly(1), readonly(1), readonly(2), writable(1)))
def fill_places(codes, lower, upper, parameters, out):
    """Where each neuron is best split: a kink inside of [lower, upper], the middle where there is none."""
    scratch = np.empty(MAX_BREAKS)
    for i in range(lower.shape[0]):
        out[i] = 0.5 * lower[i] + 0.5 * upper[i]
        if integer(codes[i], PIECES) > 0:
            count = breakpoints(codes[i], lower[i], upper[i], parameters[0, i], parameters[1, i], scratch)
            if count > 0:
                out[i] = scratch[count // 2]
