"""ONNX operators that move, repeat, join or sum values along axes.

Each is applied to the array of flat indices; what comes out is a sparse matrix of ones, or nothing if no value moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from distverify.network.linear.operator import Indices
from distverify.network.linear.sparse import averages, selection
from distverify.network.nodes import Term
from distverify.network.onnx.operation import Handler, Operation, Signal, places


def axis_of(op: Operation, axis: int, rank: int) -> int:
    """``axis`` counted from the front."""
    if not -rank <= axis < rank:
        op.error(f"axis {axis} does not exist among {rank} axes")
    return axis % rank


def _integers(op: Operation, name: str, position: int, since: int) -> tuple[int, ...] | None:
    """Whole numbers that are an attribute before operator set ``since`` and input ``position`` from then on."""
    if op.opset < since:
        given = op.attributes.get(name)
        return None if given is None else tuple(int(v) for v in given)
    return None if op.input(position) is None else op.integers(position)


def transposed(op: Operation, x: Signal, order: tuple[int, ...]) -> Signal:
    """``x`` with its axes in ``order``."""
    if sorted(order) != list(range(len(x.shape))):
        op.error(f"the order of axes {order} makes no sense for shape {x.shape}")
    return op.taken(x, places(x).transpose(order))


def _transpose(op: Operation) -> Signal:
    x = op.signal()
    return transposed(op, x, tuple(op.attributes.get("perm", range(len(x.shape))[::-1])))


def _slice(op: Operation) -> Signal:
    x = op.signal()
    starts, ends = _integers(op, "starts", 1, 10), _integers(op, "ends", 2, 10)
    assert starts is not None
    assert ends is not None
    axes = _integers(op, "axes", 3, 10) or tuple(range(len(starts)))
    steps = _integers(op, "steps", 4, 10) or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        op.error(f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together")
    indices = places(x)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis = axis_of(op, axis, len(x.shape))
        size = x.shape[axis]
        # Python's slices would count an end that is negative after all from the back once more.
        low, high = (0, size) if step > 0 else (-1, size - 1)
        first, last = (min(max(v + size if v < 0 else v, low), high) for v in (start, end))
        indices = np.take(indices, range(first, last, step), axis=axis)
    return op.taken(x, indices)


def _gather(op: Operation) -> Signal:
    x, which = op.signal(), op.constant(1)
    axis = axis_of(op, int(op.attributes["axis"]), len(x.shape))
    size = x.shape[axis]
    if which.dtype.kind not in "iu" or ((which < -size) | (which >= size)).any():
        op.error(f"takes entries that axis {axis} of shape {x.shape} does not have")
    op.check_shape((*x.shape[:axis], *which.shape, *x.shape[axis + 1 :]))
    return op.taken(x, np.take(places(x), which, axis=axis))


def _concat(op: Operation) -> Signal:
    values = [v for v in op.inputs if v is not None]
    axis = axis_of(op, int(op.attributes.get("axis", 1)), len(values[0].shape))
    op.check_shape((sum(math.prod(v.shape) for v in values),))
    firsts = np.cumsum([0, *(math.prod(v.shape) for v in values)])
    tables = [np.arange(math.prod(v.shape)).reshape(v.shape) + first for v, first in zip(values, firsts, strict=False)]
    try:
        joined = np.concatenate(tables, axis=axis)
    except ValueError:
        op.error(f"shapes {', '.join(str(v.shape) for v in values)} cannot be joined along axis {axis}")
    flat = joined.reshape(-1)
    origin = np.searchsorted(firsts, flat, side="right") - 1
    order = np.argsort(origin, kind="stable")
    cuts = np.searchsorted(origin[order], np.arange(len(values) + 1))
    bias = np.zeros(flat.size)
    # One selection for each node that is read, however often.
    reads: dict[int, tuple[Signal, Indices]] = {}
    for i, value in enumerate(values):
        mine = order[cuts[i] : cuts[i + 1]]
        local = flat[mine] - firsts[i]
        if not isinstance(value, Signal):
            bias[mine] = op.numbers(value).reshape(-1)[local]
            continue
        if value.node not in reads:
            op.budget.spend(flat.size, op.label)
            reads[value.node] = value, np.full(flat.size, -1)
        reads[value.node][1][mine] = local
    terms = [Term(value.node, selection(table, value.size)) for value, table in reads.values()]
    return op.linear(joined.shape, terms, bias)


def _split(op: Operation) -> tuple[Signal, ...]:
    x = op.signal()
    axis = axis_of(op, int(op.attributes["axis"]), len(x.shape))
    size, count = x.shape[axis], op.outputs
    lengths = _integers(op, "split", 1, 13)
    if lengths is None:
        # The last part is what is left, which may be less since operator set 18.
        each = -(-size // count)
        lengths = tuple(min(each, size - k * each) for k in range(count))
        if op.opset < 18 and size % count:
            op.error(f"cannot split {size} values into {count} equal parts")
    if len(lengths) != count or min(lengths) < 1 or sum(lengths) != size:
        op.error(f"splits {size} values into {count} parts of {lengths}; the model is damaged")
    ends = np.cumsum(lengths)
    return tuple(
        op.taken(x, np.take(places(x), range(end - length, end), axis=axis))
        for end, length in zip(ends.tolist(), lengths, strict=True)
    )


def _expand(op: Operation) -> Signal:
    x = op.signal()
    shape = op.integers(1)
    op.check_shape(shape)
    return op.expanded(x, op.common_shape(x, np.broadcast_to(0.0, shape)))


def _pad(op: Operation) -> Signal:
    x = op.signal()
    given = _integers(op, "pads" if op.opset > 1 else "paddings", 1, 11)
    assert given is not None
    axes = op.integers(3) if op.opset >= 18 and op.input(3) is not None else tuple(range(len(x.shape)))
    if len(given) != 2 * len(axes):
        op.error(f"got {len(given)} pads for {len(axes)} axes")
    pads = [(0, 0)] * len(x.shape)
    for axis, before, after in zip(axes, given[: len(axes)], given[len(axes) :], strict=True):
        pads[axis_of(op, axis, len(x.shape))] = before, after
    op.check_shape(tuple(d + before + after for d, (before, after) in zip(x.shape, pads, strict=True)))
    indices = places(x)[tuple(slice(max(0, -b), d - max(0, -a)) for d, (b, a) in zip(x.shape, pads, strict=True))]
    added = [(max(0, b), max(0, a)) for b, a in pads]
    mode = op.attributes["mode"].decode()
    if mode not in ("constant", "edge", "reflect", "wrap"):
        op.error(f"mode {mode!r} is not supported; use constant, edge, reflect or wrap")
    if mode != "constant":
        return op.taken(x, np.pad(indices, added, mode=mode))
    if op.opset < 11:
        fill = float(op.attributes["value"])
    else:
        fill = 0.0 if op.input(2) is None else float(op.spread(op.constant(2), (1,))[0])
    result = op.taken(x, np.pad(indices, added, constant_values=-1), fill)
    if fill == 0.0 and added == pads:
        return Signal(result.node, result.shape, (x, tuple(pads)))
    return result


def reduction(op: Operation, since: int) -> tuple[Indices, tuple[int, ...]] | None:
    """The flat indices [results, values each] that an operator reduces, and its result's shape; None: it does nothing.

    ``since`` which operator set the axes are an operand.
    """
    x = op.signal()
    axes = _integers(op, "axes", 1, since)
    if not axes:
        if op.attributes.get("noop_with_empty_axes"):
            return None
        axes = tuple(range(len(x.shape)))
    gone = sorted({axis_of(op, a, len(x.shape)) for a in axes})
    kept = [a for a in range(len(x.shape)) if a not in gone]
    count = math.prod(x.shape[a] for a in gone)
    table = places(x).transpose(kept + gone).reshape(-1, count)
    keep = bool(op.attributes["keepdims"])
    return table, tuple(1 if a in gone else d for a, d in enumerate(x.shape) if keep or a not in gone)


def _reduce(op: Operation, *, mean: bool) -> Signal:
    x, found = op.signal(), reduction(op, 18 if mean else 13)
    if found is None:
        return x
    table, shape = found
    operator = averages(table, x.size, table.shape[1]) if mean else selection(table, x.size)
    return op.linear(shape, [Term(x.node, operator)])


INDEX_OPERATORS: Mapping[str, Handler] = {
    "Concat": _concat,
    "Expand": _expand,
    "Gather": _gather,
    "Pad": _pad,
    "ReduceMean": lambda op: _reduce(op, mean=True),
    "ReduceSum": lambda op: _reduce(op, mean=False),
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
