"""The description of an option, kept beside the dataclass field that holds its value.

A field says what the option is for, how its text is read and what it needs. Command lines, keyword arguments and their
documentation are made from that; :mod:`distverify.options.rules` refuses combinations by it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

_KEY = "option"


@dataclass(frozen=True)
class Option:
    """What is known of an option besides its name, type and default.

    Attributes
    ----------
    help : str
        For people; ``{name}`` stands for another option, which the command line spells ``--name``.
    group : str
        Heading in the help.
    parse : callable (str) -> value, optional
        Reads what is typed; its ValueError says what came and what to write. None for a flag.
    choices : tuple of str
        All texts that there are, where they are few.
    metavar : str
        What is typed, in one word.
    needs : dict name -> values
        The option counts only where option ``name`` has one of ``values`` (or, being a list, holds one).
    of_properties : bool
        Whether it also counts for property files.
    short : str
        Such as ``-o``.
    """

    help: str
    group: str
    parse: Callable[[str], Any] | None = None
    choices: tuple[str, ...] = ()
    metavar: str = ""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    of_properties: bool = False
    short: str = ""


def option(default: Any, help: str, group: str, **more: Any) -> Any:
    """A dataclass field with an :class:`Option`; ``default`` may be ``dataclasses.MISSING``: the option is required."""
    return field(default=default, metadata={_KEY: Option(help, group, **more)})


def options_of(*classes: type) -> dict[str, Option]:
    """The options of some dataclasses by name, in their order."""
    return {f.name: f.metadata[_KEY] for c in classes for f in dataclasses.fields(c) if _KEY in f.metadata}


def defaults_of(*classes: type) -> dict[str, Any]:
    """Default values by name; a required option has none."""
    named = options_of(*classes)
    return {
        f.name: f.default
        for c in classes
        for f in dataclasses.fields(c)
        if f.name in named and f.default is not MISSING
    }


def default_text(value: Any) -> str | None:
    """A default as it would be typed; None where there is none."""
    if value is None or value == ():
        return None
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return "inf" if math.isinf(value) else f"{value:g}"
    return str(value)


def in_use(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> set[str]:
    """The names whose value is another one than the default."""
    return {name for name, value in values.items() if not _same(value, defaults.get(name))}


def _same(value: Any, default: Any) -> bool:
    if value is default:
        return True
    try:
        return bool(value == default)
    except ValueError:  # an array
        return False


def chosen(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that ``cls`` has; None stands for the default."""
    defaults = defaults_of(cls)
    return {
        name: options[name]
        for name in options_of(cls)
        if name in options and not (options[name] is None and defaults.get(name) is not None)
    }


def takes(*classes: type) -> Callable[[F], F]:
    """Let a function's ``**options`` be the options of ``classes``: its signature, its documentation, its errors.

    In the docstring ``{options}`` is replaced by a numpydoc entry for each.
    """

    def decorate(function: F) -> F:
        named, defaults = options_of(*classes), defaults_of(*classes)
        kinds = {f.name: f.type for c in classes for f in dataclasses.fields(c)}
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, inspect.Parameter.empty))
            for name in named
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        entries = "\n".join(_entry(name, str(kinds[name]), o) for name, o in named.items())
        function.__doc__ = (function.__doc__ or "").replace("    {options}\n", textwrap.indent(entries + "\n", "    "))
        return function

    return decorate


def documented(cls: type) -> type:
    """Add a numpydoc section of the fields to the docstring of a dataclass."""
    kinds = {f.name: str(f.type) for f in dataclasses.fields(cls)}
    entries = "\n".join(_entry(name, kinds[name], o) for name, o in options_of(cls).items())
    section = textwrap.indent(f"Attributes\n----------\n{entries}\n", "    ")
    cls.__doc__ = f"{(cls.__doc__ or '').rstrip()}\n\n{section}    "
    return cls


def _entry(name: str, kind: str, option: Option) -> str:
    names = {n: n for n in (*_names_in(option.help), name)}
    text = option.help.format_map(names)
    return f"{name} : {kind}\n" + textwrap.indent(textwrap.fill(text, 110), "    ")


def _names_in(text: str) -> list[str]:
    return [piece.split("}")[0] for piece in text.split("{")[1:]]


def spelt(text: str, spell: Callable[[str], str]) -> str:
    """``text`` with every ``{name}`` spelt."""
    return text.format_map({name: spell(name) for name in _names_in(text)})


def check_names(function: str, options: Iterable[str], *classes: type) -> None:
    """Refuse keyword arguments that are no options, as Python does for a written-out signature.

    Raises
    ------
    TypeError
        Naming the option that was probably meant, or the one that is missing.
    """
    named = options_of(*classes)
    for name in options:
        if name not in named:
            near = difflib.get_close_matches(name, named, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}{meant}")
    missing = [name for name in named if name not in {*defaults_of(*classes), *options}]
    if missing:
        raise TypeError(f"{function}() missing required keyword-only argument: {missing[0]!r}")
