"""``distverify man``: the manual page, made from the commands themselves."""

from __future__ import annotations

import inspect

import click

from distverify._version import __version__


@click.command()
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual page, for man(1).

    \b
    Examples:
      distverify man | man -l -
      distverify man > ~/.local/share/man/man1/distverify.1
    """
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    lines = [f'.TH DISTVERIFY 1 "" "distverify {__version__}" "User Commands"', ".SH NAME"]
    lines += [
        r"distverify \- certify neural networks over whole data sets",
        ".SH SYNOPSIS",
        ".B distverify",
        "COMMAND [ARGUMENTS]",
    ]
    lines += [".SH DESCRIPTION", *_paragraphs(root.help or "")]
    outer = click.Context(root, info_name="distverify")
    for name in root.list_commands(outer):
        command = root.get_command(outer, name)
        if command is None:
            continue
        inner = click.Context(command, outer, info_name=name)
        usage = " ".join(command.collect_usage_pieces(inner))
        lines += [
            f".SH {name.upper()}",
            f".B distverify {_plain(name)}",
            _plain(usage),
            ".PP",
            *_paragraphs(command.help or ""),
        ]
        for param in command.get_params(inner):
            record = param.get_help_record(inner)
            if record is not None:
                lines += [".TP", rf"\fB{_plain(record[0])}\fR", _plain(record[1])]
    click.echo("\n".join(lines))


def _paragraphs(text: str) -> list[str]:
    """Help as roff: paragraphs, and examples line by line."""
    lines: list[str] = []
    for block in inspect.cleandoc(text).split("\n\n"):
        if block.startswith("\b"):
            lines += [".PP", ".nf", *(_plain(line) for line in block.splitlines()[1:]), ".fi"]
        else:
            lines += [".PP", *(_plain(line) for line in block.splitlines())]
    return lines


def _plain(text: str) -> str:
    """``text`` without what roff takes for a request."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return r"\&" + escaped if escaped.startswith((".", "'")) else escaped
