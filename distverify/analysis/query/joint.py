"""All networks of a query as one: its input is a case's coordinates, its outputs are what the assertions speak of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from distverify.analysis.query.binding import BoundQuery
from distverify.analysis.query.exact import PiecewiseLinear, piecewise_linear
from distverify.analysis.query.formats import FLOAT32, FloatFormat
from distverify.analysis.query.rows import Sizes
from distverify.analysis.query.space import Space
from distverify.data.query.declarations import INPUT, Tensor
from distverify.errors import ModelError
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.nodes import ActivationNode
from distverify.network.onnx.bound import Wanted, bind, joined
from distverify.network.onnx.replay import Replay
from distverify.network.simplify import simplify
from distverify.region import Box

if TYPE_CHECKING:
    from distverify.bounds.evaluation import ErrorsOver

Floats = NDArray[np.float64]
Places = NDArray[np.int64]
# The runtime's own rounding, in units of what is allowed for a sum in any order.
_MARGIN = 64.0
# Unit roundoffs of short formats, which queries over the reals may be about; and what underflow loses, far above it.
_COARSE = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_COARSE_FLOOR = 2.0**-20


@dataclass(eq=False)
class Joint:
    """One network for a query, over one space of coordinates.

    Attributes
    ----------
    bound : BoundQuery
    space : Space
    elements : tuple of int
        What its outputs are: elements of the query, inputs among them.
    """

    bound: BoundQuery
    space: Space
    elements: tuple[int, ...]

    @cached_property
    def columns(self) -> dict[int, int]:
        """The output of each element."""
        return {element: k for k, element in enumerate(self.elements)}

    @cached_property
    def _parts(self) -> tuple[NetworkBuilder, dict[str, int]]:
        """A builder with all networks, and the node of each tensor; networks that are the same one are made once."""
        of = self.space.of
        spoken = self._spoken_of
        wanted: list[Wanted] = []
        twins: dict[tuple[int, tuple[bytes, ...]], int] = {}
        owners: list[tuple[Tensor, int, int]] = []
        tensors: list[list[tuple[str, tuple[int, ...]]]] = []
        for network in self.bound.networks:
            declared = network.declaration
            places = [np.array([of[e] for e in t.elements], dtype=np.int64) for t in declared.of(INPUT)]
            key = id(network.model), tuple(p.tobytes() for p in places)
            if key not in twins:
                twins[key] = len(tensors)
                tensors.append([])
                inputs = [
                    (network.ports[t.name].name, t.shape, p) for t, p in zip(declared.of(INPUT), places, strict=True)
                ]
                wanted.append(Wanted(network.model, inputs, tensors[-1]))
            own = tensors[twins[key]]
            for tensor in declared.tensors:
                if tensor.name in spoken:
                    owners.append((tensor, twins[key], len(own)))
                    own.append((network.ports[tensor.name].name, tensor.shape))
        # A model of which nothing is asked need not be readable.
        used = [k for k, part in enumerate(wanted) if part.tensors]
        builder, made = bind(self.space.size, [wanted[k] for k in used])
        nodes = dict(zip(used, made, strict=True))
        return builder, {tensor.name: nodes[part][k] for tensor, part, k in owners}

    @property
    def _spoken_of(self) -> set[str]:
        """The hidden nodes and outputs that some element belongs to."""
        own = set(self.elements)
        return {t.name for t in self.bound.query.tensors if t.kind != INPUT and not own.isdisjoint(t.elements)}

    def _chosen(self, elements: Sequence[int]) -> int:
        builder, nodes = self._parts
        of = self.space.of
        pieces: list[tuple[int, list[int]]] = []
        tensors = self.bound.query.tensors
        firsts = np.array([t.first for t in tensors])
        for element in elements:
            tensor = tensors[int(np.searchsorted(firsts, element, side="right")) - 1]
            node, place = (0, of[element]) if tensor.kind == INPUT else (nodes[tensor.name], element - tensor.first)
            if not pieces or pieces[-1][0] != node:
                pieces.append((node, []))
            pieces[-1][1].append(place)
        return joined(builder, [(node, np.array(places, dtype=np.int64)) for node, places in pieces])

    @cached_property
    def plain(self) -> Network:
        """The network as its models have it, node by node."""
        with np.errstate(all="ignore"):
            builder, _ = self._parts
            return builder.build(self._chosen(self.elements))

    @cached_property
    def network(self) -> Network:
        """The same with linear nodes folded."""
        plain = self.plain
        builder = NetworkBuilder((self.space.size,))
        builder.nodes[:] = plain.nodes
        with np.errstate(all="ignore"):
            simplify(builder, plain.output)
            return builder.build(plain.output)

    @cached_property
    def exact(self) -> PiecewiseLinear | None:
        """The same in fractions, where that is possible."""
        return piecewise_linear(self.plain)

    @cached_property
    def _replays(self) -> list[Replay]:
        made: dict[int, tuple[Replay, list[str]]] = {}
        names: dict[int, list[str]] = {}
        for network in self.bound.networks:
            own = names.setdefault(id(network.model), [])
            own += [network.ports[t.name].name for t in network.declaration.tensors if t.kind != INPUT]
        for network in self.bound.networks:
            key = id(network.model)
            if key not in made:
                made[key] = Replay(network.model, names[key]), []
        return [made[id(network.model)][0] for network in self.bound.networks]

    def run(self, u: Floats) -> NDArray[np.float64]:
        """All elements of the query as the models give them in their own types, float64 [elements].

        Raises
        ------
        ModelError
        """
        of = self.space.of
        values = np.empty(self.bound.query.size)
        done: dict[tuple[int, bytes], Mapping[str, NDArray[np.float64]]] = {}
        for network, replay in zip(self.bound.networks, self._replays, strict=True):
            inputs = []
            for tensor in network.declaration.of(INPUT):
                own = np.array([u[of[e]] for e in tensor.elements])
                values[tensor.first : tensor.first + tensor.size] = own
                inputs.append(own.reshape(tensor.shape))
            key = id(network.model), b"".join(i.tobytes() for i in inputs)
            if key not in done:
                done[key] = replay(inputs)
            for tensor in network.declaration.tensors:
                if tensor.kind == INPUT:
                    continue
                result = np.asarray(done[key][network.ports[tensor.name].name], dtype=np.float64)
                if result.shape != tensor.shape:
                    raise ModelError(
                        f"{network.model.path}: {network.ports[tensor.name].name!r} has shape {list(result.shape)}; "
                        f"{tensor.name} is declared as {list(tensor.shape)}"
                    )
                values[tensor.first : tensor.first + tensor.size] = result.reshape(-1)
        return values

    def errors(self, region: Box, bounds: Mapping[int, tuple[Floats, Floats]]) -> ErrorsOver:
        """By how much the models, as they run in the query's format, miss the exact network over ``region``.

        Parameters
        ----------
        bounds : dict node -> (lower, upper)
            Of the plain network's linear nodes.
        """
        from distverify.bounds.evaluation import DOUBLE_PRECISION, SINGLE_PRECISION, EvaluationError

        arithmetic = SINGLE_PRECISION if self.bound.format is FLOAT32 else DOUBLE_PRECISION
        errors = EvaluationError(self.plain, arithmetic, chosen=True).over(region, bounds)
        errors.outputs = np.where([e in self.space.of for e in self.elements], 0.0, errors.outputs)
        return errors

    def sizes(
        self,
        bounds: Mapping[int, tuple[Floats, Floats]],
        errors: Floats,
        low: Floats,
        high: Floats,
        format_: FloatFormat,
    ) -> Sizes | None:
        """Bounds of all elements' magnitudes as the models run; None where there are none."""
        own = np.maximum(*map(np.abs, bounds[self.plain.output])) + errors
        if not np.isfinite(own).all():
            return None
        found = {e: Fraction(float(v)) for e, v in zip(self.elements, own, strict=True)}
        for e, p in self.space.of.items():
            found[e] = Fraction(float(max(abs(low[p]), abs(high[p]))))
        return Sizes(found, format_)

    def _probes(self, *, coarse: bool) -> NDArray[np.float64]:
        """Two points whose values are numbers of every model's input types, float64 [2, coordinates]."""
        rng = np.random.default_rng(0)
        size, of = self.space.size, self.space.of
        points = np.stack([rng.uniform(size=size), rng.standard_normal(size)])
        points = np.rint(8.0 * points) / 8.0 if coarse else points.astype(np.float32).astype(np.float64)
        for network in self.bound.networks:
            for tensor in network.declaration.of(INPUT):
                element = network.ports[tensor.name].element or ""
                if element == "bool" or element.lstrip("u").startswith("int"):
                    places = [of[e] for e in tensor.elements]
                    points[:, places] = np.clip(
                        np.rint(3.0 * points[:, places]), 0.0, 1.0 if element == "bool" else 3.0
                    )
        return points

    def check(self) -> None:
        """Hold the network against the models as a runtime evaluates them, at a few points.

        Raises
        ------
        ModelError
            They differ by more than rounding: the models were misread.
        """
        from distverify.kernels.rounding import SINGLE, Rounding
        from distverify.network.evaluation import values_with_errors

        units = [_COARSE[e] for n in self.bound.networks for e in n.model.element_types & _COARSE.keys()]
        rounding = Rounding(max(units), _COARSE_FLOOR, _COARSE_FLOOR) if units else SINGLE
        points = self._probes(coarse=bool(units))
        values, errors = values_with_errors(self.plain.nodes, points, rounding)
        for k, point in enumerate(points):
            expected = self.run(point)[list(self.elements)]
            mine, error = values[self.plain.output][:, k], errors[self.plain.output][:, k]
            known = np.isfinite(expected) & np.isfinite(mine) & np.isfinite(error)
            off = np.abs(expected - mine)[known]
            if (off > _MARGIN * error[known] + (_COARSE_FLOOR if units else np.finfo(np.float32).tiny)).any():
                raise ModelError(f"the model was read as a function that differs from a runtime's by {off.max():.3g}")


def free_outputs(space: Space, elements: Sequence[int]) -> PiecewiseLinear:
    """Coordinates and elements that may have any value: what is known of networks that cannot be read."""
    made = PiecewiseLinear(space.size + sum(e not in space.of for e in elements))
    extra = space.size
    for element in elements:
        place = space.of.get(element)
        if place is None:
            place, extra = extra, extra + 1
        made.outputs.append({place: Fraction(1)})
    return made


# The interval of an activation's values, from that of what it reads.
Activated = Callable[[ActivationNode, Floats, Floats], tuple[Floats, Floats]]


def ranges(
    network: Network, lower: Floats, upper: Floats, activated: Activated | None = None
) -> dict[int, tuple[Floats, Floats]]:
    """Intervals of all linear nodes over a box; other activations than ReLU are unbounded without ``activated``."""
    lows, highs = [lower], [upper]
    found: dict[int, tuple[Floats, Floats]] = {}
    for index, node in enumerate(network.nodes[1:], 1):
        terms = getattr(node, "terms", None)
        if terms is None:
            low, high = lows[node.sources[0]], highs[node.sources[0]]
            assert isinstance(node, ActivationNode)
            if node.kind != "relu" and activated is not None:
                low, high = activated(node, low, high)
                lows.append(low)
                highs.append(high)
                continue
            known = node.kind == "relu"
            lows.append(np.maximum(low, 0.0) if known else np.full(node.size, -np.inf))
            highs.append(np.maximum(high, 0.0) if known else np.full(node.size, np.inf))
            continue
        middle, reach = node.bias.copy(), np.zeros(node.size)  # type: ignore[union-attr]
        size = np.abs(middle)
        with np.errstate(all="ignore"):
            for source, operator in terms:
                m, r = 0.5 * lows[source] + 0.5 * highs[source], 0.5 * highs[source] - 0.5 * lows[source]
                middle += operator.push(m[:, None])[:, 0]
                reach += operator.push_abs(r[:, None])[:, 0]
                size += operator.push_abs((np.abs(m) + r)[:, None])[:, 0]
            error = getattr(node, "bias_error", None)
            # Far more than sums of a million terms lose in double precision.
            reach += 1e-9 * size + 1e-300 + (0.0 if error is None else error)
            low, high = middle - reach, middle + reach
        lows.append(np.where(np.isnan(low), -np.inf, low))
        highs.append(np.where(np.isnan(high), np.inf, high))
        found[index] = lows[-1], highs[-1]
    return found


__all__ = ["Joint", "free_outputs", "ranges"]
