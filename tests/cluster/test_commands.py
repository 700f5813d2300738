"""Every ``distverify`` and ``ray`` command in the folder, by the command lines themselves: nothing is run."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner
from ray.scripts.scripts import cli as ray_cli

from distverify.cli.main import main
from tests.cluster.files import CLUSTER, commands

DISTVERIFY = commands("distverify|cluster/slurm\\.sh")
RAY = commands("ray")


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def resolve(group: click.Command, words: list[str]) -> tuple[click.Command, list[str]]:
    """The sub-command that ``words`` begin with, and the remaining words."""
    while isinstance(group, click.Group):
        assert words, f"{group.name} needs a sub-command"
        command = group.get_command(click.Context(group), words[0])
        assert command is not None, f"{group.name} has no {words[0]!r}"
        group, words = command, words[1:]
    return group, words


def test_commands_are_found():
    assert {name for name, _ in DISTVERIFY} >= {"README.md", "rayjob.yaml", "slurm.sh"}
    assert {name for name, _ in RAY} >= {"README.md", "local.yaml", "aws.yaml", "slurm.sh"}
    verbs = {line.split()[0] for _, line in RAY}
    assert verbs >= {"up", "down", "exec", "rsync-up", "rsync-down", "start", "stop", "symmetric-run", "job"}


@pytest.mark.parametrize(("name", "line"), DISTVERIFY)
def test_distverify_takes_the_command(name, line):
    command, words = resolve(main, shlex.split(line))
    command.make_context(str(command.name), words)  # parses and checks; does not run


@pytest.mark.parametrize(("name", "line"), RAY)
def test_ray_has_the_options(name, line):
    command, words = resolve(ray_cli, [word.strip("`()") for word in line.split()])
    known = options(command)
    if command.name == "symmetric_run":
        known |= options(ray_cli.commands["start"])  # which it hands on
    own = words[: words.index("--")] if "--" in words else words
    given = {re.split("[= ]", word)[0] for word in own if word.startswith("-")}
    assert given <= known


def test_a_wrong_option_would_be_found():
    command, words = resolve(main, shlex.split("certify net.onnx data.npz --epsilon 0.01 -o out.h5"))
    with pytest.raises(click.NoSuchOption, match="--epsilon"):
        command.make_context("certify", words)


def test_the_files_come_out_of_the_package(tmp_path):
    folder = tmp_path / "here"
    runner = CliRunner()
    first = runner.invoke(main, ["cluster-files", str(folder)])
    assert first.exit_code == 0, first.output
    assert {p.name for p in (folder / "cluster").iterdir()} == {p.name for p in CLUSTER.iterdir()}
    again = runner.invoke(main, ["cluster-files", str(folder)])
    assert again.exit_code == 2
    assert "is there already; choose another folder" in again.output
