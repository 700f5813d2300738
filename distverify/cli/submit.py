"""``distverify submit``: certify on a cluster from here, through Ray's job server."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from distverify.cli.guard import INTERRUPTED
from distverify.errors import SettingsError

_KEPT = "result.h5"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("certify_arguments", nargs=-1, type=click.UNPROCESSED, metavar="MODEL DATA... [CERTIFY OPTIONS]")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT.h5",
    help="Result file to write here.",
)
@click.option("--address", required=True, metavar="URL", help="Job server of the cluster, such as http://head:8265.")
@click.option(
    "--job-env", type=click.Path(path_type=Path), metavar="FILE", help="Runtime environment of the job, YAML or JSON."
)
@click.option("--keep", metavar="PATH", help="Result file on the cluster's own storage: a killed job is then continued by the "
              "same command.")  # fmt: skip
@click.pass_context
def submit(
    ctx: click.Context, /, certify_arguments: tuple[str, ...], output: Path, address: str, job_env: Path | None, keep: str | None
) -> None:  # fmt: skip
    """Certify on a cluster: upload model and data, follow the run, fetch the result.

    The cluster needs Ray with its job server and the packages that distverify needs (--job-env installs them); this distverify is
    sent along. Ctrl-C once asks, twice within 10 seconds cancels the job.

    \b
    Exit status: as certify's.

    \b
    Example:
      distverify submit net.onnx data.npz --eps 0.01 -o out.h5 --address http://head:8265
    """
    if "://" not in address:
        raise SettingsError(f"address: got {address!r}; give the URL of the job server, such as http://head:8265")
    from distverify.executors import read_runtime_env
    from distverify.notices import tell
    from distverify.options.files import RESULT_SUFFIXES, check_output
    from distverify.runtime.ray.submission import Submission

    check_output(output, RESULT_SUFFIXES, certify_arguments)
    with tempfile.TemporaryDirectory(prefix="distverify-submit-") as folder:
        words = uploaded(certify_arguments, Path(folder))
        command = job_command(words, keep)
        job = Submission.start(address, command, Path(folder), read_runtime_env(job_env))
        tell(f"job {job.id} on {address}")
        with closing(job):
            ctx.exit(asyncio.run(_followed(job, output)))


def uploaded(words: tuple[str, ...], folder: Path) -> list[str]:
    """The words of a certify command with their files in ``folder``, by the names that they have there.

    Raises
    ------
    SettingsError, click.UsageError
        What certify would refuse of them.
    """
    from distverify.cli.certify import certify

    inner = certify.make_context("certify", [*words, "-o", _KEPT], auto_envvar_prefix=None)
    places: dict[str, str] = {}
    for value in _values(inner.params):
        for text in str(value).split(",") if isinstance(value, str | Path) else ():
            source = Path(text)
            if text in places or "://" in text or text == _KEPT or not source.exists():
                continue
            name = f"{len(places)}/{source.name}"  # two of one name are kept apart
            places[text] = name
            (folder / name).parent.mkdir()
            if source.is_dir():
                shutil.copytree(source, folder / name)
                continue
            shutil.copy2(source, folder / name)
            beside = source.with_name(source.name + ".data")  # of large ONNX models
            if beside.is_file():
                shutil.copy2(beside, (folder / name).with_name(beside.name))
    return [_renamed(word, places) for word in words]


def _values(params: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    for value in params.values():
        found += list(value) if isinstance(value, tuple | list) else [value]
    return found


def _renamed(word: str, places: dict[str, str]) -> str:
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return (
        option + equals + ",".join(places.get(piece, places.get(str(Path(piece)), piece)) for piece in value.split(","))
    )


def job_command(words: list[str], keep: str | None) -> str:
    """What the job runs: certify, then the result to the log, with the status of certify."""
    output = keep or _KEPT
    run = shlex.join(["python", "-m", "distverify", "certify", *words, "-o", output])
    sent = shlex.join(["python", "-m", "distverify.runtime.ray.submission", output])
    return f"{run}; status=$?; if [ $status -le 1 ]; then {sent} || exit 2; fi; exit $status"


async def _followed(job: Any, output: Path) -> int:
    """The status of the job's command; signals ask first, and cancel then."""
    from distverify.notices import tell

    loop, pressed = asyncio.get_running_loop(), [0.0]
    task = asyncio.ensure_future(job.follow(lambda line: tell(line, "job"), output))

    def press() -> None:
        now = loop.time()
        if pressed[0] and now - pressed[0] < 10.0:
            tell("cancelling the job")
            job.stop()
            task.cancel()
            return
        pressed[0] = now
        tell(f"the job {job.id} goes on; press Ctrl-C again within 10 s to cancel it")

    loop.add_signal_handler(signal.SIGINT, press)
    try:
        return int(await task)
    except asyncio.CancelledError:
        tell(f"cancelled: {job.id}", "interrupted")
        return INTERRUPTED
    finally:
        loop.remove_signal_handler(signal.SIGINT)
