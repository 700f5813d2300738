"""Half-spaces of the input in which all points of a subproblem lie: by the line of each split neuron, and of each constraint.

``z <= s`` for a pre-activation whose lower line is L, off by at most e, says L(t) - e - s <= 0; ``z >= s`` the same of -z. Source:
complete clipping, Clip-and-Verify (NeurIPS 2025).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distverify.bounds.packed import Indices, Lines, Packed, Rows
from distverify.bounds.reduced import Floats
from distverify.kernels.pull import fill_slopes, pull_rows
from distverify.kernels.sums import abs_sums


@dataclass(frozen=True, eq=False)
class HalfSpaces:
    """Inputs t of the packed network with ``half t + offset <= 0``; ``size`` float64 [S] holds sum |half|.

    Attributes
    ----------
    half, offset, size : float64 [S, n], [S], [S]
        Offsets hold the lines' rounding errors, on the side that keeps every point.
    coefficients : float64 [S, N]
        Of the neurons, in the rows that the half-spaces were pulled from.
    """

    half: Floats
    offset: Floats
    size: Floats
    coefficients: Floats

    @property
    def count(self) -> int:
        return int(self.offset.size)

    def with_room(self) -> HalfSpaces:
        """With a place for one more at the end, which is no constraint."""
        room = np.zeros((1, self.half.shape[1]))
        return HalfSpaces(
            np.concatenate([self.half, room]), np.append(self.offset, 0.0), np.append(self.size, 0.0),
            np.concatenate([self.coefficients, np.zeros((1, self.coefficients.shape[1]))]),
        )  # fmt: skip


def whole_ball(packed: Packed) -> HalfSpaces:
    """No constraint."""
    return HalfSpaces(np.zeros((0, packed.inputs)), np.zeros(0), np.zeros(0), np.zeros((0, packed.neurons)))


def together(first: HalfSpaces, second: HalfSpaces) -> HalfSpaces:
    """Those of both."""
    return HalfSpaces(
        *(np.concatenate([getattr(part, name) for part in (first, second)]) for name in HalfSpaces.__dataclass_fields__)
    )


def half_spaces(packed: Packed, rows: Rows, most: Floats, lines: Lines, slopes: Floats) -> HalfSpaces:
    """Where ``rows`` [S] are at most ``most`` [S]; ``slopes`` [S, N] of the lines below where free."""
    if rows.count == 0:
        return whole_ball(packed)
    below = np.empty_like(slopes)
    fill_slopes(lines.free, lines.sl, slopes, below)
    weight, constant, error = rows.weight.copy(), rows.constant.copy(), rows.error.copy()
    pull_rows(
        packed.weight, packed.begins, packed.ends, packed.bias, packed.loss, lines.su[None], lines.cu[None], below, lines.cl[None],
        packed.gamma, packed.underflow, rows.top, weight, constant, error,
    )  # fmt: skip
    n = packed.inputs
    half = np.ascontiguousarray(weight[:, :n])
    error = 1.001 * (error + packed.rounding.gamma(2) * (np.abs(constant) + np.abs(most)))
    offset = np.nextafter(constant - most - error, -np.inf) - packed.rounding.tiny
    offset = np.where(np.isnan(offset), -np.inf, offset)
    size = abs_sums(half, np.ones(n)) * (1.0 + packed.gamma_cut(0))
    return HalfSpaces(half, offset, size, np.ascontiguousarray(weight[:, n:]))


def neuron_rows(packed: Packed, neurons: Indices, signs: Floats) -> Rows:
    """``signs`` times the pre-activations of ``neurons``, [S] each, as rows."""
    weight = np.zeros((neurons.size, packed.weight.shape[1]))
    np.multiply(packed.weight[neurons], signs[:, None], out=weight)
    return Rows(weight, signs * packed.bias[neurons], packed.loss[neurons], packed.ends[neurons] - packed.inputs)
