"""One sample's analysis with its bounds computed in pieces by a crew of workers.

What runs here is cheap: searches, the activations' slopes, putting results together. Products with weights are all the crew's, apart
from the logits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.facts import Wanted, row_facts
from distverify.analysis.requests import (
    Block,
    Chains,
    Columns,
    Gradients,
    Margins,
    Merged,
    Neurons,
    Place,
    Recursion,
    Request,
    Shape,
    Vector,
    column_name,
    cut,
    digest,
    make_piece,
    region_arrays,
    rows_arrays,
    share,
)
from distverify.analysis.sample import analyse_through
from distverify.bounds.columns import BLOCK_BYTES
from distverify.bounds.enclosure import Steepness, tight_nodes
from distverify.bounds.methods import WITHOUT_RECURSION, RowBounds
from distverify.errors import SettingsError
from distverify.kernels import relaxations
from distverify.network.graph import Network
from distverify.network.nodes import ActivationNode, LinearNode
from distverify.questions.pieces import Arrays, Crew
from distverify.region import Ball
from distverify.settings import Settings
from distverify.work import Sample, SampleResult

Floats = NDArray[np.float64]

# Regions whose bounds are kept here, as far as they fit: searches come back to the sample itself, and to the radii of the run.
_KEPT_BYTES = 64_000_000
# Nodes or groups that are bounded in one go, and the blocks that they are cut into: one, where they are several.
Stage = tuple[tuple[int, ...], Sequence[Block]]


@dataclass(frozen=True)
class Cuts:
    """What no piece is smaller than, unless the whole is.

    Attributes
    ----------
    rows, neurons, columns : int
        Chain rows (output rows, margins or inputs), neurons of a layer, members of a group.
    work : float
        Multiplications, about: a piece's way there and back is worth some milliseconds of them.
    """

    rows: int = 16
    neurons: int = 64
    columns: int = 64
    work: float = 2e7


def analyse_in_pieces(
    network: Network,
    sample: Sample,
    settings: Settings,
    pieces: int,
    crew: Crew,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> SampleResult:
    """Compute what ``settings`` ask for around one sample, every bound by ``crew``.

    The same results as :func:`distverify.analysis.sample.analyse_sample`: to the bit with one piece, else up to rounding, since
    sums over blocks of another size may be taken in another order.

    Parameters
    ----------
    network, sample, settings : see :func:`analyse_sample`
    pieces : int
        About how many pieces every request is cut into.
    crew : Crew
        Its workers compute pieces by a :class:`distverify.analysis.piece_worker.BoundsWorker` of the same network.
    block_bytes : int
        Memory for the columns in flight, in each worker.
    """
    return analyse_through(
        InPieces(network, crew, pieces, settings.method, settings.layer_bounds, block_bytes), sample, settings
    )


@dataclass(frozen=True, eq=False)
class Known:
    """What is known of one region: see :class:`distverify.bounds.enclosure.Steepness`.

    Attributes
    ----------
    place : Place
    arrays : dict
        The region, and "lower<node>", "upper<node>" of every linear node.
    """

    network: Network
    place: Place
    arrays: Arrays
    slopes: dict[int, tuple[Floats, Floats]]

    @property
    def nbytes(self) -> int:
        return 2 * sum(values.nbytes for values in self.arrays.values())  # the slopes are about as many


@dataclass(eq=False)
class InPieces:
    """A :class:`distverify.analysis.bounder.Bounder` that has everything computed by a crew.

    Attributes
    ----------
    network : Network
    crew : Crew
    pieces : int
        About how many pieces every request is cut into, at least 1.
    method, layer_bounds : see :func:`distverify.jacobian_bounds`
    block_bytes : int
        Memory for the columns in flight, in each worker.
    cuts : Cuts
    """

    network: Network
    crew: Crew
    pieces: int
    method: str = "linear"
    layer_bounds: str = "crown"
    block_bytes: int = BLOCK_BYTES
    cuts: Cuts = field(default_factory=Cuts)

    def __post_init__(self) -> None:
        if self.pieces < 1:
            raise SettingsError(f"pieces: got {self.pieces}; give a whole number of at least 1")
        self._stages = _stages(self.network, self.layer_bounds, self.pieces, self.cuts)
        self._known: OrderedDict[str, Known] = OrderedDict()

    def enclose(self, region: Ball) -> Known:
        """See :class:`distverify.analysis.bounder.Bounder`."""
        arrays = region_arrays(region)
        key = digest(arrays)
        known = self._known.pop(key, None) or self._enclose(Place(key, self.layer_bounds), arrays)
        self._known[key] = known
        while len(self._known) > 1 and sum(k.nbytes for k in self._known.values()) > _KEPT_BYTES:
            self._known.popitem(last=False)
        return known

    def margins(self, known: Steepness, rows: Floats) -> Floats:
        """See :class:`distverify.analysis.bounder.Bounder`."""
        here = _known(known)
        blocks = cut(rows.shape[0], self.pieces, self.cuts.rows)
        found = self._ask([(Margins(here.place), b) for b in blocks], {**here.arrays, **rows_arrays(rows)})
        return _joined(found, "lower")

    def gradient_norms(self, x0: Floats, rows: Floats, norm: float, weights: Floats | None) -> Floats:
        """See :class:`distverify.analysis.bounder.Bounder`."""
        blocks = cut(rows.shape[0], self.pieces, self.cuts.rows)
        found = self._ask([(Gradients(norm), b) for b in blocks], {"x0": x0, **rows_arrays(rows), **_weights(weights)})
        return _joined(found, "norms")

    def rows(self, known: Steepness, rows: Floats, wanted: Wanted) -> Arrays:
        """See :class:`distverify.analysis.bounder.Bounder`."""
        here = _known(known)
        facts = self._row_facts(here, rows, wanted)
        if "vector" in wanted.facts:
            steepest = np.zeros(len(self.network.nodes))
            for index, (glo, ghi) in here.slopes.items():
                steepest[index] = max(float(np.abs(glo).max()), float(np.abs(ghi).max()))
            asked = {"constants": facts["constants"], "parts": facts.pop("parts"), "steepest": steepest}
            found = self._ask([(Vector(wanted.norm), (0, rows.shape[0]))], {**asked, **_weights(wanted.weights)})
            facts["vector"] = found[0]["vector"]
            if "constants" not in wanted.facts:
                del facts["constants"]
        return facts

    def _enclose(self, place: Place, arrays: Arrays) -> Known:
        for nodes, blocks in self._stages:
            found = self._ask([(Neurons(place, nodes), block) for block in blocks], arrays)
            bounds = {f"{side}{node}": _joined(found, f"{side}{node}") for node in nodes for side in ("lower", "upper")}
            arrays = {**arrays, **bounds}
        slopes = {}
        for index, node in enumerate(self.network.nodes):
            if isinstance(node, ActivationNode):
                lower, upper = (np.array(arrays[f"{side}{node.source}"], np.float64) for side in ("lower", "upper"))
                with np.errstate(over="ignore", invalid="ignore"):
                    _, _, _, _, glo, ghi, _, _ = relaxations.relax(node.code, lower, upper, node.parameters)
                slopes[index] = glo, ghi
        return Known(self.network, place, arrays, slopes)

    def _row_facts(self, known: Known, rows: Floats, wanted: Wanted) -> Arrays:
        """All of :attr:`Wanted.parts`."""
        matrix = rows_arrays(rows)
        how = Recursion(self.method, wanted.direction, digest(matrix), self.block_bytes)
        arrays = {**known.arrays, **matrix, **_weights(wanted.weights)}
        asking = _Asking(self, known.place, arrays, rows.shape[0], wanted)
        if self.method in WITHOUT_RECURSION:
            return asking.chains(replace(how, direction="backward"))
        shape = None
        if how.direction == "auto":
            # As in bound_rows: with fewer rows than inputs the forward order is not worth a look.
            direction = "backward"
            if self.network.input_size < rows.shape[0]:
                shape = asking.shape(how)
                direction = "forward" if bool(shape["forward"]) else "backward"
            how = replace(how, direction=direction)
        if how.direction == "both":
            lower, upper = asking.bounds(replace(how, direction="forward"))
            asking.arrays |= {"other_lower": lower, "other_upper": upper}
            how = replace(how, direction="backward")
        if how.direction == "forward":
            lower, upper = asking.bounds(how, shape)
            return row_facts(RowBounds(lower, upper), wanted.parts, wanted.norm, wanted.weights)
        if self._few(rows.shape[0]):
            return asking.columns(how, shape)
        return asking.chains(how)

    def _few(self, chains: int) -> bool:
        """Whether so few chains are better cut by columns."""
        return self.pieces > 1 and 2 * len(cut(chains, self.pieces, self.cuts.rows)) <= self.pieces

    def _ask(self, asked: Sequence[tuple[Request, Block]], arrays: Arrays) -> list[Arrays]:
        shared = share(arrays)
        return self.crew.map([make_piece(request, block, shared) for request, block in asked], shared)


@dataclass(eq=False)
class _Asking:
    """One question about the derivatives of ``count`` rows."""

    bounder: InPieces
    place: Place
    arrays: Arrays
    count: int
    wanted: Wanted

    def chains(self, how: Recursion) -> Arrays:
        """The parts that are wanted, from blocks of rows."""
        found = self._chains(how, self.count, self.wanted.parts)
        return {name: _joined(found, name) for name in found[0]}

    def bounds(self, how: Recursion, shape: Arrays | None = None) -> tuple[Floats, Floats]:
        """Of the forward recursion, lower and upper float64 [K, inputs]."""
        inputs = self.bounder.network.input_size
        if self.bounder._few(inputs):
            lower, upper, _ = self._by_columns(how, inputs, shape)
        else:
            found = self._chains(how, inputs, ("bounds",))
            lower, upper = _joined(found, "lower"), _joined(found, "upper")
        return np.ascontiguousarray(lower.T), np.ascontiguousarray(upper.T)

    def columns(self, how: Recursion, shape: Arrays | None) -> Arrays:
        """The parts that are wanted, from blocks of columns of one group after the other."""
        wanted = self.wanted
        lower, upper, blocks = self._by_columns(how, self.count, shape)
        if "other_lower" in self.arrays:
            lower, upper = np.fmax(lower, self.arrays["other_lower"]), np.fmin(upper, self.arrays["other_upper"])
        if "constants" not in wanted.parts or wanted.norm != np.inf:
            return row_facts(RowBounds(lower, upper), wanted.parts, wanted.norm, wanted.weights)
        request = Merged(self.place, how, wanted.parts, wanted.norm)
        self.arrays |= {"lower": lower, "upper": upper}
        found = self.bounder._ask([(request, b) for b in blocks], self.arrays)
        return {name: _joined(found, name) for name in found[0]}

    def shape(self, how: Recursion) -> Arrays:
        """See :class:`Shape`."""
        return self.bounder._ask([(Shape(self.place, how), (0, 1))], self.arrays)[0]

    def _chains(self, how: Recursion, count: int, parts: tuple[str, ...]) -> list[Arrays]:
        request = Chains(self.place, how, parts, self.wanted.norm)
        blocks = cut(count, self.bounder.pieces, self.bounder.cuts.rows)
        return self.bounder._ask([(request, block) for block in blocks], self.arrays)

    def _by_columns(self, how: Recursion, count: int, shape: Arrays | None) -> tuple[Floats, Floats, Sequence[Block]]:
        """Bounds of ``count`` chains, lower and upper float64 [count, n], and the blocks of chains that moved at once."""
        shape = self.shape(how) if shape is None else shape
        at_once = int(shape["rows"])
        blocks = [(k, min(k + at_once, count)) for k in range(0, count, at_once)]
        self.arrays["structure"] = shape["structure"]
        sizes, work = (np.asarray(shape[name], np.float64) for name in ("sizes", "work"))
        pieces, cuts = -(-self.bounder.pieces // len(blocks)), self.bounder.cuts
        worth = sizes * work * (count / max(cuts.work, 1.0))
        parts = [(g, int(sizes[g]), int(min(pieces, worth[g]))) for g in range(len(sizes) - 1, -1, -1)]
        for groups, columns in _in_runs(parts, cuts.columns):
            asked = [(Columns(self.place, how, chains, groups), block) for chains in blocks for block in columns]
            found = self.bounder._ask(asked, self.arrays)
            for i, chains in enumerate(blocks):
                own = found[i * len(columns) : (i + 1) * len(columns)]
                for side in ("lower", "upper"):
                    for g in groups:
                        joined = np.concatenate([np.asarray(a[f"{side}{g}"], np.float64) for a in own], axis=1)
                        self.arrays[column_name(side, g, chains)] = joined
        lower, upper = (
            np.concatenate([np.asarray(self.arrays[column_name(side, 0, b)], np.float64) for b in blocks])
            for side in ("lower", "upper")
        )
        return lower, upper, blocks


def _stages(network: Network, layer_bounds: str, pieces: int, cuts: Cuts) -> list[Stage]:
    """The linear nodes in the order in which they are bounded."""
    tight = tight_nodes(network, layer_bounds)
    work = np.zeros(len(network.nodes))  # multiplications to pull a row from each node back to the input
    pieces_of: list[tuple[int, int, int]] = []
    for index, node in enumerate(network.nodes):
        work[index] = sum(work[source] for source in node.sources)
        if isinstance(node, LinearNode):
            work[index] += sum(t.operator.in_size * t.operator.pull_terms for t in node.terms)
            worth = 2.0 * node.size * work[index] / max(cuts.work, 1.0)
            pieces_of.append((index, node.size, int(min(pieces, worth)) if index in tight else 1))
    return _in_runs(pieces_of, cuts.neurons)


def _in_runs(parts: Iterable[tuple[int, int, int]], least: int) -> list[Stage]:
    """What is asked for in one go: a part of its own that is cut into blocks, or consecutive ones that are not worth it.

    ``parts`` are (number, size, most pieces). The block of a run counts all of its sizes.
    """
    stages: list[Stage] = []
    run: list[int] = []
    length = 0
    for number, size, most in parts:
        blocks = cut(size, most, least)
        if len(blocks) > 1:
            stages += [(tuple(run), [(0, length)])] if run else []
            stages.append(((number,), blocks))
            run, length = [], 0
        else:
            run.append(number)
            length += size
    return [*stages, (tuple(run), [(0, length)])] if run else stages


def _known(known: Steepness) -> Known:
    if not isinstance(known, Known):
        raise TypeError(f"known: got {type(known).__name__}; give what enclose() of the same bounder returned")
    return known


def _weights(weights: Floats | None) -> Arrays:
    return {} if weights is None else {"weights": weights}


def _joined(found: Sequence[Arrays], name: str) -> Floats:
    """The arrays of consecutive blocks as one."""
    return np.concatenate([np.asarray(a[name]) for a in found]) if len(found) > 1 else np.asarray(found[0][name])
