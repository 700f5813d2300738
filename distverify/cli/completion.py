"""``distverify completion``: the script by which a shell completes commands and options."""

from __future__ import annotations

import click

from distverify.errors import SettingsError

_SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": 'eval "$(distverify completion bash)" in ~/.bashrc', "zsh": 'eval "$(distverify completion zsh)" in ~/.zshrc',
    "fish": "distverify completion fish > ~/.config/fish/completions/distverify.fish",
}  # fmt: skip


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options and file names.

    \b
    Examples:
      eval "$(distverify completion bash)"        # in ~/.bashrc; zsh alike, in ~/.zshrc
      distverify completion fish > ~/.config/fish/completions/distverify.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        raise SettingsError(f"shell: got {shell!r}; choose {', '.join(_SHELLS)}")
    root = ctx.find_root().command
    click.echo(f"# {_WHERE[shell]}")
    # Not by click's own check of bash's version, which starts it.
    made = kind(root, {}, "distverify", "_DISTVERIFY_COMPLETE")
    click.echo(made.source_template % made.source_vars())
