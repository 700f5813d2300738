"""The variables of a result file: one table that the writers, the reader and the tables on the screen share.

Version and migration policy
----------------------------
``SCHEMA_VERSION`` is a root attribute of every file. Adding a variable or an attribute does not change it:
readers look for what they know and leave the rest alone. Renaming, removing or changing the meaning,
dimensions or dtype of a variable raises it by one. A reader opens its own version and every older one (older
layouts are mapped to the newest names while reading; files are never rewritten in place) and refuses newer
ones with the remedy to upgrade. A journal of an interrupted run is continued by the version that started it
only: version 1 has no predecessor to migrate from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distverify.settings import PROPERTY, Settings
from distverify.status import NO_VALUE, STATUS_MEANINGS, VERIFIED_MEANINGS

SCHEMA_VERSION = 1
MESSAGE_BYTES = (
    256  # fixed-length UTF-8: works in virtual datasets and in every netCDF reader; variable length does not
)
NAN = float("nan")

_MESSAGE_DTYPE = f"S{MESSAGE_BYTES}"
_CUT = "…"


@dataclass(frozen=True)
class Variable:
    """One array of a result file.

    Attributes
    ----------
    name : str
    dims : tuple of str
        Of "sample", "eps", "output", "input"; "sample" comes first in everything that workers compute.
    dtype : str
        A NumPy dtype; "S<n>" is fixed-length UTF-8.
    fill : float, int or bytes
        What a sample without a value holds.
    units : str
        "1" for plain numbers; lengths are in the units of the data.
    long_name : str
    flags : tuple of (value, meaning)
        Of a variable that is a code.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: float | int | bytes
    units: str
    long_name: str
    flags: tuple[tuple[int, str], ...] = ()

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The array's shape for ``sizes`` (name of a dimension -> length)."""
        return tuple(sizes[d] for d in self.dims)


def _number(name: str, dims: str, long_name: str, units: str = "1") -> Variable:
    return Variable(name, tuple(dims.split()), "float64", NAN, units, long_name)


COORDINATES = (
    Variable("sample", ("sample",), "int64", -1, "1", "index of the sample in the data set"),
    Variable("output", ("output",), "int64", -1, "1", "output row of the network"),
    Variable("input", ("input",), "int64", -1, "1", "index of the flattened input"),
    _number("eps", "eps", "radius of the ball around the sample"),
)

_VERIFIED = tuple(enumerate(VERIFIED_MEANINGS, NO_VALUE))
_NO_SIGN = -128
_SIGNS = ((_NO_SIGN, "no_value"), (-1, "decreasing"), (0, "unknown"), (1, "increasing"))


def _signs(name: str, dims: str, where: str) -> Variable:
    meaning = f"how the output depends on the feature all over {where}"
    return Variable(name, tuple(dims.split()), "int8", _NO_SIGN, "1", meaning, _SIGNS)


_ALWAYS = (
    Variable("label", ("sample",), "int64", -1, "1", "true class, -1 where the data has none"),
    Variable("predicted", ("sample",), "int64", -1, "1", "class that the network predicts"),
    Variable("status", ("sample",), "int8", 0, "1", "outcome of the sample", tuple(enumerate(STATUS_MEANINGS))),
    Variable("message", ("sample",), _MESSAGE_DTYPE, b"", "1", "why the sample has no value, empty if it has"),
    _number("seconds", "sample", "kernel time of the sample", "s"),
    _number("logits", "sample output", "output of the network at the sample"),
)

_COMPUTED = {
    "jacobian": (
        # A map of a Jacobian says little without the image that it belongs to; costs 1 / (2 eps output) of the bounds.
        _number("x0", "sample input", "the sample itself: centre of its balls"),
        _number(
            "jacobian_lower",
            "sample eps output input",
            "element-wise lower bound of the Jacobian over the ball",
        ),
        _number(
            "jacobian_upper",
            "sample eps output input",
            "element-wise upper bound of the Jacobian over the ball",
        ),
    ),
    "lipschitz": (
        _number("lipschitz", "sample eps output", "local Lipschitz constant of each output row (dual norm)"),
        _number("lipschitz_vector", "sample eps", "local Lipschitz constant of the vector output (induced norm)"),
    ),
    "radius": (
        _number("radius", "sample", "certified radius, the larger of all methods"),
        _number("radius_crown", "sample", "certified radius by CROWN margin bounds"),
        _number("radius_jacobian", "sample", "certified radius by the integral of Jacobian bounds"),
        _number("radius_target", "sample output", "certified radius against each target class"),
        Variable("crown_evaluations", ("sample",), "int64", -1, "1", "radii at which CROWN bounded the margins"),
        Variable(
            "jacobian_evaluations", ("sample",), "int64", -1, "1", "radii at which the margins' Jacobian was bounded"
        ),
    ),
    "margins": (
        _number(
            "lipschitz_margin", "sample eps output", "local Lipschitz constant of the label's logit minus this one"
        ),
    ),
    "monotone": (_signs("monotone", "sample eps output input", "the ball"),),
    "landscape": (
        _number("stationary_free_radius", "sample output", "radius without a stationary point of the output row"),
    ),
}

_HULLS = (
    _number("hull_lower", "eps output input", "smallest jacobian_lower of all samples that have one"),
    _number("hull_upper", "eps output input", "largest jacobian_upper of all samples that have one"),
)


_VERIFIED_AT = Variable(
    "verified",
    ("sample", "eps"),
    "int8",
    NO_VALUE,
    "1",
    "whether no target class is predicted anywhere in the ball",
    _VERIFIED,
)
_PROPERTY = (
    Variable(
        "verified", ("sample",), "int8", NO_VALUE, "1", "whether the property has no counterexample", _VERIFIED[:3]
    ),
    _number(
        "property_margin",
        "sample",
        "by how much the clearest constraint rules out the nearest counterexample, at least",
    ),
)

_RUN = {
    "global": (
        _number("global_lipschitz", "output", "global Lipschitz constant of each output row (dual norm)"),
        _number("global_lipschitz_vector", "", "global Lipschitz constant of the vector output (induced norm)"),
        _number("product_of_norms", "", "product of the layers' norms, the textbook bound of global_lipschitz_vector"),
    ),
    "jacobian": (
        _number("domain_jacobian_lower", "output input", "element-wise lower bound of the Jacobian over the domain"),
        _number("domain_jacobian_upper", "output input", "element-wise upper bound of the Jacobian over the domain"),
    ),
    "lipschitz": (
        _number("domain_lipschitz", "output", "Lipschitz constant of each output row over the domain (dual norm)"),
        _number(
            "domain_lipschitz_vector", "", "Lipschitz constant of the vector output over the domain (induced norm)"
        ),
    ),
    "monotone": (_signs("domain_monotone", "output input", "the domain"),),
}

FEATURE_EPS = _number("feature_eps", "input", "factor of eps for the feature, 0 where it is fixed")
PROPERTY_NAME = Variable("property", ("sample",), _MESSAGE_DTYPE, b"", "1", "file that states the property")


def variables_for(settings: Settings) -> tuple[Variable, ...]:
    """The per-sample variables of a run; what was not asked for is absent."""
    if settings.compute == (PROPERTY,):
        return _ALWAYS + _PROPERTY
    chosen = [v for name, variables in _COMPUTED.items() if name in settings.compute for v in variables]
    if {"radius", "verified"} & set(settings.compute):
        chosen.append(_VERIFIED_AT)
    return _ALWAYS + tuple(v for v in chosen if settings.eps or (not {"eps"} & set(v.dims) and v.name != "x0"))


def run_variables_for(settings: Settings) -> tuple[Variable, ...]:
    """The variables of the network alone, which a finished run has besides."""
    return tuple(
        v
        for name, variables in _RUN.items()
        if name in settings.compute and (name == "global" or settings.domain is not None)
        for v in variables
    )


def hulls_for(settings: Settings) -> tuple[Variable, ...]:
    """The variables over all samples that a finished run has besides: lower, upper."""
    return _HULLS if "jacobian" in settings.compute and settings.eps else ()


def all_variables(settings: Settings) -> tuple[Variable, ...]:
    """Every variable that a finished file of such a run may hold."""
    beside = (*COORDINATES, FEATURE_EPS, PROPERTY_NAME)
    return beside + variables_for(settings) + run_variables_for(settings) + hulls_for(settings)


def payload_variables(settings: Settings, *, outputs: int, inputs: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """What a worker's payload holds: name -> (shape without the sample axis, dtype), messages left out.

    Messages are text of any length until a shard is written, so they are not an array of a fixed dtype.
    """
    sizes = {"sample": 0, "eps": len(settings.eps), "output": outputs, "input": inputs}
    return {v.name: (v.shape(sizes)[1:], v.dtype) for v in variables_for(settings) if v.name != "message"}


def attributes(variable: Variable) -> dict[str, str]:
    """CF-style text attributes; numeric ones need the stored dtype and are added on writing."""
    out = {"units": variable.units, "long_name": variable.long_name}
    if variable.flags:
        out["flag_meanings"] = " ".join(meaning for _, meaning in variable.flags)
    return out


def encode_message(text: str) -> bytes:
    """``text`` in at most MESSAGE_BYTES of UTF-8; a longer one is cut at a character, with an ellipsis."""
    # A NUL would end the text in every C reader.
    data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    if len(data) <= MESSAGE_BYTES:
        return data
    end = _CUT.encode()
    return data[: MESSAGE_BYTES - len(end)].decode("utf-8", "ignore").encode() + end
