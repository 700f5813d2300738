"""Computing pieces of bounds: what every worker of a crew does."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.bounder import gradient_norms, vector_fact
from distverify.analysis.facts import row_facts
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
    region_from,
    rows_from,
    rows_shape,
)
from distverify.bounds import crown, fastlip
from distverify.bounds.chain import Chain, backward_chain, forward_chain
from distverify.bounds.columns import ColumnPush, rows_at_once
from distverify.bounds.enclosure import Encloser, Enclosure
from distverify.bounds.methods import WITHOUT_RECURSION, RowBounds, begin, bound_chain
from distverify.errors import PieceError
from distverify.network.graph import Network
from distverify.questions.pieces import Arrays, Piece, Shared

Floats = NDArray[np.float64]

# Regions that a worker keeps, and recursions over each: a sample's next piece is mostly about the last region.
KEPT_REGIONS = 2
KEPT_RECURSIONS = 4


@dataclass(frozen=True, eq=False)
class _Steepest:
    """See :class:`distverify.bounds.enclosure.Steepness`: one number stands for all slopes of a node."""

    network: Network
    slopes: dict[int, tuple[Floats, Floats]]


@dataclass(eq=False)
class _Recursing:
    """A recursion, and the bounds that it was given, of the last groups."""

    push: ColumnPush
    given: dict[int, tuple[Floats, Floats]] = field(default_factory=dict)

    def give(self, group: int, lower: Floats, upper: Floats) -> None:
        self.push.fix_lines(group, lower, upper)
        self.given[group] = lower, upper

    def continues(self, arrays: Arrays, chains: Block, group: int) -> bool:
        """Whether it was given nothing but shared bounds of groups after ``group``."""
        return all(
            index > group and _equal(bounds, _of_group(arrays, index, chains)) for index, bounds in self.given.items()
        )


@dataclass(eq=False)
class _Kept:
    """What a worker knows of one region."""

    encloser: Encloser
    forward: tuple[str, Chain] | None = None
    pushes: OrderedDict[tuple[Recursion, Block], _Recursing] = field(default_factory=OrderedDict)


class BoundsWorker:
    """Computes pieces of the bounds of ``network``, and keeps what the next piece is likely to need again.

    Parameters
    ----------
    network : Network
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._kept: OrderedDict[Place, _Kept] = OrderedDict()

    @np.errstate(over="ignore", invalid="ignore")
    def compute(self, piece: Piece, shared: Shared) -> Arrays:
        """The arrays that ``piece`` asks for, by name, in C order."""
        found = self._answer(piece.request, piece.block, shared.arrays)
        return {name: np.asarray(values, order="C") for name, values in found.items()}

    def _answer(self, request: Request, block: Block, arrays: Arrays) -> Arrays:
        match request:
            case Neurons():
                return self._neurons(request, block, arrays)
            case Margins():
                enclosure = self._enclosure(request.place, arrays)
                return {"lower": crown.row_bounds(enclosure.reduced, rows_from(arrays, block))[0]}
            case Gradients():
                x0 = _floats(arrays["x0"])
                return {
                    "norms": gradient_norms(self.network, x0, rows_from(arrays, block), request.norm, _weights(arrays))
                }
            case Chains():
                return self._chains(request, block, arrays)
            case Shape():
                return self._shape(request, arrays)
            case Columns():
                return self._columns(request, block, arrays)
            case Merged():
                push = self._push(request.place, request.how, block, arrays, 0).push
                which = slice(*block)
                bounds = RowBounds(_floats(arrays["lower"])[which], _floats(arrays["upper"])[which], (push,))
                return row_facts(bounds, request.parts, request.norm, _weights(arrays))
            case Vector():
                slopes = {i: (s, s) for i, s in enumerate(_floats(arrays["steepest"]).reshape(-1, 1))}
                known = _Steepest(self.network, slopes)
                return {
                    "vector": vector_fact(known, arrays["constants"], arrays["parts"], request.norm, _weights(arrays))
                }
        raise PieceError(
            f"request: got {type(request).__name__}, which this version does not know; start the workers anew"
        )

    def _neurons(self, request: Neurons, block: Block, arrays: Arrays) -> Arrays:
        encloser = self._reach(request.place, arrays, request.nodes[0]).encloser
        found: Arrays = {}
        for node in request.nodes:
            if node != request.nodes[0]:
                encloser.give(_floats(found[f"lower{encloser.node}"]), _floats(found[f"upper{encloser.node}"]))
            found[f"lower{node}"], found[f"upper{node}"] = encloser.bound(
                slice(*block) if len(request.nodes) == 1 else None
            )
        return found

    def _chains(self, request: Chains, block: Block, arrays: Arrays) -> Arrays:
        enclosure, how = self._enclosure(request.place, arrays), request.how
        if how.method in WITHOUT_RECURSION:
            bounds = RowBounds(*fastlip.bound(enclosure, rows_from(arrays, block)))
        else:
            chain = self._chain(request.place, how, block, arrays)
            lower, upper, pushes = bound_chain(chain, enclosure.rounding, how.method, how.block_bytes)
            if how.direction == "forward":
                return {"lower": lower, "upper": upper}
            if "other_lower" in arrays:
                which = slice(*block)
                lower = np.fmax(lower, arrays["other_lower"][which])
                upper = np.fmin(upper, arrays["other_upper"][which])
            bounds = RowBounds(lower, upper, pushes)
        return row_facts(bounds, request.parts, request.norm, _weights(arrays))

    def _shape(self, request: Shape, arrays: Arrays) -> Arrays:
        how, enclosure = request.how, self._enclosure(request.place, arrays)
        # All rows have the same chain, apart from what rounding may cost them.
        row, count = rows_from(arrays, (0, 1)), rows_shape(arrays)[0]
        chain = backward_chain(enclosure, row)
        sizes, work = chain.sizes, chain.work
        forward = how.direction == "forward"
        if forward or (how.direction == "auto" and self.network.input_size < count):
            # The forward chain of all rows differs from that of one in its first group, which the rows are.
            other = forward_chain(enclosure, row)
            others, theirs = [count, *other.sizes[1:]], other.work_for(count)
            if forward or count * _total(sizes, work) > other.rows * _total(others, theirs):
                forward, chain, sizes, work = True, other, others, theirs
        return {
            "forward": np.array(forward),
            "sizes": np.array(sizes),
            "work": np.array(work, dtype=np.float64),
            "rows": np.array(rows_at_once(chain, how.block_bytes)),
            "structure": np.frombuffer(chain.structure, dtype=np.uint8),
        }

    def _columns(self, request: Columns, block: Block, arrays: Arrays) -> Arrays:
        first = request.groups[0]
        recursion = self._push(request.place, request.how, request.chains, arrays, first)
        found: Arrays = {}
        for group in request.groups:
            if group != first:
                recursion.give(group + 1, _floats(found[f"lower{group + 1}"]), _floats(found[f"upper{group + 1}"]))
            which = slice(*block) if len(request.groups) == 1 else None
            found[f"lower{group}"], found[f"upper{group}"] = recursion.push.unit_columns(group, which)
        return found

    def _enclosure(self, place: Place, arrays: Arrays) -> Enclosure:
        return self._reach(place, arrays, len(self.network.nodes)).encloser.finish()

    def _reach(self, place: Place, arrays: Arrays, node: int) -> _Kept:
        """The region's encloser, once the shared bounds of all linear nodes before ``node`` are in it."""
        kept = self._kept.pop(place, None)
        if kept is None or kept.encloser.node > node or not _agree(kept.encloser, arrays):
            kept = None  # what takes the memory goes before the next is made
            while len(self._kept) >= KEPT_REGIONS:
                self._kept.popitem(last=False)
            kept = _Kept(Encloser(self.network, region_from(arrays), place.layer_bounds))
        encloser = kept.encloser
        while encloser.node < node:
            # Copies: what is kept must not hold on to the store that shared arrays lie in.
            lower, upper = arrays[f"lower{encloser.node}"], arrays[f"upper{encloser.node}"]
            encloser.give(np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64))
        self._kept[place] = kept
        return kept

    def _chain(self, place: Place, how: Recursion, block: Block, arrays: Arrays) -> Chain:
        if how.direction == "forward":
            return self._forward_chain(place, how, arrays).take(slice(*block))
        return backward_chain(self._enclosure(place, arrays), rows_from(arrays, block))

    def _forward_chain(self, place: Place, how: Recursion, arrays: Arrays) -> Chain:
        """That of all inputs."""
        enclosure, kept = self._enclosure(place, arrays), self._kept[place]
        if kept.forward is None or kept.forward[0] != how.matrix:
            kept.forward = how.matrix, forward_chain(enclosure, rows_from(arrays))
        return kept.forward[1]

    def _push(self, place: Place, how: Recursion, chains: Block, arrays: Arrays, group: int) -> _Recursing:
        """The recursion over ``chains``, with the shared bounds of all groups after ``group`` and no others."""
        enclosure, pushes = self._enclosure(place, arrays), self._kept[place].pushes
        kept = pushes.pop((how, chains), None)
        if kept is None or not kept.continues(arrays, chains, group):
            chain = self._chain(place, how, chains, arrays)
            if chain.structure != arrays["structure"].tobytes():
                raise PieceError(
                    "this machine keeps other neurons explicit than the one that the bounds are from, so that they cannot be "
                    "joined; run the sample on machines of one kind, or as a whole"
                )
            kept = _Recursing(begin(chain, enclosure.rounding, how.method, how.block_bytes))
        for index in range(len(kept.push.chain.sizes) - 1, group, -1):
            if index not in kept.given:
                kept.give(index, *_of_group(arrays, index, chains))
        pushes[how, chains] = kept
        if len(pushes) > KEPT_RECURSIONS:
            pushes.popitem(last=False)
        return kept


def _agree(encloser: Encloser, arrays: Arrays) -> bool:
    """Whether the shared bounds are those that ``encloser`` was given, as far as it has come."""
    return all(
        f"lower{i}" in arrays
        and _equal(encloser.known(i), (_floats(arrays[f"lower{i}"]), _floats(arrays[f"upper{i}"])))
        for i in encloser.given
    )


def _of_group(arrays: Arrays, group: int, chains: Block) -> tuple[Floats, Floats]:
    """The shared bounds of ``chains``' derivatives by the members of ``group``; copies, to let go of what they are shared in."""
    lower, upper = (arrays[column_name(side, group, chains)] for side in ("lower", "upper"))
    return np.array(lower, dtype=np.float64), np.array(upper, dtype=np.float64)


def _equal(some: tuple[Floats, Floats], others: tuple[Floats, Floats]) -> bool:
    return np.array_equal(some[0], others[0]) and np.array_equal(some[1], others[1])


def _total(sizes: list[int], work: list[int]) -> int:
    return sum(n * each for n, each in zip(sizes, work, strict=True))


def _weights(arrays: Arrays) -> Floats | None:
    return _floats(arrays["weights"]) if "weights" in arrays else None


def _floats(values: NDArray[np.generic]) -> Floats:
    return np.asarray(values, dtype=np.float64)
