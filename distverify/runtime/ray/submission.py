"""Jobs of Ray's job server: a run that is sent to a cluster, followed from here, and whose result is fetched.

The server takes files and gives back a log; so the job's last words are its result, in lines of base64 with a digest.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distverify.errors import ExecutorError, argument
from distverify.runtime.ray.token import MODE, TOKEN, known_token, shown_token

_MARK = "distverify-result "
_LINE_BYTES = 3 * 2**14
LARGEST = 2**28  # bytes of a result that goes through a log


@dataclass
class Submission:
    """A job on a cluster.

    Attributes
    ----------
    id : str
    server : str
        URL of the job server.
    """

    id: str
    server: str
    _client: Any
    _shown: ExitStack

    @classmethod
    def start(cls, server: str, command: str, folder: Path, runtime_env: Mapping[str, Any] | None = None) -> Submission:
        """Upload a folder and this package, and start a command in that folder on the head.

        Parameters
        ----------
        server : str
            Such as ``http://head:8265``.
        command : str
        folder : Path
        runtime_env : dict, optional
            More of the job's environment.

        Raises
        ------
        ExecutorError
            The server is not there, or refuses.
        """
        try:
            from ray.job_submission import JobSubmissionClient
        except ImportError as error:
            raise ExecutorError(
                "submit: Ray's job client is not installed; pip install 'distverify[metrics]'"
            ) from error
        more = dict(runtime_env or {})
        shown = ExitStack()
        modules = [str(Path(__file__).parents[2]), *more.pop("py_modules", [])]

        def submitted() -> tuple[Any, Any]:
            client = JobSubmissionClient(server)
            environment = {**more, "working_dir": str(folder), "py_modules": modules}
            return client, client.submit_job(entrypoint=command, runtime_env=environment)

        try:
            try:
                client, job = submitted()
            except Exception as error:
                # The token is shown to a server that demands one, and to no other.
                if "uthentication" not in str(error) or MODE in os.environ or known_token() is None:
                    raise
                shown.enter_context(shown_token())
                client, job = submitted()
        except Exception as error:  # of any kind: requests, Ray and the server have their own
            reason = str(error).strip().partition("\n")[0][:300]
            raise ExecutorError(
                f"address: the job server at {server} does not take the job ({reason}); give the URL of the dashboard, such as "
                f"http://head:8265, and the cluster's token where it has one ({TOKEN})"
            ) from error
        return cls(str(job), server, client, shown)

    async def follow(self, show: Callable[[str], object], output: Path) -> int:
        """Show the job's log as it grows, and write the result that comes at its end.

        Returns
        -------
        int
            The exit status of its command.

        Raises
        ------
        ExecutorError
            The job was ended by others, or its result came incomplete.
        """
        receiver = _Receiver(show)
        async for piece in self._log():
            receiver.take(piece)
        receiver.end()
        info = self._client.get_job_info(self.id)
        status = str(getattr(info.status, "value", info.status))
        code = info.driver_exit_code
        if status not in ("SUCCEEDED", "FAILED") or (code is None and status == "FAILED"):
            raise ExecutorError(f"submit: the job {self.id} ended as {status.lower()}: {info.message}")
        code = 0 if code is None else int(code)
        if code in (0, 1):
            receiver.write(output)
        return code

    def _log(self) -> AsyncIterator[str]:
        stream: AsyncIterator[str] = self._client.tail_job_logs(self.id)
        return stream

    def close(self) -> None:
        """No token is shown any more."""
        self._shown.close()

    def stop(self) -> None:
        """Ask the server to end the job."""
        with suppress(Exception):  # it may have ended, or the server has
            self._client.stop_job(self.id)


class _Receiver:
    """Tells the lines of a result from those for people."""

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show
        self._rest = ""
        self._parts: list[bytes] = []
        self._digest: str | None = None

    def take(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._line(line)

    def end(self) -> None:
        if self._rest:
            self._line(self._rest)
        self._rest = ""

    def _line(self, line: str) -> None:
        if not line.startswith(_MARK):
            self._show(line)
            return
        kind, _, value = line.removeprefix(_MARK).partition(" ")
        if kind == "part":
            self._parts.append(base64.b64decode(value))
        elif kind == "sha256":
            self._digest = value.strip()

    def write(self, output: Path) -> None:
        content = b"".join(self._parts)
        if self._digest is None or hashlib.sha256(content).hexdigest() != self._digest:
            raise ExecutorError(
                f"submit: the result came incomplete ({len(content):,} bytes); keep it on the cluster's own storage "
                f"({argument('keep', 'PATH')})"
            )
        temporary = output.with_name(f".{output.name}.tmp")
        temporary.write_bytes(content)
        temporary.replace(output)


def send(path: Path) -> None:
    """Print a result file so that :meth:`Submission.follow` finds it; the job's side.

    Raises
    ------
    ExecutorError
        It is too large for a log.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise ExecutorError(
            f"submit: {path} has {size:,} bytes, too many for a log; keep it on the cluster's storage ({argument('keep', 'PATH')})"
        )
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_LINE_BYTES):
            digest.update(block)
            print(f"{_MARK}part {base64.b64encode(block).decode()}")
    print(f"{_MARK}sha256 {digest.hexdigest()}", flush=True)


if __name__ == "__main__":
    send(Path(sys.argv[1]))
