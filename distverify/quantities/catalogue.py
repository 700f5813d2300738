"""The list of all quantities: the only place that names them all."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from distverify.quantities.attack import ATTACK
from distverify.quantities.evaluation import EVALUATION
from distverify.quantities.global_ import GLOBAL
from distverify.quantities.jacobian import JACOBIAN
from distverify.quantities.landscape import LANDSCAPE
from distverify.quantities.lipschitz import LIPSCHITZ
from distverify.quantities.margins import MARGINS
from distverify.quantities.monotone import MONOTONE
from distverify.quantities.outputs import OUTPUTS
from distverify.quantities.property import PROPERTY
from distverify.quantities.quantity import Claim, Quantity, Share, Spread
from distverify.quantities.radius import RADIUS, RADIUS_JACOBIAN
from distverify.quantities.verified import VERIFIED

# In the order in which people are told of them.
QUANTITIES = (
    RADIUS, RADIUS_JACOBIAN, VERIFIED, ATTACK, LIPSCHITZ, OUTPUTS, JACOBIAN, MARGINS, MONOTONE, LANDSCAPE, EVALUATION, GLOBAL,
    PROPERTY,
)  # fmt: skip


def names() -> tuple[str, ...]:
    """What ``--compute`` may name, sorted."""
    return tuple(sorted(q.name for q in QUANTITIES if not q.of_properties))


def chosen(compute: Collection[str]) -> tuple[Quantity, ...]:
    """The quantities of those names."""
    return tuple(q for q in QUANTITIES if q.name in compute)


def names_using(setting: str) -> tuple[str, ...]:
    """Names of the quantities that a setting changes, sorted."""
    return tuple(sorted(q.name for q in QUANTITIES if setting in q.uses))


def all_claims() -> Iterator[Claim]:
    """The claims of all quantities, each once."""
    yield from dict.fromkeys(claim for q in QUANTITIES for claim in q.claims)


def all_spreads() -> Iterator[Spread]:
    """The spreads of all quantities, each once."""
    yield from dict.fromkeys(spread for q in QUANTITIES for spread in q.spreads)


def all_shares() -> Iterator[Share]:
    """The shares of all quantities, each once."""
    yield from dict.fromkeys(share for q in QUANTITIES for share in q.shares)


def all_constants() -> dict[str, str]:
    """Variables of the network alone that people are told of -> what they are called."""
    return {name: text for q in QUANTITIES for name, text in q.constants.items()}
