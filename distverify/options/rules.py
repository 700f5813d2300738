"""Which options go together: the one place that refuses combinations.

Most rules are said beside the option itself: ``needs`` names the values of another option without which it would be ignored,
``of_properties`` whether it counts for property files. The table below has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distverify.errors import SettingsError, argument
from distverify.options.option import Option

Values = Mapping[str, Any]

# Where samples come from: a value of the pseudo-option "data" in the rules.
ARRAYS, FILE, PROPERTIES = "arrays", "file", "properties"
DATA = "data"
# Longer values are not repeated in a message.
_LONGEST = 60


@dataclass(frozen=True)
class Rule:
    """``option`` is refused where ``applies``, because of ``why``."""

    option: str
    applies: Callable[[Values], bool]
    why: str


def _no_mean(values: Values) -> bool:
    return all(values.get(name, values) is None for name in ("mean", "std", "preprocessing"))


RULES = (
    Rule("retry_failed", lambda v: v.get("overwrite") is True,
         f"{argument('overwrite')} computes every sample again; leave one of them out"),
    Rule("y", lambda v: v.get(DATA) == FILE,
         f"labels of a data file come from the file; leave {argument('y')} out, or give the samples as an array too"),
    Rule("time_limit", lambda v: v.get("executor") == "serial" and v.get("nodes") == 0,
         f"only workers of the ray executor can be ended; choose {argument('executor', 'ray')}, leave {argument('time_limit')} "
         f"out, or give {argument('nodes')}: searches end in order"),
    Rule("model_layout", lambda v: v.get("layout") == "flat" and _no_mean(v),
         f"nothing depends on it without {argument('layout')}, {argument('mean')} or {argument('std')}; leave it out"),
    Rule("perturbation", lambda v: v.get("domain") is not None,
         f"{argument('domain')} is a box of inputs without a sample; leave one of them out"),
    Rule("perturbation", lambda v: v.get("eps_units") == "normalised",
         f"a family is one of inputs as the data have them; leave {argument('eps_units')} out"),
    Rule("pieces_per_sample", lambda v: v.get("perturbation") is not None,
         f"with {argument('perturbation')} a sample has few inputs, and is computed by one worker; leave it out"),
    Rule("eps_units", lambda v: "mean" in v and _no_mean(v),
         f"normalised units need {argument('mean')} or {argument('std')}; add them, or leave {argument('eps_units')} out"),
)  # fmt: skip

# What is said of an option that needs another one: what it is only for, and the remedy.
_NEEDS = {
    "compute": ("which is only for {values}", f"add one of them to {argument('compute')}, or leave {{name}} out"),
    "executor": ("which only the ray executor uses", f"leave {{name}} out, or choose {argument('executor', 'ray')}"),
    "method": ("which only methods {values} have", "choose one of them, or leave {name} out"),
    DATA: ("which is only for files", "divide or slice the array x itself, and leave {name} out"),
}


def refuse(options: Mapping[str, Option], values: Values, given: Collection[str]) -> None:
    """Raise an error about the first option that would be ignored, or contradicts another one.

    Parameters
    ----------
    options : dict name -> Option
    values : dict name -> value
        Of all options, defaults too; "data" is one of "arrays", "file" and "properties" where that is known.
    given : collection of str
        Names of options whose value somebody chose.

    Raises
    ------
    SettingsError
    """
    if values.get(DATA) == PROPERTIES:
        _refuse_beside_properties(options, given)
    for name in (n for n in options if n in given):
        for other, possible in options[name].needs.items():
            if other not in values or _any_of(values[other], possible):
                continue
            why, remedy = (text.format(name=argument(name), values=", ".join(possible)) for text in _NEEDS[other])
            raise SettingsError(f"{name}: {_got(values[name])}{why}; {remedy}")
    for rule in RULES:
        if rule.option in given and rule.applies(values):
            raise SettingsError(f"{rule.option}: {_got(values[rule.option])}but {rule.why}")


def _refuse_beside_properties(options: Mapping[str, Option], given: Collection[str]) -> None:
    names = [n for n in (*options, "y") if n in given and not (n in options and options[n].of_properties)]
    if names:
        marked = ", ".join(map(argument, names))
        raise SettingsError(f"{', '.join(names)}: property files say what is verified, and where; leave {marked} out")


def _any_of(value: object, possible: tuple[str, ...]) -> bool:
    held = value if isinstance(value, tuple | list | set | frozenset) else (value,)
    return any(v in possible for v in held)


def _got(value: object) -> str:
    text = repr(str(value) if isinstance(value, Path) else value)
    return f"got {text}, " if len(text) <= _LONGEST and "\n" not in text else ""
