"""Building the reduced network, node by node, while the bounds are found.

Shared stable propagation (stable neurons have one slope for all rows, sides and signs): each node's value is kept as an affine
function of the groups so far, so that a linear node costs one matrix product over its stable inputs.

Rounding. A product of a stable chain is off by at most gamma_n |W| |M| entrywise. Its effect on values is carried along, as a
vector (through |W|) and as a 2-norm (through the spectral norm), whichever is smaller: the first is tighter for few layers, the
second does not explode with depth. See docs/ROUNDING.md, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.edges import edge, weighted_sums
from distverify.bounds.reduced import Affine, Floats, Group, Indices, Lines, Pair, Product, Reduced
from distverify.kernels.interval import push_dense_vectors
from distverify.kernels.sums import abs_sums, column_norms, vector_norm
from distverify.network.linear.dense import Dense
from distverify.network.linear.identity import Identity
from distverify.network.linear.operator import LinearOperator
from distverify.network.nodes import ActivationNode, LinearNode

# Whether neurons, given their numbers and bounds, depend on more than these.
Test = Callable[[Indices, Floats, Floats], NDArray[np.bool_]]
_NONE = np.zeros(0, dtype=np.int64)
# Shared products are given up when their rounding could matter: relative to the sizes of what they sum, in unit roundoffs.
_LARGEST_ERROR = 2.0**26
# Multiplications that take as long as the extra steps of folding one node, about 30 microseconds.
_OVERHEAD = 5e5


@dataclass(frozen=True, eq=False)
class _Map:
    """A node's value as ``matrix @ (members of all groups, columns start:stop) + constant``; see :class:`Affine`."""

    matrix: Floats
    start: int
    constant: Floats
    error: Floats
    error_norm: float
    size: Floats

    @property
    def stop(self) -> int:
        return self.start + int(self.matrix.shape[1])


@dataclass(frozen=True, eq=False)
class _Activated:
    """An activation's value: ``slope * source + constant`` on the neurons ``stable``, a group's members on ``kept``."""

    source: _Map
    stable: Indices
    slope: Floats
    constant: Floats
    kept: Indices
    column: int
    magnitude: Floats


class Reduction:
    """Turns a network into a :class:`Reduced` one as its bounds become known.

    Parameters
    ----------
    reduced : Reduced
        Holds the input group already; is added to.
    fold : bool, optional
        By default, wherever it saves time. False keeps every neuron that is not constant: the plain propagation.
    """

    def __init__(self, reduced: Reduced, fold: bool | None = None) -> None:
        self.reduced = reduced
        self.fold = fold
        self._tolerated = _LARGEST_ERROR * reduced.rounding.unit
        self._maps: dict[int, _Map | _Activated] = {}
        self._offsets = [0, reduced.groups[0].size]
        self._alpha = reduced.groups[0].magnitude
        self._last: tuple[int, Affine] | None = None

    def rows(self, index: int, node: LinearNode, which: Indices) -> Affine:
        """Neurons ``which``, ascending, of linear node ``index``, the last one, in terms of the groups so far."""
        if self._last is None or self._last[0] != index:
            self._last = index, self.linear(index, node)
        return self._last[1].take(which)

    def open_rows(
        self, index: int, node: LinearNode, which: Indices, bounds: Pair | None, is_open: Test | None
    ) -> tuple[Indices, Affine, Pair]:
        """As :meth:`rows`, those that stay open for ``is_open``; and bounds, float64 [n], of all of them, never looser than ``bounds``.

        Whole maps have all rows.
        """
        nothing = np.full(which.size, np.inf)
        return which, self.rows(index, node, which), (-nothing, nothing) if bounds is None else bounds

    def note(self, index: int, lower: Floats, upper: Floats) -> None:
        """Take ``lower`` and ``upper`` float64 [size] as bounds of the values of node ``index``; forward products need none."""

    def linear(self, index: int, node: LinearNode) -> Affine:
        """Fold linear node ``index``; its value in terms of the groups so far."""
        parts = [self._term(index, term.source, term.operator) for term in node.terms]
        if len(parts) == 1:
            part = parts[0]
            matrix, start = part.matrix, part.start
        else:
            start, stop = min(p.start for p in parts), max(p.stop for p in parts)
            matrix = np.zeros((node.size, stop - start), self.reduced.rounding.dtype)
            for p in parts:
                matrix[:, p.start - start : p.stop - start] += p.matrix
                self._note_rounding(index, p.matrix, p.start, len(parts))
        constant = node.bias + sum(p.constant for p in parts)
        size = abs_sums(np.ascontiguousarray(matrix), self._alpha[start : start + matrix.shape[1]]) + np.abs(constant)
        # The sums of parts and bias: a few more roundings of magnitudes that these sizes bound
        summed = np.abs(node.bias) + sum(np.abs(p.constant) for p in parts)
        if len(parts) > 1:
            for p in parts:
                summed = summed + abs_sums(np.ascontiguousarray(p.matrix), self._alpha[p.start : p.stop])
        # (and the rounding of weights, in the model and to the precision of the products).
        inexact = max(term.operator.roundings for term in node.terms)
        local = self.reduced.rounding.gamma(len(parts) + 3 + inexact) * (size + summed) + self._weight_underflow(parts)
        if node.bias_error is not None:
            local = local + node.bias_error
        error = local + sum(p.error for p in parts)
        error_norm = vector_norm(local) + sum(p.error_norm for p in parts)
        folded = _Map(matrix, start, constant, error, error_norm, size)
        self._maps[index] = folded
        return self._affine(folded)

    def _term(self, index: int, source: int, operator: LinearOperator) -> _Map:
        """``operator`` applied to node ``source``."""
        if source == 0:
            matrix = self._exact(index, operator, operator.rows(), 0)
            nothing = np.zeros(operator.out_size)
            return _Map(matrix, 0, nothing, nothing, 0.0, nothing)
        value = self._maps[source]
        if isinstance(value, _Map):
            every = np.arange(value.constant.size)
            value = _Activated(value, every, np.ones(every.size), np.zeros(every.size), _NONE, 0, value.size)
        below = value.source
        if not value.stable.size and not value.constant.any():
            # Nothing to fold: the operator's own columns, exactly.
            empty = np.zeros((operator.out_size, 0), self.reduced.rounding.dtype)
            any_kept = value.kept.size > 0
            matrix = self._exact(index, operator, operator.columns(value.kept), value.column) if any_kept else empty
            nothing = np.zeros(operator.out_size)
            return _Map(matrix, value.column, nothing, nothing, 0.0, nothing)
        gamma = self.reduced.rounding.gamma(operator.push_terms + 4)
        steepest = float(np.abs(value.slope).max(initial=0.0))
        # Entries of the product that underflow, and slopes times entries that do, act on everything that the columns hold.
        held = float(self._alpha[below.start : below.stop].sum()) + 1.0
        underflow = self.reduced.rounding.eta * (operator.push_terms + 2)
        straight = bool((value.slope == 1.0).all())
        scaled = 0.0 if straight else self.reduced.rounding.eta * held
        pushed_constant, sizes, carried = _push_vectors(operator, value, scaled)
        local = gamma * sizes + underflow * held
        # Weights that underflow to the precision of the products lose that much of everything that they multiply.
        lost = self._lost
        if lost > 0.0:
            local += lost * float((np.abs(value.slope) * below.size[value.stable]).sum())
        below_norm = steepest * below.error_norm + scaled * math.sqrt(value.stable.size)
        passed = np.fmin(carried, operator.row_norms * below_norm)
        error_norm = vector_norm(local) + operator.norm * below_norm
        start, stop = below.start, below.stop
        if value.stable.size:
            folded = below.matrix[value.stable]
            if not straight:
                folded *= value.slope[:, None]
            matrix = operator.push(folded, value.stable)
            norms = self._by_group(column_norms(folded), start)
            lost *= math.sqrt(value.stable.size)
            self.reduced.products.append(Product(index, source, operator, value.stable, norms, gamma, underflow, lost))
        else:
            start = stop = value.column
            matrix = np.zeros((operator.out_size, 0), self.reduced.rounding.dtype)
        if value.kept.size:
            gap = value.column - stop
            columns = self._exact(index, operator, operator.columns(value.kept), value.column)
            parts = [matrix, np.zeros((operator.out_size, gap), matrix.dtype), columns] if gap else [matrix, columns]
            matrix = np.concatenate(parts, axis=1) if matrix.shape[1] or gap else columns
        return _Map(matrix, start, pushed_constant, local + passed, error_norm, sizes)

    def activation(
        self, index: int, node: ActivationNode, slopes: tuple[Floats, Floats], lines: Lines | None, z: tuple[Floats, Floats],
        magnitude: Floats,
    ) -> None:  # fmt: skip
        """Decide which neurons of activation node ``index`` stay explicit, and make them a group."""
        glo, ghi = slopes
        live = (glo != 0.0) | (ghi != 0.0)
        fixed = (glo == ghi) & ~live
        if lines is not None:
            su, cu, sl, cl = lines
            fixed = (glo == ghi) & (su == sl) & (cu == cl) & (su == glo)
        kept = ~fixed
        if not self._worth_folding(node.source, int(kept.sum()), int((kept | live).sum())):
            kept = kept | live
        constant = np.zeros(node.size)
        if lines is not None:
            constant[~kept] = lines[1][~kept]
        stable = np.flatnonzero(~kept & live)
        members = np.flatnonzero(kept)
        column = self._offsets[-1]
        if members.size:
            affine = self._members(node.source, members)
            picked: Lines | None = None
            if lines is not None:
                picked = (lines[0][members], lines[1][members], lines[2][members], lines[3][members])
            interval = z[0][members], z[1][members]
            z_magnitude = np.zeros(members.size)
            if not self.reduced.region.unbounded:
                z_magnitude = np.maximum(np.abs(interval[0]), np.abs(interval[1]))
            loss, underflow = self._pull_loss(affine, z_magnitude)
            group = Group(
                index, affine, (glo[members], ghi[members]), picked, magnitude[members], loss, underflow, members,
                node.code, np.ascontiguousarray(node.parameters[:, members]), interval,
            )  # fmt: skip
            self.reduced.groups.append(group)
            self._offsets.append(column + members.size)
            self._alpha = np.concatenate([self._alpha, magnitude[members]])
        self._remember(index, node.source, stable, glo[stable], constant, members, column, magnitude)

    def _members(self, source: int, members: Indices) -> Affine:
        """Neurons ``members`` of the linear node ``source``."""
        return self._affine(_rows(self._map(source), members))

    def _remember(
        self, index: int, source: int, stable: Indices, slope: Floats, constant: Floats, members: Indices, column: int,
        magnitude: Floats,
    ) -> None:  # fmt: skip
        """Keep what activation node ``index`` does, for the nodes that read it."""
        self._maps[index] = _Activated(self._map(source), stable, slope, constant, members, column, magnitude)

    def _map(self, source: int) -> _Map:
        below = self._maps[source]
        if not isinstance(below, _Map):
            raise AssertionError("an activation reads a linear node")
        return below

    def _pull_loss(self, affine: Affine, z_magnitude: Floats) -> tuple[Floats, float]:
        """Of a unit coefficient of z: in fl(slope * coefficient), in z itself, and in the product with each edge."""
        rounding = self.reduced.rounding
        loss = rounding.unit * z_magnitude + affine.error
        for source, matrix in affine.edges.items():
            # Products that are added to the same coefficients later round them too, once for every group.
            gamma = rounding.gamma(matrix.pull_terms + len(self.reduced.groups))
            loss = loss + gamma * weighted_sums(matrix, self.reduced.groups[source].magnitude)
        held = float(self._alpha.sum()) + 1.0
        return loss, rounding.eta * 4.0 * (
            loss.size * held + float(z_magnitude.sum()) + float(np.abs(affine.constant).sum())
        )

    def forget(self, node: int) -> None:
        """Free what is kept of a node that nothing reads any more."""
        self._maps.pop(node, None)

    def finish(self, output: int) -> None:
        """Record the network's output in terms of the groups."""
        value = self._maps[output]
        if isinstance(value, _Activated):
            # Written out as a linear node that passes the activation on.
            identity = Dense(np.eye(value.constant.size))
            value = self._term(output, output, identity)
            size = abs_sums(np.ascontiguousarray(value.matrix), self._alpha[value.start : value.stop]) + np.abs(
                value.constant
            )
            value = _Map(value.matrix, value.start, value.constant, value.error, value.error_norm, size)
        self.reduced.output = self._affine(value)

    def _worth_folding(self, source: int, unstable: int, live: int) -> bool:
        """Whether chains that pass this node are cheaper with its stable neurons multiplied out.

        Counted multiplications per chain: into the node's group and on to the next one, whose size is guessed to be a
        quarter more than this one's; folded, the next group also reads everything that this one reads. What folding saves
        must outweigh its own steps, so that small networks are not folded.
        """
        if self.fold is False:
            return False
        below = self._map(source)
        if float(below.error.max(initial=0.0)) > self._tolerated * float(below.size.max(initial=0.0)):
            return False
        return self._saves(below.constant.size, int(below.matrix.shape[1]), unstable, live)

    def _saves(self, size: int, width: int, unstable: int, live: int) -> bool:
        """Whether the counted multiplications of chains fall: of ``size`` neurons, that read ``width`` members of groups."""
        following = min(1.25 * unstable, live)
        folded = following * (width + unstable) + unstable * width
        saved = following * live + live * width - folded
        if self.fold:
            return saved >= 0
        # CROWN alone runs two chains for every neuron that reads this node's.
        return saved * 2 * size > _OVERHEAD

    def _groups(self, start: int, stop: int) -> list[tuple[int, tuple[int, int]]]:
        """The groups whose columns lie in start:stop, with those columns."""
        ends = self._offsets
        return [(g, (ends[g], ends[g + 1])) for g in range(len(ends) - 1) if ends[g] < stop and ends[g + 1] > start]

    def _by_group(self, columns: Floats, start: int) -> dict[int, Floats]:
        """Cut an array whose last axis is the columns from ``start`` on into one for each group."""
        stop = start + columns.shape[-1]
        return {g: columns[..., a - start : b - start] for g, (a, b) in self._groups(start, stop)}

    def _exact(self, index: int, operator: LinearOperator, weights: Floats, start: int) -> Floats:
        """Columns of ``operator`` as they are, in the precision of the products; what they are off by is noted."""
        kept = weights.astype(self.reduced.rounding.dtype, copy=False)
        roundings = operator.roundings + (0 if kept is weights else 1)
        if roundings:
            self._note_rounding(index, kept, start, roundings)
        return kept

    @property
    def _lost(self) -> float:
        """What a weight may lose to underflow when it is brought to the precision of the products."""
        rounding = self.reduced.rounding
        return rounding.eta if rounding.dtype != np.float64 else 0.0

    def _weight_underflow(self, parts: list[_Map]) -> float:
        """What that may do to a value."""
        if self._lost == 0.0:
            return 0.0
        return self._lost * sum(float(self._alpha[p.start : p.stop].sum()) for p in parts)

    def _note_rounding(self, index: int, matrix: Floats, start: int, times: int) -> None:
        """Entries that go into node ``index`` are rounded, as in a product of the identity with them."""
        size = matrix.shape[0]
        norms = self._by_group(column_norms(np.ascontiguousarray(matrix)), start)
        rounding = self.reduced.rounding
        product = Product(index, index, Identity(size), np.arange(size), norms, rounding.gamma(times), rounding.eta)
        self.reduced.products.append(product)

    def _affine(self, value: _Map) -> Affine:
        blocks = self._by_group(value.matrix, value.start)
        edges = {group: edge(np.ascontiguousarray(block)) for group, block in blocks.items()}
        return Affine(edges, value.constant, value.error, value.size)


def _push_vectors(operator: LinearOperator, value: _Activated, scaled: float) -> tuple[Floats, Floats, Floats]:
    """An activation's constants, sizes and errors through an operator; see :func:`push_dense_vectors`."""
    below, stable = value.source, value.stable
    if isinstance(operator, Dense):
        out, sizes, errors = np.empty((3, operator.out_size))
        push_dense_vectors(
            operator.weight, value.constant, stable, value.slope, below.constant, below.size, below.error, scaled,
            out, sizes, errors,
        )  # fmt: skip
        return out, sizes, errors
    constant, size, error = value.constant.copy(), np.abs(value.constant), np.zeros(value.constant.size)
    constant[stable] += value.slope * below.constant[stable]
    size[stable] += np.abs(value.slope) * below.size[stable]
    error[stable] = np.abs(value.slope) * below.error[stable] + scaled
    both = operator.push_abs(np.stack([size, error], axis=1))
    return operator.push(constant[:, None])[:, 0], both[:, 0], both[:, 1]


def _rows(value: _Map, which: Indices) -> _Map:
    if which.size == value.constant.size:
        return value
    return _Map(
        value.matrix[which], value.start, value.constant[which], value.error[which], value.error_norm, value.size[which]
    )
