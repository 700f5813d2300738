"""What a public project has beside its code: in step with the package, and readable by those who read it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from distverify._version import __version__
from distverify.cli.main import _COMMANDS, _GROUPS, main

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_versions_are_the_same() -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == __version__
    assert yaml.safe_load((ROOT / "docs/conda/recipe.yaml").read_text())["context"]["version"] == __version__


def test_the_recipe_needs_what_the_package_needs() -> None:
    yaml = pytest.importorskip("yaml")
    run = yaml.safe_load((ROOT / "docs/conda/recipe.yaml").read_text())["requirements"]["run"]
    renamed = {"matplotlib-base": "matplotlib", "ray-core": "ray"}
    named = {f"{renamed.get(name, name)}{version}" for name, _, version in (entry.partition(" ") for entry in run)}
    assert named - {"python>=${{ python_min }}"} == set(PROJECT["project"]["dependencies"])


def test_every_dependency_has_its_line() -> None:
    table = (ROOT / "docs/ARCHITECTURE.md").read_text()
    for dependency in PROJECT["project"]["dependencies"]:
        assert dependency.split(">=")[0] in table, dependency


@pytest.mark.parametrize(
    "path",
    [
        ".pre-commit-config.yaml",
        ".github/workflows/tests.yml",
        ".github/workflows/publish.yml",
        ".github/dependabot.yml",
    ],
)
def test_files_of_the_host_are_yaml(path: str) -> None:
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load((ROOT / path).read_text()), dict)


def test_the_help_has_every_command_under_a_heading() -> None:
    grouped = [name for names in _GROUPS.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert set(_COMMANDS) <= set(grouped)
    text = CliRunner().invoke(main, ["--help"]).output
    assert all(f"  {name} " in text for name in _COMMANDS)
    assert text.index("Start:") < text.index("Results:") < text.index("Set up:")


def test_the_manual_page_has_every_command() -> None:
    done = CliRunner().invoke(main, ["man"])
    assert done.exit_code == 0
    assert done.output.startswith('.TH DISTVERIFY 1 ""')
    for name in _COMMANDS:
        assert f".SH {name.upper()}" in done.output
    assert r"\fB\-\-eps" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell], prog_name="distverify")
    assert done.exit_code == 0
    assert f"_DISTVERIFY_COMPLETE={shell}_complete" in done.output


def test_completion_offers_commands_and_options() -> None:
    for words, offered in (("distverify cert", "certify"), ("distverify certify --lay", "--layer-bounds")):
        env = {"_DISTVERIFY_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        done = CliRunner().invoke(main, [], prog_name="distverify", env=env, complete_var="_DISTVERIFY_COMPLETE")
        assert offered in done.output
