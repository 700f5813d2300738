"""A quantity: one thing that a run can compute, as one frozen value in one file of this folder.

A quantity says what it is called on the command line, which variables it leaves in the file, what it needs, how it is computed,
what it costs, how an audit attacks it and how people are told of it. The other rooms hold no list of their own: settings, schema,
analysis, cost, summary, tables, report, export and audit all read :mod:`distverify.quantities.catalogue`. A new quantity is a file
here (and its line there); where it takes mathematics of its own, a file in ``analysis`` too.

This folder lies below the settings, so that reading a result needs no kernels. Computing is named by a reference,
"package.module:function" as in a package's entry points, and looked up where bounds are at hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distverify.quantities.variable import Variable

if TYPE_CHECKING:  # the command line reads names here, and starts faster without NumPy
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

AT_MOST, AT_LEAST = 1, -1


@dataclass(frozen=True)
class Claim:
    """One side of what a variable says of everything that can be attained, for audits to attack.

    Attributes
    ----------
    variable : str
    attained : str
        Of :data:`distverify.attacks.attained.ATTAINED`.
    side : AT_MOST or AT_LEAST
    bound : callable (values, eps) -> float64, optional
        The stored values as numbers to compare with what was attained; NaN where they claim nothing.
    graded : bool
        Whether it means something how close an attack came.
    """

    variable: str
    attained: str
    side: int
    bound: Callable[[NDArray[np.generic], Floats], Floats] | None = None
    graded: bool = True


@dataclass(frozen=True)
class Spread:
    """A number of every sample (of every sample and radius) that is told by its quantiles over the samples.

    Attributes
    ----------
    name : str
        Of the variable, or of the number that ``value`` makes.
    head, short : str
        What it is called at the beginning of a line, and over a narrow column.
    dims : tuple of str
        ("sample",) or ("sample", "eps"), with or without "output": then all outputs count alike.
    note : str
        What one must know to read it; "{norm}" stands for the norm's name.
    reads : tuple of str
        Variables that the number is made of; by default the one of its name.
    value : callable (array, ...) -> float64, optional
        The number, from what is read.
    nothing : float, optional
        What a misclassified sample counts as, and one without a value; by default a sample counts if it has a value.
    weakest : "least" or "most"
        Which end of the range is the weakest guarantee.
    certifies : bool
        Whether a sample is certified at every radius up to this number.
    parts : tuple of (variable, short, long name)
        The same by each of several methods, told beside it where there is room.
    figure : str
        Name of its figure.
    """

    name: str
    head: str
    short: str
    dims: tuple[str, ...]
    note: str = ""
    reads: tuple[str, ...] = ()
    value: Callable[..., Floats] | None = None
    nothing: float | None = None
    weakest: str = "most"
    certifies: bool = False
    parts: tuple[tuple[str, str, str], ...] = ()
    figure: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the variables that it is made of."""
        return self.reads or (self.name,)


@dataclass(frozen=True)
class Share:
    """A number of samples, at every radius or in all, for which something is known.

    Attributes
    ----------
    name : str
    head : str
    variable : str
        [sample] or [sample, eps].
    holds : callable (array) -> bool array
    dims : tuple of str
        Of the variable.
    note : str
        What it means for a sample to be one of them.
    """

    name: str
    head: str
    variable: str
    holds: Callable[[NDArray[np.generic]], NDArray[np.bool_]]
    dims: tuple[str, ...]
    note: str = ""


@dataclass(frozen=True)
class Effort:
    """What a quantity takes of a sample's bounds, about.

    Attributes
    ----------
    derivatives : bool
        Bounds of Jacobians over every ball; quantities share them.
    searches : bool
        A search over balls of other radii; quantities share their number, not the balls.
    differentiates : bool
        Whether the search also bounds a Jacobian in each of them.
    marches : bool
        Whether Jacobians are bounded at up to ``march_evaluations`` radii besides.
    """

    derivatives: bool = False
    searches: bool = False
    differentiates: bool = False
    marches: bool = False


@dataclass(frozen=True)
class Quantity:
    """One thing that a run can compute.

    Attributes
    ----------
    name : str
        As in ``--compute``.
    variables : tuple of Variable
        Of every sample. Those with the dimension eps exist only in a run that has radii.
    derivatives : dict fact -> variable
        What of the outputs' Jacobian over each ball (see :class:`distverify.questions.rows.Derivatives`) is stored as it is. All
        quantities that ask for such are answered together.
    compute, compute_at : str
        References to functions (Around) -> values by variable, and (Around, Over) -> values over one ball, without the axis eps:
        see :mod:`distverify.analysis.around`.
    searched : tuple of Variable
        Of every sample, in a run with nodes: what branch and bound finds besides.
    search_at : str
        Reference to a function (Over) -> values by variable, of a run with nodes: those of ``searched``, and what a search improves.
    searched_domain : tuple of Variable
        The same over the whole domain, of what ``search_domain`` computes.
    search_domain : str
        Reference to a function (bounder, bounds of the domain's nodes, settings, facts by variable, deadline by ``time.monotonic`` or
        None) -> values by variable.
    needs_eps : bool
        Whether it is about given balls: without radii (but with a domain) there is none of its variables of samples.
    compares : bool
        Whether it compares classes: of a network with a single output it is refused.
    of_derivatives : bool
        Whether it is nothing without derivatives: of a network that jumps it is refused.
    uses : frozenset of str
        Settings that change it, beside those of every quantity; a setting that nothing chosen uses is refused.
    of_network : tuple of Variable
        Of the network alone.
    compute_network : str
        Reference to a function (bounder, settings) -> values of those.
    of_domain : dict fact -> Variable
        What of the outputs' Jacobian over the whole domain is stored, or of what ``compute_domain`` computes.
    compute_domain : str
        Reference to a function (bounder, bounds of the domain's nodes, settings) -> values by variable.
    hulls : tuple of Variable
        Over all samples of a finished run: smallest lower and largest upper bound.
    effort : Effort
    claims : tuple of Claim
    spreads, shares : tuple
        How a table tells of it.
    constants : dict variable -> text
        Numbers of the network alone, and what they are called.
    meaning : str
        A sentence for readers of a report; "{eps}" stands for the radii, "{change}" for what an attacker wants.
    of_properties : bool
        Of property files instead of a data set: not to be chosen by name.
    """

    name: str
    variables: tuple[Variable, ...] = ()
    derivatives: dict[str, str] = field(default_factory=dict)
    compute: str = ""
    compute_at: str = ""
    searched: tuple[Variable, ...] = ()
    search_at: str = ""
    searched_domain: tuple[Variable, ...] = ()
    search_domain: str = ""
    needs_eps: bool = False
    compares: bool = False
    of_derivatives: bool = False
    uses: frozenset[str] = frozenset()
    of_network: tuple[Variable, ...] = ()
    compute_network: str = ""
    of_domain: dict[str, Variable] = field(default_factory=dict)
    compute_domain: str = ""
    hulls: tuple[Variable, ...] = ()
    effort: Effort = Effort()
    claims: tuple[Claim, ...] = ()
    spreads: tuple[Spread, ...] = ()
    shares: tuple[Share, ...] = ()
    constants: dict[str, str] = field(default_factory=dict)
    meaning: str = ""
    of_properties: bool = False

    def of_samples(self, eps: tuple[float, ...], nodes: int = 0) -> tuple[Variable, ...]:
        """The variables of every sample in a run with radii ``eps``, and branch and bound by ``nodes``."""
        every = (*self.variables, *(self.searched if nodes else ()))
        if eps:
            return every
        return () if self.needs_eps else tuple(v for v in every if "eps" not in v.dims)


def claimed_where(holds: NDArray[np.bool_], value: float | Floats) -> Floats:
    """A claim's bound: ``value`` where it holds, no claim elsewhere."""
    import numpy as np

    return np.where(holds, value, np.nan)


def referred(reference: str) -> Any:
    """What "package.module:function" names."""
    from importlib import import_module

    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
