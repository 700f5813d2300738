"""Command-line options, made from the fields of the dataclasses that hold them; help under headings."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from distverify.cli.config import CHOSEN, chosen_elsewhere, without_config
from distverify.cli.main import COMMAND_LINE
from distverify.options.option import Option, default_text, defaults_of, options_of, spelt
from distverify.options.rules import refuse

F = TypeVar("F", bound=Callable[..., Any])

# Headings in the order of the help; options of a command alone stand under the last one.
_GROUPS = ("Balls", "What is computed", "Bounds", "Data", "Workers", "Plan", "Output", "Options")


class Place(click.ParamType[Any]):
    """A path, or a URL, which no path may shorten."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | Path:
        return value if isinstance(value, Path) or "://" in value else Path(value)


class _Text(click.ParamType[Any]):
    """The type of an option that :class:`Option` describes: texts are read by its parser, whose errors are click's."""

    name = "text"

    def __init__(self, option: Option) -> None:
        self._parse = option.parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str) or self._parse is None:
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _Choice(click.Choice[str]):
    """One of a few texts, read by the option's parser."""

    def __init__(self, option: Option) -> None:
        super().__init__(option.choices)
        self._parse = option.parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = super().convert(value, param, ctx)
        return text if self._parse is None else self._parse(text)


class _Grouped(click.Option):
    """An option that knows its heading."""

    group = _GROUPS[-1]


class GroupedCommand(click.Command):
    """A command whose help has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {name: [] for name in _GROUPS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups[getattr(param, "group", _GROUPS[-1])].append(record)
        for name, records in groups.items():
            if records:
                with formatter.section(name):
                    formatter.write_dl(records)


def with_options(*classes: type) -> Callable[[F], F]:
    """Give a command the options of ``classes``."""

    def decorate(function: F) -> F:
        defaults = defaults_of(*classes)
        made = [_made(name, o, defaults) for name, o in options_of(*classes).items()]
        # click reads this list from its end.
        function.__click_params__ = getattr(function, "__click_params__", []) + made[::-1]  # type: ignore[attr-defined]
        return function

    return decorate


def _made(name: str, option: Option, defaults: dict[str, Any]) -> click.Option:
    names = [*([option.short] if option.short else []), spelling(name)]
    text = spelt(option.help, spelling)
    if name in defaults and isinstance(defaults[name], bool):
        made = _Grouped([*names, name], is_flag=True, help=text)
    else:
        default = default_text(defaults.get(name))
        more: dict[str, Any] = {"default": default, "show_default": default is not None}
        if name not in defaults:
            more = {"required": True}
        kind = _Choice(option) if option.choices else _Text(option)
        made = _Grouped([*names, name], type=kind, metavar=option.metavar or None, help=text, **more)
    made.group = option.group
    return made


def spelling(name: str) -> str:
    """``max_actors`` as it is typed: ``--max-actors``."""
    return "--" + name.replace("_", "-")


def typed(ctx: click.Context, *classes: type) -> dict[str, Any]:
    """The values of the options of ``classes`` that were typed, or chosen in the environment or a file;
    defaults are those of the Python functions.

    Raises
    ------
    SettingsError
        An option that the others make meaningless, even if its default was typed.
    """
    named = options_of(*classes)
    given = {n: ctx.params[n] for n in named if ctx.get_parameter_source(n) in CHOSEN}
    refuse(named, {**defaults_of(*classes), **given}, given)
    return given


def command_line(ctx: click.Context) -> str | None:
    """The command as it was typed, for the result's provenance."""
    text = ctx.meta.get(COMMAND_LINE)
    if text is None:
        return None
    # As it could be typed without the environment and the file, which may be others another time.
    elsewhere = chosen_elsewhere(ctx)
    return " ".join([without_config(str(text)), *([shlex.join(elsewhere)] if elsewhere else [])])
