"""ONNX pools. Means are sparse linear operators; a maximum is a tree of maxima of two, max(a, b) = a + relu(b - a)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from distverify.network.linear.sparse import Sparse, averages, selection
from distverify.network.nodes import LinearNode, Term
from distverify.network.onnx.operation import Handler, Operation, Signal
from distverify.network.onnx.windows import Pair, Windows, image_shape, pair, result_shape, windows

Indices = NDArray[np.int64]


def _tables(op: Operation, w: Windows) -> tuple[Indices, Indices]:
    """For each output the values in its window, and for one channel how many of them lie in image or pads.

    int64 [channels * outputs, kernel], -1 outside of the image; int64 [outputs].
    """
    entries = w.kernel[0] * w.kernel[1]
    op.budget.spend(w.channels * w.output[0] * w.output[1] * entries, op.label)
    inside, padded, places = [], [], []
    for axis in (0, 1):
        first = np.arange(w.output[axis]) * w.strides[axis] - w.before[axis]
        place = first[:, None] + np.arange(w.kernel[axis]) * w.dilations[axis]
        inside.append((place >= 0) & (place < w.image[axis]))
        padded.append((place < w.image[axis] + w.after[axis]).sum(axis=1))
        places.append(place)
    flat = places[0][:, None, :, None] * w.image[1] + places[1][None, :, None, :]
    valid = inside[0][:, None, :, None] & inside[1][None, :, None, :]
    own = np.where(valid, flat, -1).reshape(-1, entries)
    channel = np.arange(w.channels)[:, None, None] * (w.image[0] * w.image[1])
    table = np.where(own >= 0, own + channel, -1).reshape(-1, entries)
    return table, np.outer(padded[0], padded[1]).reshape(-1)


def _kernel(op: Operation, x: Signal) -> Pair:
    return pair(op, "kernel_shape", 1, len(x.shape) - 2)


def _average_pool(op: Operation) -> Signal:
    x = op.signal()
    image_shape(op, x)
    w = windows(op, x, _kernel(op, x))
    table, padded = _tables(op, w)
    count = (table >= 0).sum(axis=1)
    if op.attributes.get("count_include_pad"):
        count = np.tile(padded, w.channels)
    if not count.all():
        op.error("has a window that lies in the pads only")
    return op.linear(result_shape(x, w.channels, w.output), [Term(x.node, averages(table, x.size, count))])


def _global_average_pool(op: Operation) -> Signal:
    x = op.signal()
    if len(x.shape) < 3:
        op.error(f"got values of shape {x.shape}; it needs channels and an image")
    table = np.arange(x.size).reshape(x.shape[0] * x.shape[1], -1)
    mean = averages(table, x.size, table.shape[1])
    return op.linear((*x.shape[:2], *(1,) * (len(x.shape) - 2)), [Term(x.node, mean)])


def _max_pool(op: Operation) -> Signal:
    x = op.signal()
    image_shape(op, x)
    w = windows(op, x, _kernel(op, x))
    return _maximum(op, x, _tables(op, w)[0], result_shape(x, w.channels, w.output))


def _global_max_pool(op: Operation) -> Signal:
    x = op.signal()
    if len(x.shape) < 3:
        op.error(f"got values of shape {x.shape}; it needs channels and an image")
    table = np.arange(x.size).reshape(x.shape[0] * x.shape[1], -1)
    return _maximum(op, x, table, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))


def _maximum(op: Operation, x: Signal, table: Indices, shape: tuple[int, ...]) -> Signal:
    """The largest value of each row of ``table`` (-1: none), as a tree of maxima of two."""
    best = table.max(axis=1, keepdims=True)
    if (best < 0).any():
        op.error("has a window that lies in the pads only")
    table = np.where(table >= 0, table, best)
    while table.shape[1] > 1:
        if table.shape[1] % 2:
            table = np.concatenate([table, table[:, -1:]], axis=1)
        # Windows that overlap share their pairs.
        keys, places = np.unique(table[:, 0::2] * x.size + table[:, 1::2], return_inverse=True)
        a, b = keys // x.size, keys % x.size
        x, table = _pairwise_maximum(op, x, a, b), places.reshape(table.shape[0], -1)
    return op.taken(x, table.reshape(shape))


def _pairwise_maximum(op: Operation, x: Signal, a: Indices, b: Indices) -> Signal:
    """max(x[a], x[b]) = x[a] + relu(x[b] - x[a])."""
    real = np.flatnonzero(a != b)
    first = selection(a, x.size)
    if real.size == 0:
        return op.linear((a.size,), [Term(x.node, first)])
    difference = Sparse(selection(b[real], x.size).matrix - selection(a[real], x.size).matrix)
    rise = op.linear((real.size,), [Term(x.node, difference)])
    positive = op.builder.activation(op.name, rise.node, "relu")
    back = np.full(a.size, -1)
    back[real] = np.arange(real.size)
    terms = [Term(x.node, first), Term(positive, selection(back, real.size))]
    larger = op.linear((a.size,), terms)
    node = op.builder.nodes[larger.node]
    assert isinstance(node, LinearNode)
    op.builder.nodes[larger.node] = replace(node, at_once=True)
    return larger


POOLING_OPERATORS: Mapping[str, Handler] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
