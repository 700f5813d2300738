"""`recurjac`: recursive Jacobian bounds.

Source: Zhang, Zhang, Hsieh, AAAI 2019 (arXiv 1810.11783): where the sign of a derivative is unknown, the product's
worst case is taken and the recursion ends for that neuron.
"""

from __future__ import annotations

from distverify.bounds.columns import ColumnPush
from distverify.bounds.enclosure import Enclosure
from distverify.bounds.reduced import Floats


def push(enclosure: Enclosure, rows: Floats) -> ColumnPush:
    """The recursion for ``rows`` float64 [K, outputs]; its ``bound()`` gives the bounds."""
    return ColumnPush(enclosure, rows, chord=False)
