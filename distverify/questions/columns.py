"""Bounds of few rows' derivatives, group after group, from blocks of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from distverify.bounds.chain import product_losses
from distverify.bounds.columns import rows_at_once
from distverify.bounds.lipschitz import row_constants
from distverify.bounds.methods import RowBounds, chains_for
from distverify.bounds.reduced import Pair
from distverify.questions.memory import Memory, Place, Recursion
from distverify.questions.pieces import Arrays, Block
from distverify.questions.question import Asker, Cuts, Floats, Question, cut, runs, stacked


@dataclass(frozen=True, eq=False)
class RecursionShape:
    """What the whole recursion looks like.

    Attributes
    ----------
    direction : "backward" or "forward"
    sizes : tuple of int
        Members of its groups.
    work : tuple of float
        Multiplications for one member of each group.
    chains : tuple of Block
        Which chains move side by side.
    structure : bytes
        See :attr:`distverify.bounds.chain.Chain.structure`.
    losses : tuple of float64 [K, n]
        What rounding may cost the rows' derivatives, group by group, in the backward direction: see :class:`Losses`.
    """

    direction: str
    sizes: tuple[int, ...]
    work: tuple[float, ...]
    chains: tuple[Block, ...]
    structure: bytes
    losses: tuple[Floats, ...] = ()


@dataclass(frozen=True, eq=False)
class Shape(Question[RecursionShape]):
    """In which direction to go, and what the recursion then looks like.

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes.
    how : Recursion
        Any direction but "both".
    rows : float64 [K, outputs]
    """

    place: Place
    how: Recursion
    rows: Floats

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """One block."""
        return [(0, 1)]

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """The fields of :class:`RecursionShape`; "rows" is how many may move at once."""
        count = self.rows.shape[0]
        backward, forward = chains_for(
            memory.at(self.place).enclosure, np.array(self.rows[:1]), self.how.direction, count
        )
        chain = backward or forward
        assert chain is not None
        return {
            "forward": np.array(backward is None),
            "sizes": np.array(chain.sizes if backward else [count, *chain.sizes[1:]]),
            "work": np.array(chain.work if backward else chain.work_for(count), dtype=np.float64),
            "rows": np.array(rows_at_once(chain, self.how.block_bytes)),
            "structure": np.frombuffer(chain.structure, dtype=np.uint8),
        }

    def join(self, answers: Sequence[Arrays]) -> RecursionShape:
        """The shape."""
        shape = answers[0]
        forward, at_once = bool(shape["forward"]), int(shape["rows"])
        count = self.place.region.size if forward else self.rows.shape[0]
        return RecursionShape(
            "forward" if forward else "backward",
            tuple(shape["sizes"].tolist()),
            tuple(shape["work"].tolist()),
            tuple((k, min(k + at_once, count)) for k in range(0, count, at_once)),
            shape["structure"].tobytes(),
        )


@dataclass(frozen=True, eq=False)
class Losses(Question[tuple[Floats, ...]]):
    """What rounding of the reduced network's products may cost the rows' derivatives, by group: see :func:`product_losses`.

    Every worker that starts a recursion needs them of all rows; they take as long as intervals of the whole Jacobian.

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes.
    rows : float64 [K, outputs]
    """

    place: Place
    rows: Floats

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of a few rows: one at a time takes nearly twice as long."""
        return cut(self.rows.shape[0], pieces, 4)

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "losses<group>", float64 [block, n]."""
        losses = product_losses(memory.at(self.place).enclosure, np.array(self.rows[slice(*block)]))
        return {f"losses{group}": loss for group, loss in enumerate(losses)}

    def join(self, answers: Sequence[Arrays]) -> tuple[Floats, ...]:
        """Of all rows."""
        return tuple(stacked(answers, f"losses{group}") for group in range(len(answers[0])))


@dataclass(frozen=True, eq=False)
class Columns(Question[dict[int, Pair]]):
    """Bounds of all chains' derivatives by the members of groups: of a single one in blocks, or of consecutive ones as a whole.

    Attributes
    ----------
    place : Place
        With the bounds of all linear nodes.
    how : Recursion
    rows : float64 [K, outputs]
    shape : RecursionShape
    groups : tuple of int
        From the last on.
    size : int
        Members of all of them.
    most : int
        Into how many blocks they are worth cutting.
    later : dict group -> (lower, upper) float64 [chains, members]
        Of all later groups.
    """

    place: Place
    how: Recursion
    rows: Floats
    shape: RecursionShape
    groups: tuple[int, ...]
    size: int
    most: int
    later: Mapping[int, Pair]

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """Blocks of columns, those of further chains numbered on."""
        blocks = cut(self.size, min(-(-pieces // len(self.shape.chains)), self.most), cuts.columns)
        return [(i * self.size + a, i * self.size + b) for i in range(len(self.shape.chains)) for a, b in blocks]

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "lower<group>" and "upper<group>", float64 [chains, block]."""
        chains, start = divmod(block[0], self.size)
        which = slice(*self.shape.chains[chains])
        later = {group: (lower[which], upper[which]) for group, (lower, upper) in self.later.items()}
        recursion = memory.at(self.place).recursion(
            self.how,
            self.rows,
            self.shape.chains[chains],
            later,
            self.groups[0],
            self.shape.structure,
            self.shape.losses,
        )
        answer: Arrays = {}
        lower, upper = np.zeros((2, 0, 0))
        for group in self.groups:
            if group != self.groups[0]:
                recursion.give(group + 1, lower, upper)
            members = slice(start, start + block[1] - block[0]) if len(self.groups) == 1 else None
            lower, upper = recursion.push.unit_columns(group, members)
            answer[f"lower{group}"], answer[f"upper{group}"] = lower, upper
        return answer

    def join(self, answers: Sequence[Arrays]) -> dict[int, Pair]:
        """Of all chains and members, by group."""
        chains = len(self.shape.chains)
        each = len(answers) // chains
        blocks = [answers[i * each : (i + 1) * each] for i in range(chains)]

        def joined(name: str) -> Floats:
            return np.concatenate([np.concatenate([np.asarray(a[name]) for a in own], axis=1) for own in blocks])

        return {group: (joined(f"lower{group}"), joined(f"upper{group}")) for group in self.groups}


@dataclass(frozen=True, eq=False)
class Merged(Question[Floats]):
    """Constants of rows for norm inf, float64 [K], from blocks of chains that move side by side: one more column of each.

    Attributes
    ----------
    place, how, rows, shape : see :class:`Columns`
    derivatives : dict group -> (lower, upper) float64 [K, members]
        Of all groups; those by the inputs (group 0) may be intersected with others.
    weights : float64 [inputs], optional
        See :class:`distverify.questions.rows.Derivatives`.
    """

    place: Place
    how: Recursion
    rows: Floats
    shape: RecursionShape
    derivatives: Mapping[int, Pair]
    weights: Floats | None = None

    def cut(self, pieces: int, cuts: Cuts) -> Sequence[Block]:
        """The chains."""
        return self.shape.chains

    def answer(self, memory: Memory, block: Block) -> Arrays:
        """ "constants", float64 [block]."""
        which = slice(*block)
        of_block = {group: (lower[which], upper[which]) for group, (lower, upper) in self.derivatives.items()}
        recursion = memory.at(self.place).recursion(
            self.how, self.rows, block, of_block, 0, self.shape.structure, self.shape.losses
        )
        return {"constants": row_constants(RowBounds(*of_block[0], (recursion.push,)), np.inf, weights=self.weights)}

    def join(self, answers: Sequence[Arrays]) -> Floats:
        """Of all rows."""
        return stacked(answers, "constants")


def bounds_by_columns(
    asker: Asker, place: Place, how: Recursion, rows: Floats, shape: RecursionShape
) -> dict[int, Pair]:
    """Bounds of all chains' derivatives by the members of every group, (lower, upper) float64 [chains, members] each."""
    count = shape.chains[-1][1]
    worth = np.array(shape.sizes) * np.array(shape.work) * (count / max(asker.cuts.work, 1.0))
    pieces = -(-asker.pieces // len(shape.chains))
    parts = [(g, shape.sizes[g], int(min(pieces, worth[g]))) for g in range(len(shape.sizes) - 1, -1, -1)]
    derivatives: dict[int, Pair] = {}
    for groups, size, most in runs(parts, asker.cuts.columns):
        bounds = asker.ask(Columns(place, how, rows, shape, groups, size, most, dict(derivatives)))
        derivatives |= bounds
    return derivatives
