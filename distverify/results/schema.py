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

from distverify.quantities import catalogue
from distverify.quantities.variable import MESSAGE_BYTES, TEXT, Variable, number, whole
from distverify.settings import Settings
from distverify.status import STATUS_MEANINGS

__all__ = [
    "AXIS_NAMES",
    "COORDINATES",
    "FEATURE_EPS",
    "IMAGE_AXES",
    "MESSAGE_BYTES",
    "PROPERTY_NAME",
    "SCHEMA_VERSION",
    "Variable",
    "all_variables",
    "attributes",
    "encode_message",
    "hulls_for",
    "payload_variables",
    "run_variables_for",
    "variables_for",
]

SCHEMA_VERSION = 1
_CUT = "…"

COORDINATES = (
    whole("sample", "sample", "index of the sample in the data set"),
    whole("output", "output", "output row of the network"),
    whole("input", "input", "index of the flattened input"),
    whole("feature", "feature", "index of the sample's flattened values, where inputs are parameters of perturbations"),
    number("eps", "eps", "radius of the ball around the sample"),
)
_ALWAYS = (
    whole("label", "sample", "true class, -1 where the data has none"),
    whole("predicted", "sample", "class that the network predicts"),
    Variable("status", ("sample",), "int8", 0, "1", "outcome of the sample", tuple(enumerate(STATUS_MEANINGS))),
    Variable(
        "message", ("sample",), TEXT, b"", "1", "what is missing of the sample and why, or else is to be said of it"
    ),
    number("seconds", "sample", "kernel time of the sample", "s"),
    number("logits", "sample output", "output of the network at the sample"),
)
SUBPROBLEMS = whole("subproblems", "sample", "subproblems of all search trees that were bounded")
FEATURE_EPS = number("feature_eps", "input", "factor of eps for the feature, 0 where it is fixed")
PERTURBATION = number("perturbation", "feature input", "by how much the parameter moves the sample's value")
AXIS_NAMES = {
    "input": Variable("input_name", ("input",), TEXT, b"", "1", "what the input is called, with its units"),
    "output": Variable("output_name", ("output",), TEXT, b"", "1", "what the output is called, with its units"),
}
IMAGE_AXES = {
    "row": whole("input_row", "input", "row of the pixel, from above"),
    "column": whole("input_column", "input", "column of the pixel, from the left"),
    "channel": whole("input_channel", "input", "channel of the pixel"),
}
PROPERTY_NAME = Variable("property", ("sample",), TEXT, b"", "1", "file that states the property")


def variables_for(settings: Settings) -> tuple[Variable, ...]:
    """The per-sample variables of a run; what was not asked for is absent."""
    chosen = (v for q in catalogue.chosen(settings.compute) for v in q.of_samples(settings.eps, settings.nodes))
    searched = (SUBPROBLEMS,) if settings.nodes else ()
    return _ALWAYS + searched + tuple(dict.fromkeys(chosen))


def run_variables_for(settings: Settings) -> tuple[Variable, ...]:
    """The variables of the network alone, which a finished run has besides."""
    quantities = catalogue.chosen(settings.compute)
    over_domain: list[Variable] = []
    if settings.domain is not None:
        over_domain = [v for q in quantities for v in q.of_domain.values()]
        over_domain += [v for q in quantities for v in q.searched_domain] if settings.nodes else []
    return (*(v for q in quantities for v in q.of_network), *over_domain)


def hulls_for(settings: Settings) -> tuple[Variable, ...]:
    """The variables over all samples that a finished run has besides: lower, upper."""
    return tuple(v for q in catalogue.chosen(settings.compute) for v in q.hulls) if settings.eps else ()


def all_variables(settings: Settings) -> tuple[Variable, ...]:
    """Every variable that a finished file of such a run may hold."""
    beside = (*COORDINATES, *AXIS_NAMES.values(), *IMAGE_AXES.values(), FEATURE_EPS, PERTURBATION, PROPERTY_NAME)
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


def in_norm(variable: Variable) -> bool:
    """Whether the values are distances in the norm of the run."""
    return variable.name == "eps" or "radius" in variable.name.split("_")


def encode_message(text: str) -> bytes:
    """``text`` in at most MESSAGE_BYTES of UTF-8; a longer one is cut at a character, with an ellipsis."""
    # A NUL would end the text in every C reader.
    data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    if len(data) <= MESSAGE_BYTES:
        return data
    end = _CUT.encode()
    return data[: MESSAGE_BYTES - len(end)].decode("utf-8", "ignore").encode() + end
