"""``distverify warm-up``: compile all kernels now, so that no later command waits for it."""

from __future__ import annotations

import time

import click


@click.command(name="warm-up")
def warm_up() -> None:
    """Compile every kernel and keep it on disk, as an installer does once; later commands start at once."""
    begun = time.monotonic()
    from distverify.analysis.warm_up import warm_up as run_all
    from distverify.kernels.cache import kernel_folder

    run_all(on_demand=True)
    click.echo(f"kernels are compiled ({time.monotonic() - begun:.1f} s), in {kernel_folder()}")
