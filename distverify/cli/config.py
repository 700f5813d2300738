"""Options from a file and from the environment: ``--config run.toml``, ``DISTVERIFY_CERTIFY_EPS=0.01``.

What is typed counts first, then the environment, then the file. A file has options at its top, for any command, or in a table
of the command's name; dashes and underscores are the same.
"""

from __future__ import annotations

import difflib
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from distverify.errors import SettingsError

PREFIX = "DISTVERIFY"
CONFIG = "config"
_OTHERS = (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)
# A value that somebody chose, wherever.
CHOSEN = (ParameterSource.COMMANDLINE, *_OTHERS)


def configurable(command: click.Command) -> click.Command:
    """``command`` with the option ``--config``."""
    if all(param.name != CONFIG for param in command.params):
        option = click.Option(
            ["--" + CONFIG], type=click.Path(path_type=Path), is_eager=True, expose_value=False, callback=_load,
            metavar="RUN.toml",
            help="Options from a TOML file, arguments too (model, data); what is typed counts first. Each is also an "
            f"environment variable, such as {PREFIX}_CERTIFY_EPS.",
        )  # fmt: skip
        command.params.append(option)
    return command


def _load(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:
    if path is None:
        return
    ctx.default_map = {**(ctx.default_map or {}), **_options(path, ctx)}


def _options(path: Path, ctx: click.Context) -> dict[str, Any]:
    """What a file says for the command of ``ctx``, as it would be typed."""
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"config: {path} cannot be read ({error.strerror or error}); check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"config: {path} is no TOML ({error}); write lines such as eps = [0.01, 0.02]") from None
    own = ctx.command.name or ""
    values = {name: value for name, value in told.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in told.items() if isinstance(value, dict)}
    values |= tables.get(own, tables.get(own.replace("-", "_"), {}))
    known = {p.name: p for p in ctx.command.params if p.name is not None}
    found: dict[str, Any] = {}
    for name, value in values.items():
        plain = name.replace("-", "_")
        if plain not in known or plain in (CONFIG, "help"):
            near = difflib.get_close_matches(plain, known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else f"; distverify {own} --help lists its options"
            raise SettingsError(f"config: {path} says {name!r}, which {own} does not have{meant}")
        found[plain] = _typed(value, known[plain], f"config: {path}: {name}")
    return found


def _typed(value: Any, param: click.Parameter, what: str) -> Any:
    """A value of TOML as its text on the command line, which is read by the option's own parser."""
    if isinstance(value, bool):
        return value if isinstance(param, click.Option) and param.is_flag else ("yes" if value else "no")
    if isinstance(value, list) and all(isinstance(v, str | int | float) for v in value):
        texts = [str(v) for v in value]
        return tuple(texts) if param.nargs == -1 or param.multiple else ",".join(texts)
    if isinstance(value, str | int | float):
        return (str(value),) if param.nargs == -1 or param.multiple else str(value)
    raise SettingsError(f"{what}: is {type(value).__name__}; write a text, a number, true, false, or a list of them")


def chosen_elsewhere(ctx: click.Context) -> list[str]:
    """What the environment and the file add to the command that was typed, as it would be typed."""
    words: list[str] = []
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        if source not in _OTHERS or name == CONFIG:
            continue
        raw = (
            param.value_from_envvar(ctx) if source is ParameterSource.ENVIRONMENT else (ctx.default_map or {}).get(name)
        )
        if isinstance(param, click.Option) and param.is_flag:
            words += [param.opts[-1]] if ctx.params.get(name) else []
            continue
        texts = [str(v) for v in raw] if isinstance(raw, tuple | list) else [str(raw)]
        for text in texts:
            words += [text] if isinstance(param, click.Argument) else [max(param.opts, key=len), text]
    return words


def without_config(command: str) -> str:
    """A command line without its ``--config``."""
    words, kept = shlex.split(command), []
    while words:
        word = words.pop(0)
        if word == "--" + CONFIG:
            words[:1] = []
        elif not word.startswith(f"--{CONFIG}="):
            kept.append(word)
    return shlex.join(kept)
