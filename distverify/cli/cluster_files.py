"""``distverify cluster-files``: the files for clusters, out of the installed package."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from distverify.errors import SettingsError


@click.command("cluster-files", short_help="Copy the files for Slurm, Kubernetes, AWS and SSH.")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def cluster_files(folder: Path) -> None:
    """Copy the files that start Ray clusters (Slurm, Kubernetes, AWS, machines over SSH), with their README, to DIR/cluster."""
    target = folder / "cluster"
    if target.exists():
        raise SettingsError(f"DIR: {target} is there already; choose another folder, or remove it")
    try:
        shutil.copytree(_source(), target, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise SettingsError(f"DIR: {target} cannot be written ({error.strerror}); choose another folder") from error
    click.echo(f"{target}: begin with {target / 'README.md'}")


def _source() -> Path:
    """In the package; in a checkout, beside it."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "cluster"
    return installed if installed.is_dir() else package.parent / "cluster"
