"""Elements that are one number by construction: outputs of one model at inputs that must be equal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from distverify.analysis.query.binding import BoundQuery
from distverify.analysis.query.cases import Atom, Case, possible
from distverify.analysis.query.space import Space
from distverify.data.query.declarations import INPUT
from distverify.data.query.terms import Polynomial


def twins_of(bound: BoundQuery, space: Space, elements: Iterable[int]) -> dict[int, int]:
    """The first element that each of ``elements`` is the same as; none for those that are the same as no other."""
    if len(bound.networks) < 2:
        return {}
    of, wanted = space.of, frozenset(elements)
    seen: dict[tuple[object, ...], int] = {}
    names: dict[int, int] = {}
    for network in bound.networks:
        inputs = tuple(of[e] for t in network.declaration.of(INPUT) for e in t.elements)
        for tensor in network.declaration.tensors:
            if tensor.kind == INPUT:
                continue
            for place, element in enumerate(tensor.elements):
                if element not in wanted:
                    continue
                first = seen.setdefault((id(network.model), inputs, network.ports[tensor.name].name, place), element)
                if first != element:
                    names[element] = first
    return names


def unified(case: Case, names: Mapping[int, int]) -> Case | None:
    """``case`` with one name for each number; None where it contradicts itself then."""
    atoms: list[Atom] = []
    for atom in case.atoms:
        if atom.variables.isdisjoint(names):
            atoms.append(atom)
            continue
        named = replace(atom, polynomial=_named(atom.polynomial, names), sizes=_named(atom.sizes, names))
        if named.variables:
            atoms.append(named)
        elif not possible(named, case.bounds.format):
            return None
    return replace(case, atoms=tuple(atoms))


def _named(p: Polynomial, names: Mapping[int, int]) -> Polynomial:
    made: Polynomial = {}
    for monomial, weight in p.items():
        own = tuple(sorted(names.get(v, v) for v in monomial))
        made[own] = made.get(own, 0) + weight
    return {m: c for m, c in made.items() if c}
