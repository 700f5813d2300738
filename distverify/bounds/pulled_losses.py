"""What rounding in rows that were pulled may do to derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from distverify.bounds.reduced import Floats, Indices, Reduced
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode


@dataclass(frozen=True, eq=False)
class Passed:
    """What an activation node does: ``slope * source + constant`` on ``stable``, a group's members on ``kept``."""

    source: int
    stable: Indices
    slope: Floats
    constant: Floats
    kept: Indices
    group: int


class Losses:
    """Magnitudes of derivatives, and of what rounding may do to them, on the ways that rows were pulled.

    ``fresh``: of neurons whose rows start at a node; ``carried``: of what was pulled to it; ``lost``: what that may be off by; each
    float64 [K, size].
    """

    def __init__(self, network: Network, reduced: Reduced, passed: Mapping[int, Passed], rows: Floats) -> None:
        self.reduced, self.passed, self.nodes = reduced, passed, network.nodes
        self.losses = [np.zeros((rows.shape[0], g.size)) for g in reduced.groups]
        self.fresh: dict[int, Floats] = {}
        self.carried: dict[int, Floats] = {}
        self.lost: dict[int, Floats] = {}
        self.ways: dict[int, int] = {}
        self.started = np.zeros((rows.shape[0], 1))
        output = network.output
        if isinstance(self.nodes[output], LinearNode):
            self._begin(output, np.abs(rows))
        else:
            self._arrive(output, np.abs(rows), np.zeros(rows.shape))

    def pass_node(self, index: int, psi: Floats) -> None:
        """``psi`` float64 [K, size] bounds the magnitudes of the rows' derivatives by the node's values."""
        node, unit = self.nodes[index], self.reduced.rounding.unit
        passed = self.passed.get(index)
        if passed is not None and passed.kept.size:
            glo, ghi = self.reduced.groups[passed.group].slopes
            begun = np.zeros((psi.shape[0], self.nodes[passed.source].size))
            begun[:, passed.kept] = psi[:, passed.kept] * np.maximum(np.abs(glo), np.abs(ghi))
            self._begin(passed.source, begun)
        carried, lost = self.carried.pop(index, None), self.lost.pop(index, None)
        if carried is not None and lost is not None and self.ways[index] > 1:
            lost = lost + 2.0 * unit * self.ways[index] * carried
        if index == 0:
            if lost is not None:
                self.losses[0] += lost
        elif isinstance(node, LinearNode):
            self._through_linear(node, self.fresh.pop(index, None), carried, lost)
        elif isinstance(node, ActivationNode) and passed is not None and carried is not None and lost is not None:
            if passed.kept.size:
                self.losses[passed.group] += lost[:, passed.kept]
            if passed.stable.size:
                slope = np.abs(passed.slope)
                through, off = np.zeros((2, carried.shape[0], self.nodes[passed.source].size))
                through[:, passed.stable] = carried[:, passed.stable] * slope
                off[:, passed.stable] = lost[:, passed.stable] * slope
                if not (slope == 1.0).all():
                    off += 3.0 * unit * through + 2.0 * self.reduced.rounding.eta * self.started
                self._arrive(passed.source, through, off)

    def _begin(self, index: int, begun: Floats) -> None:
        self.started += begun.sum(axis=1)[:, None]
        self.fresh[index] = self.fresh[index] + begun if index in self.fresh else begun

    def _arrive(self, index: int, carried: Floats, lost: Floats) -> None:
        self.ways[index] = self.ways.get(index, 0) + 1
        self.carried[index] = self.carried[index] + carried if index in self.carried else carried
        self.lost[index] = self.lost[index] + lost if index in self.lost else lost

    def _through_linear(
        self, node: LinearNode, fresh: Floats | None, carried: Floats | None, lost: Floats | None
    ) -> None:
        rounding = self.reduced.rounding
        for term in node.terms:
            operator = term.operator
            through, off = np.zeros((2, self.started.shape[0], operator.in_size))
            if fresh is not None:
                # Rows begin as weights, exact but for what they were stored with, and the precision of the products.
                begun = operator.pull_abs(fresh)
                times = operator.roundings + (0 if rounding.dtype == np.float64 else 1)
                through += begun
                if times:
                    off += rounding.gamma(times) * begun + rounding.eta * self.started
            if carried is not None and lost is not None:
                pulled, still_lost = np.split(operator.pull_abs(np.concatenate([carried, lost])), 2)
                through += pulled
                off += still_lost + rounding.gamma(operator.pull_terms + 4) * pulled
                off += rounding.eta * ((operator.pull_terms + 2) * self.started + carried.sum(axis=1)[:, None])
            self._arrive(term.source, through, off * 1.001)
