"""Small VNN-LIB 2.0 queries with answers by exact enumeration: networks of ReLUs over two coordinates, cut into polygons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Affine functions of the two coordinates: (a, b, constant).
Affine = tuple[Fraction, Fraction, Fraction]
Point = tuple[Fraction, Fraction]
# ("and" or "or", formulas), or (operator, weights by element, constant).
Formula = tuple[Any, ...]
Layers = list[tuple[np.ndarray, np.ndarray]]


def write_model(path: Path, layers: Layers, inputs: Sequence[int], element: str = "float32") -> None:
    """A model of ReLU layers whose inputs, of these sizes and batch 1, are put side by side; hidden activations are "a0", "a1", ..."""
    kind, dtype = (TensorProto.FLOAT, np.float32) if element == "float32" else (TensorProto.DOUBLE, np.float64)
    names = [f"x{i}" for i in range(len(inputs))]
    nodes, held = [], []
    last = names[0]
    if len(names) > 1:
        nodes.append(helper.make_node("Concat", names, ["x"], axis=1))
        last = "x"
    for i, (weight, bias) in enumerate(layers):
        held += [
            numpy_helper.from_array(weight.astype(dtype), f"W{i}"),
            numpy_helper.from_array(bias.astype(dtype), f"b{i}"),
        ]
        end = i == len(layers) - 1
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], ["y" if end else f"z{i}"], transB=1))
        if not end:
            nodes.append(helper.make_node("Relu", [f"z{i}"], [f"a{i}"], name=f"relu{i}"))
            last = f"a{i}"
    graph = helper.make_graph(
        nodes, "small",
        [helper.make_tensor_value_info(n, kind, [1, s]) for n, s in zip(names, inputs, strict=True)],
        [helper.make_tensor_value_info("y", kind, [1, layers[-1][1].size])], held,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


def small_layers(rng: np.random.Generator, inputs: int, hidden: int, outputs: int) -> Layers:
    """Weights that are quarters, so that small sums are exact in float32."""

    def numbers(*shape: int) -> np.ndarray:
        return rng.integers(-6, 7, shape) / 4.0

    return [(numbers(hidden, inputs), numbers(hidden)), (numbers(outputs, hidden), numbers(outputs))]


@dataclass
class Polygon:
    """A convex polygon of the coordinates, and what the elements are on it."""

    corners: list[Point]
    strict: list[Affine] = field(default_factory=list)


def at(form: Affine, point: Point) -> Fraction:
    return form[0] * point[0] + form[1] * point[1] + form[2]


def clip(corners: list[Point], form: Affine) -> list[Point]:
    """The part where ``form`` <= 0."""
    kept: list[Point] = []
    for k, p in enumerate(corners):
        q = corners[(k + 1) % len(corners)]
        a, b = at(form, p), at(form, q)
        if a <= 0:
            kept.append(p)
        if (a < 0 < b) or (b < 0 < a):
            t = a / (a - b)
            kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
    return list(dict.fromkeys(kept))


def somewhere(corners: list[Point], closed: Sequence[Affine], strict: Sequence[Affine]) -> bool:
    """Whether a point of the polygon has all ``closed`` <= 0 and all ``strict`` < 0."""
    for form in (*closed, *strict):
        corners = clip(corners, form)
        if not corners:
            return False
    # The corners' mean is inside of every half-plane that is not tight at all of them.
    return all(any(at(form, p) < 0 for p in corners) for form in strict)


def patterns(
    layers: Layers, x: Sequence[Affine], corners: list[Point]
) -> Iterator[tuple[list[Point], list[Affine], list[Affine]]]:
    """Each polygon on which the network is affine, with the hidden activations and outputs there."""
    (w1, b1), (w2, b2) = layers
    z = [combine(row, x, bias) for row, bias in zip(w1, b1, strict=True)]
    for signs in product((0, 1), repeat=len(z)):
        part = corners
        for sign, form in zip(signs, z, strict=True):
            part = clip(part, tuple(-v for v in form) if sign else form)  # type: ignore[arg-type]
            if not part:
                break
        if part:
            zero = Fraction(0)
            hidden = [form if sign else (zero, zero, zero) for sign, form in zip(signs, z, strict=True)]
            yield part, hidden, [combine(row, hidden, bias) for row, bias in zip(w2, b2, strict=True)]


def combine(weights: Sequence[float], forms: Sequence[Affine], constant: float) -> Affine:
    total = [Fraction(0), Fraction(0), Fraction(float(constant))]
    for weight, form in zip(weights, forms, strict=True):
        for k in range(3):
            total[k] += Fraction(float(weight)) * form[k]
    return total[0], total[1], total[2]


@dataclass
class Small:
    """A query with its answer.

    Attributes
    ----------
    text : str
    models : dict name -> (layers, input sizes)
    answer : bool
        Whether it is satisfiable.
    """

    text: str
    models: dict[str, tuple[Layers, list[int]]]
    answer: bool


@dataclass
class _Net:
    name: str
    layers: Layers
    sizes: list[int]
    inputs: list[list[int]]  # of each input, the coordinates of its elements
    letters: tuple[str, str, str]


def make(rng: np.random.Generator, theory: str, element: str) -> Small:
    """A random query of a theory: bounds, outputs, linear, hidden, inputs, networks, equal, or."""
    declared, nets = _networks(rng, theory)
    text = ["(vnnlib-version <2.0>)"]
    elements: dict[str, tuple[int, str, int]] = {}  # name -> (network, kind, index)
    for k, net in enumerate(nets):
        text.append(f"(declare-network {net.name}")
        if k and theory == "equal":
            text.append(f"  (equal-to {nets[0].name})")
        if k and theory == "isomorphic":
            text.append(f"  (isomorphic-to {nets[0].name})")
        for i, size in enumerate(net.sizes):
            text.append(f"  (declare-input {net.letters[0]}{i} {element} [1,{size}])")
            for j in range(size):
                elements[f"{net.letters[0]}{i}[0,{j}]"] = (k, "x", net.inputs[i][j])
        hidden, outputs = net.layers[0][1].size, net.layers[1][1].size
        if theory == "hidden":
            text.append(f'  (declare-hidden {net.letters[1]} {element} [1,{hidden}] "{("a0", "relu0")[k % 2]}")')
            elements.update({f"{net.letters[1]}[0,{j}]": (k, "h", j) for j in range(hidden)})
        text.append(f"  (declare-output {net.letters[2]} {element} [1,{outputs}])")
        elements.update({f"{net.letters[2]}[0,{j}]": (k, "y", j) for j in range(outputs)})
        text.append(")")
    box = [(Fraction(int(rng.integers(-8, 1)), 4), Fraction(int(rng.integers(1, 9)), 4)) for _ in range(2)]
    seen: dict[int, str] = {}
    for name, (_, kind, coordinate) in elements.items():
        if kind != "x":
            continue
        if coordinate in seen:
            text.append(f"(assert (== {name} {seen[coordinate]}))")
            continue
        seen[coordinate] = name
        low, high = box[coordinate]
        text.append(
            f"(assert (and (>= {name} {_decimal(low)}) (<= {_decimal(high)} {name})))".replace(
                f"(<= {_decimal(high)} {name})", f"(<= {name} {_decimal(high)})"
            )
        )
    formula = _formula(rng, theory, elements)
    text.append(f"(assert {_told(formula)})")
    corners = [
        (x, y)
        for x, y in ((box[0][0], box[1][0]), (box[0][1], box[1][0]), (box[0][1], box[1][1]), (box[0][0], box[1][1]))
    ]
    answer = _answer(nets, elements, formula, corners)
    return Small("\n".join(text) + "\n", declared, answer)


def _networks(rng: np.random.Generator, theory: str) -> tuple[dict[str, tuple[Layers, list[int]]], list[_Net]]:
    if theory in ("networks", "equal", "isomorphic"):
        shared = bool(rng.integers(2))
        first = small_layers(rng, 1, 3, 2)
        second = first if theory == "equal" else small_layers(rng, 1, 3, 2)
        nets = [
            _Net("f", first, [1], [[0]], ("X", "H", "Y")),
            _Net("g", second, [1], [[0 if shared else 1]], ("A", "G", "B")),
        ]
        models = {"f": (first, [1])} | ({} if theory == "equal" else {"g": (second, [1])})
        return models, nets
    layers = small_layers(rng, 2, int(rng.integers(2, 5)), 2)
    sizes = [1, 1] if theory == "inputs" else [2]
    places = [[0], [1]] if theory == "inputs" else [[0, 1]]
    return {"f": (layers, sizes)}, [_Net("f", layers, sizes, places, ("X", "H", "Y"))]


def _formula(rng: np.random.Generator, theory: str, elements: dict[str, tuple[int, str, int]]) -> Formula:
    outputs = [n for n, e in elements.items() if e[1] == "y"]
    hidden = [n for n, e in elements.items() if e[1] == "h"]
    inputs = [n for n, e in elements.items() if e[1] == "x"]
    operators = ["<=", ">=", "<", ">"]

    def atom() -> Formula:
        pool = outputs + hidden * 2
        if theory == "linear" or (theory in ("networks", "equal", "hidden") and rng.random() < 0.4):
            pool = outputs + inputs + hidden
        count = 1 if theory == "bounds" else int(rng.integers(1, min(3, len(pool)) + 1))
        names = list(rng.choice(pool, count, replace=False))
        weights = {n: Fraction(1) for n in names} if theory == "bounds" else {}
        if theory == "outputs" or (theory != "bounds" and rng.random() < 0.3 and count > 1):
            weights = {names[0]: Fraction(1), **({names[1]: Fraction(-1)} if count > 1 else {})}
        weights = weights or {n: Fraction(int(rng.integers(1, 5)) * int(rng.choice([-1, 1])), 2) for n in names}
        operator = str(rng.choice(operators if rng.random() < 0.85 else ["==", "!="]))
        return operator, weights, Fraction(int(rng.integers(-24, 25)), 4)

    conjunction = [atom() for _ in range(int(rng.integers(1, 4)))]
    if theory == "or" or rng.random() < 0.3:
        conjunction.append(("or", [("and", [atom(), atom()]), atom(), ("or", [atom(), atom()])]))
    return "and", conjunction


def _decimal(value: Fraction) -> str:
    return f"{float(value):.6f}"


def _told(formula: Formula) -> str:
    if formula[0] in ("and", "or"):
        parts = [_told(part) for part in formula[1]]
        return parts[0] if len(parts) == 1 else f"({formula[0]} {' '.join(parts)})"
    operator, weights, bound = formula
    terms = [n if w == 1 else f"(- {n})" if w == -1 else f"(* {_decimal(w)} {n})" for n, w in weights.items()]
    left = terms[0] if len(terms) == 1 else f"(+ {' '.join(terms)})"
    return f"({operator} {left} {_decimal(bound)})"


def _cases(formula: Formula) -> list[list[Formula]]:
    if formula[0] == "or":
        return [case for part in formula[1] for case in _cases(part)]
    if formula[0] == "and":
        return [[a for part in choice for a in part] for choice in product(*map(_cases, formula[1]))]
    operator, weights, bound = formula
    if operator == "!=":
        return [[("<", weights, bound)], [(">", weights, bound)]]
    return [[formula]]


def _answer(
    nets: list[_Net], elements: dict[str, tuple[int, str, int]], formula: Formula, corners: list[Point]
) -> bool:
    one, zero = Fraction(1), Fraction(0)
    coordinates: list[Affine] = [(one, zero, zero), (zero, one, zero)]

    def pieces(
        k: int, part: list[Point], known: list[tuple[list[Affine], list[Affine]]]
    ) -> Iterator[tuple[list[Point], list[tuple[list[Affine], list[Affine]]]]]:
        if k == len(nets):
            yield part, known
            return
        x = [coordinates[c] for own in nets[k].inputs for c in own]
        for smaller, hidden, outputs in patterns(nets[k].layers, x, part):
            yield from pieces(k + 1, smaller, [*known, (hidden, outputs)])

    cases = _cases(formula)
    for part, known in pieces(0, corners, []):
        for case in cases:
            closed, strict = [], []
            for operator, weights, bound in case:
                forms = []
                for name in weights:
                    k, kind, index = elements[name]
                    forms.append(coordinates[index] if kind == "x" else known[k][0 if kind == "h" else 1][index])
                form = combine([float(w) for w in weights.values()], forms, -float(bound))
                other: Affine = (-form[0], -form[1], -form[2])
                if operator in ("<=", "=="):
                    closed.append(form)
                if operator in (">=", "=="):
                    closed.append(other)
                if operator in ("<", ">"):
                    strict.append(form if operator == "<" else other)
            if somewhere(part, closed, strict):
                return True
    return False


THEORIES = ("bounds", "outputs", "linear", "hidden", "inputs", "networks", "equal", "isomorphic", "or")
