"""The pages, by Sphinx: ``sphinx-build -W -b html docs OUT``. The command line's page is made from the commands themselves."""

from __future__ import annotations

import click
from sphinx.application import Sphinx

import distverify
from distverify.cli.main import main

project = "distverify"
author = "The distverify developers"
project_copyright = "The distverify developers"
version = release = distverify.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = False
html_theme = "alabaster"
html_theme_options = {
    "description": "Certify neural networks over whole data sets",
    "page_width": "1100px",
    "fixed_sidebar": True,
}
html_copy_source = False
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
# Files of the repository that pages name are no pages.
suppress_warnings = ["myst.xref_missing", "myst.header"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def _command_line() -> str:
    """The help of every command."""
    root = click.Context(main, info_name="distverify", max_content_width=100)
    lines = ["# Command line", "", "```text", main.get_help(root), "```", ""]
    for name in main.list_commands(root):
        command = main.get_command(root, name)
        if command is not None:
            inner = click.Context(command, root, info_name=name, max_content_width=100)
            lines += [f"## distverify {name}", "", "```text", command.get_help(inner), "```", ""]
    return "\n".join(lines)


def _python() -> str:
    """Every function and type that is a name of the package."""
    lines = ["# Python", "", "Everything here is a name of the package: `import distverify as dv`.", ""]
    for name in sorted(distverify.__all__, key=str.lower):
        value = getattr(distverify, name)
        if not callable(value):
            continue
        kind = "autoclass" if isinstance(value, type) else "autofunction"
        lines += [f"## {name}", "", "```{eval-rst}", f".. {kind}:: {value.__module__}.{value.__qualname__}"]
        lines += ["   :members:"] if kind == "autoclass" else []
        lines += ["```", ""]
    return "\n".join(lines)


def _fill(app: Sphinx, name: str, source: list[str]) -> None:
    made = {"cli": _command_line, "api": _python}.get(name)
    if made is not None:
        source[0] = made()


def setup(app: Sphinx) -> None:
    """Fill the pages that are made from the package."""
    app.connect("source-read", _fill)
