"""`linear`: Jacobian bounds by linear relaxation of every product slope x derivative.

Source: Shi, Wang, Zhang, Kolter, Hsieh, NeurIPS 2022 (arXiv 2210.07394): where the sign of a derivative is unknown, the
product is bounded by chords. Never looser than `recurjac`, at the same order of cost.
"""

from __future__ import annotations

from distverify.bounds.chain import Chain
from distverify.bounds.columns import BLOCK_BYTES, ColumnPush
from distverify.kernels.rounding import Rounding


def push(chain: Chain, rounding: Rounding, block_bytes: int = BLOCK_BYTES) -> ColumnPush:
    """The recursion over ``chain``; its ``bound()`` gives the bounds."""
    return ColumnPush(chain, rounding, chord=True, block_bytes=block_bytes)
