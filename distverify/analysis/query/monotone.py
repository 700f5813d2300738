"""Two copies of one network that differ in ordered inputs: a comparison of their outputs that derivatives contradict.

Where h = v . f falls (or stands) along every input in which C is above A, and rises where it is below, v . f(C) <= v . f(A): a
comparison that says v . f(A) - v . f(C) < 0 has no point. Derivatives are bounded over the hull of both inputs' boxes, which is bisected
where signs are open. Over the reals only: in float32, rounding may turn a small difference round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.bisection import SignSearch, suits_boxes
from distverify.analysis.query.binding import BoundNetwork
from distverify.analysis.query.cases import Atom
from distverify.analysis.query.open_case import OpenCase
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import jacobian_bounds
from distverify.data.query.declarations import INPUT
from distverify.errors import DistverifyError
from distverify.network.graph import Network
from distverify.network.onnx.bound import Wanted, bind, joined
from distverify.region import Box

Floats = NDArray[np.float64]
_MOST_TOLD, _SAMPLES = 20, 1000
# Boxes that are bounded before another look at what is proved.
_ROUND = 2000

# Steps from a point of the wrong slope, as shares of the input's range.
_STEPS = (0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6)

# Takes coordinates where a witness is likely.
Try = Callable[[Floats], None]


def contradicted(case: OpenCase, nodes: int, deadline: float, attempt: Try) -> bool:
    """Whether derivatives, over at most ``nodes`` boxes, show that ``case`` has no point; its models can be read.

    Of floating-point numbers nothing is shown, but ``attempt`` takes points all the same.
    """
    shown = case.joint.bound.format is None
    try:
        return shown & any(
            _contradicts(case, atom, nodes if shown else 0, deadline, attempt)
            for atom in case.case.atoms
            if atom.linear and atom.operator != "!="
        )
    except DistverifyError:
        return False


def _contradicts(case: OpenCase, atom: Atom, nodes: int, deadline: float, attempt: Try) -> bool:
    # v . outputs of one - v . outputs of the other <= bound, and for an equation the reverse, too.
    for sign in (1, -1) if atom.operator == "==" else (1,):
        bound = -sign * atom.constant
        if not (bound < 0 or (bound == 0 and atom.operator == "<")):
            continue
        pair = _twins(case, {m[0]: sign * w for m, w in atom.polynomial.items() if m})
        if pair is not None and _ordered(case, *pair, nodes, deadline, attempt):
            return True
    return False


def _twins(
    case: OpenCase, weights: Mapping[int, Fraction]
) -> tuple[BoundNetwork, BoundNetwork, dict[tuple[int, int], Fraction]] | None:
    """Two networks of one model of whose outputs (tensor, element) the same sum is taken, with opposite signs."""
    found: list[tuple[BoundNetwork, dict[tuple[int, int], Fraction]]] = []
    left = dict(weights)
    for network in case.joint.bound.networks:
        own: dict[tuple[int, int], Fraction] = {}
        for k, tensor in enumerate(t for t in network.declaration.tensors if t.kind == "output"):
            for element in tensor.elements:
                if element in left:
                    own[k, element - tensor.first] = left.pop(element)
        if own:
            found.append((network, own))
    if left or len(found) != 2 or found[0][0].model is not found[1][0].model:
        return None
    (first, v), (second, other) = found
    return (first, second, v) if v == {place: -w for place, w in other.items()} else None


def _ordered(
    case: OpenCase,
    first: BoundNetwork,
    second: BoundNetwork,
    v: Mapping[tuple[int, int], Fraction],
    nodes: int,
    deadline: float,
    attempt: Try,
) -> bool:
    of, sides = case.joint.space.of, case.sides
    box = sides.box()
    if box is None:
        return False
    one, two = (
        np.array([of[e] for t in n.declaration.of(INPUT) for e in t.elements], dtype=np.int64) for n in (first, second)
    )
    low, high = np.array(box[0]), np.array(box[1])
    signs = np.zeros(one.size)
    for i in np.flatnonzero(one != two):
        signs[i] = _order(case, int(one[i]), int(two[i]))
        if signs[i] == 0.0:
            return False
    network = _outputs(first)
    row = np.zeros((1, network.output_size))
    starts = np.cumsum([0, *(t.size for t in first.declaration.of("output"))])
    for (tensor, element), weight in v.items():
        row[0, starts[tensor] + element] = float(weight)
        if Fraction(row[0, starts[tensor] + element]) != weight:
            return False

    def rises(x: Floats, i: int) -> None:
        for share in _STEPS:
            u = np.clip(0.5 * low + 0.5 * high, low, high)
            u[two], u[one] = x, x
            reach = signs[i] * share * (high[one[i]] - low[one[i]])
            u[two[i]] = np.clip(x[i] + 0.5 * reach, low[two[i]], high[two[i]])
            u[one[i]] = np.clip(x[i] - 0.5 * reach, low[one[i]], high[one[i]])
            attempt(u)

    # v . f must not rise from the first network's input to the second's.
    from_, to = np.minimum(low[one], low[two]), np.maximum(high[one], high[two])
    return _falls(network, row, signs, from_, to, nodes, deadline, rises)


def _order(case: OpenCase, a: int, b: int) -> float:
    """1 where coordinate ``b`` is never below ``a``, -1 where it is never above, 0 where neither is known."""
    of, sides = case.joint.space.of, case.sides
    for x, y, sign in ((a, b, 1.0), (b, a, -1.0)):
        top, bottom = sides.upper[x], sides.lower[y]
        if top is not None and bottom is not None and top[0] <= bottom[0]:
            return sign
        for atom in case.case.atoms:
            if not atom.linear or atom.operator not in ("<", "<=") or len(atom.variables) != 2:
                continue
            weights = {of.get(m[0]): w for m, w in atom.polynomial.items() if m}
            wx, wy = weights.get(x, Fraction(0)), weights.get(y, Fraction(0))
            if wx > 0 and wx == -wy and atom.constant >= 0:
                return sign
    return 0.0


def _outputs(bound: BoundNetwork) -> Network:
    """The model by itself, all of its outputs one after the other."""
    inputs, first = [], 0
    for tensor in bound.declaration.of(INPUT):
        places = np.arange(first, first + tensor.size, dtype=np.int64)
        inputs.append((bound.ports[tensor.name].name, tensor.shape, places))
        first += tensor.size
    tensors = bound.declaration.of("output")
    wanted = Wanted(bound.model, inputs, [(bound.ports[t.name].name, t.shape) for t in tensors])
    builder, nodes = bind(first, [wanted])
    chosen = [(node, np.arange(t.size, dtype=np.int64)) for node, t in zip(nodes[0], tensors, strict=True)]
    return builder.build(joined(builder, chosen))


def _falls(
    network: Network,
    row: Floats,
    signs: Floats,
    low: Floats,
    high: Floats,
    nodes: int,
    deadline: float,
    rises: Callable[[Floats, int], None],
) -> bool:
    """Whether ``signs`` times the row's derivative is nowhere above 0 in the box; ``rises`` takes points where it is."""
    moving = np.flatnonzero(signs)
    samples = np.random.default_rng(0).uniform(low, high, (_SAMPLES, low.size))
    slopes = signs * jacobian_at(network, samples, row)[:, 0]
    told = slopes[:, moving].max(axis=1)
    for k in np.argsort(-told)[:_MOST_TOLD]:
        if told[k] > 0.0:
            rises(samples[k], int(moving[np.argmax(slopes[k, moving])]))
    if (told > 0.0).any():
        return False
    if not suits_boxes(network, Box(low, high)):
        return _falls_in_boxes(network, row, signs, low, high, nodes, deadline, rises)
    search = SignSearch(network, Box(low, high), row, features=moving)
    grown = 0
    while True:
        top = np.where(signs > 0, search.upper[0], -search.lower[0])[moving]
        if (top <= 0.0).all():
            return True
        wrong = np.where(signs > 0, search.rising_at[0], search.falling_at[0])
        for i in moving:
            if wrong[i] >= 0:
                rises(search.points[wrong[i]], int(i))
                return False
        if grown >= nodes or time.monotonic() >= deadline or search.nodes < grown:
            return False
        grown += _ROUND
        search.grow(grown, deadline)


def _falls_in_boxes(
    network: Network,
    row: Floats,
    signs: Floats,
    low: Floats,
    high: Floats,
    nodes: int,
    deadline: float,
    rises: Callable[[Floats, int], None],
) -> bool:
    """The same for networks too large to bound many boxes at once."""
    moving = np.flatnonzero(signs)
    boxes = [(low, high)]
    for _ in range(nodes):
        if not boxes:
            return True
        if time.monotonic() >= deadline:
            return False
        a, b = boxes.pop()
        bounds = jacobian_bounds(network, Box(a, b), C=row)
        top = np.maximum(signs * bounds.lower[0], signs * bounds.upper[0])[moving]
        if (top <= 0.0).all():
            continue
        middle = 0.5 * a + 0.5 * b
        slope = signs * jacobian_at(network, middle, row)[0, 0]
        if (slope > 0.0).any():
            rises(middle, int(np.argmax(slope)))
            return False
        weight = np.abs(np.maximum(np.abs(bounds.lower[0]), np.abs(bounds.upper[0]))) * (b - a)
        widest = int(np.argmax(weight))
        if not a[widest] < middle[widest] < b[widest]:
            return False
        left, right = b.copy(), a.copy()
        left[widest] = right[widest] = middle[widest]
        boxes += [(a, left), (right, b)]
    return False
