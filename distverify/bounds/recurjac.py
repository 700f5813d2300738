"""`recurjac`: recursive Jacobian bounds.

Source: Zhang, Zhang, Hsieh, AAAI 2019 (arXiv 1810.11783): where the sign of a derivative is unknown, the product's
worst case is taken and the recursion ends for that neuron.
"""

from __future__ import annotations

from distverify.bounds.chain import Chain
from distverify.bounds.columns import BLOCK_BYTES, ColumnPush
from distverify.kernels.rounding import Rounding


def push(chain: Chain, rounding: Rounding, block_bytes: int = BLOCK_BYTES) -> ColumnPush:
    """The recursion over ``chain``; its ``bound()`` gives the bounds."""
    return ColumnPush(chain, rounding, chord=False, block_bytes=block_bytes)
