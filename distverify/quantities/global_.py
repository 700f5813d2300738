"""Lipschitz constants that hold for all inputs whatever."""

from __future__ import annotations

from distverify.quantities.quantity import AT_MOST, Claim, Quantity
from distverify.quantities.variable import number

GLOBAL = Quantity(
    name="global",
    of_derivatives=True,
    uses=frozenset({"direction"}),
    of_network=(
        number("global_lipschitz", "output", "global Lipschitz constant of each output row (dual norm)"),
        number("global_lipschitz_vector", "", "global Lipschitz constant of the vector output (induced norm)"),
        number("product_of_norms", "", "product of the layers' norms, the textbook bound of global_lipschitz_vector"),
    ),
    compute_network="distverify.analysis.network:global_constants",
    claims=(
        Claim("global_lipschitz", "slope_anywhere", AT_MOST),
        Claim("global_lipschitz_vector", "slope_vector_anywhere", AT_MOST),
        Claim("product_of_norms", "slope_vector_anywhere", AT_MOST),
    ),
    constants={
        "global_lipschitz_vector": "Global Lipschitz constant",
        "global_lipschitz": "largest of its rows",
        "product_of_norms": "product of the layers' norms",
    },
    meaning="Global Lipschitz constants hold for all inputs.",
)
