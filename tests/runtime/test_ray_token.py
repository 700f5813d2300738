"""Clusters that demand a token, and the private surroundings of a Ray of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from distverify.errors import ExecutorError
from distverify.runtime.ray import own, token
from distverify.runtime.ray.own import private_folder
from distverify.runtime.ray.token import admits_with, admitted, known_token, own_token

CHECKOUT = Path(__file__).resolve().parents[2]
DEMO = CHECKOUT / "distverify" / "demo"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
REFUSED = b"\x88@\x0ccontent-type\x10application/grpc\x00\x0bgrpc-status\x0216\x00\x0cgrpc-message\x07Invalid"
ADMITTED = b"\x88@\x0ccontent-type\x10application/grpc\x00\x00\x00\x00\x00\x01@\x0bgrpc-status\x010"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (token.MODE, token.TOKEN, token.TOKEN_PATH):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(token, "_read_again", lambda: None)


def test_a_token_is_looked_for_where_ray_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert known_token() is None
    default = tmp_path / ".ray" / "auth_token"
    default.parent.mkdir()
    default.write_text("of the home\n")
    assert known_token() == ("of the home", str(default))
    (tmp_path / "file").write_text("of the file")
    monkeypatch.setenv(token.TOKEN_PATH, str(tmp_path / "file"))
    assert known_token() == ("of the file", str(tmp_path / "file"))
    monkeypatch.setenv(token.TOKEN, "of the variable")
    assert known_token() == ("of the variable", token.TOKEN)


@contextmanager
def head(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Something that listens, answers once in these parts, and notes what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                asked.append(connection.recv(1 << 16))
                for part in answers:
                    connection.sendall(part)
                    time.sleep(0.01)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        thread.join()


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ((SETTINGS, REFUSED), False),
        ((SETTINGS, ADMITTED), True),
        ((SETTINGS + ADMITTED[:-3], ADMITTED[-3:-1], ADMITTED[-1:]), True),
        ((SETTINGS,), None),
        ((b"HTTP/1.1 400 Bad Request\r\n\r\n",), None),
        ((SETTINGS + REFUSED.replace(b"\x0216", b"\x0212"),), None),
    ],
)
def test_the_head_tells_whether_it_wants_a_token(answers: tuple[bytes, ...], expected: bool | None) -> None:
    with head(*answers) as (address, asked):
        assert admits_with(address, "s" * 64) is expected
    assert asked[0].startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert b"Bearer " + b"s" * 64 in asked[0]


def test_a_head_that_says_nothing_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        begin = time.monotonic()
        assert admits_with(f"127.0.0.1:{server.getsockname()[1]}", None) is None
        assert time.monotonic() - begin < 2.0


@pytest.mark.parametrize("answer", [False, None])
def test_a_token_that_is_known_is_used_and_the_mode_is_as_before(
    monkeypatch: pytest.MonkeyPatch, answer: bool | None
) -> None:
    monkeypatch.setattr(token, "admits_with", lambda address, text: True if text else answer)
    monkeypatch.setenv(token.TOKEN, "known")
    with admitted("head:1"):
        assert os.environ[token.MODE] == "token"
    assert token.MODE not in os.environ


def test_a_cluster_without_tokens_is_not_sent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token, "admits_with", lambda address, text: True)
    monkeypatch.setenv(token.TOKEN, "known")
    with admitted("head:1"):
        assert token.MODE not in os.environ


@pytest.mark.parametrize(
    ("mode", "known", "answers", "message"),
    [
        (None, None, {None: False}, r"demands a token, and none is known here; set RAY_AUTH_TOKEN \(or RAY_AUTH_TOKEN_PATH\)"),
        ("token", None, {None: False}, "demands a token, and none is known here"),
        ("disabled", "t", {None: False}, "demands a token, but RAY_AUTH_MODE is 'disabled' here; set it to token, or unset"),
        (None, "t", {None: False, "t": False}, "that in RAY_AUTH_TOKEN is not its own; copy it from the head"),
        ("token", "t", {None: True}, "RAY_AUTH_MODE is token here, but the cluster at head:1 runs without tokens; unset"),
    ],
)  # fmt: skip
def test_what_cannot_be_admitted_is_told(
    monkeypatch: pytest.MonkeyPatch, mode: str | None, known: str | None, answers: dict[str | None, bool], message: str
) -> None:
    monkeypatch.setattr(token, "admits_with", lambda address, text: answers[text])
    for name, value in ((token.MODE, mode), (token.TOKEN, known)):
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ExecutorError, match=message), admitted("head:1"):
        pytest.fail("admitted")


def test_a_token_of_our_own_is_readable_for_us_alone_before_it_is_there(tmp_path: Path) -> None:
    with own_token(tmp_path):
        path = Path(os.environ[token.TOKEN_PATH])
        assert (path.parent, path.stat().st_mode & 0o777) == (tmp_path, 0o600)
        assert len(path.read_text()) == 64
        assert os.environ[token.MODE] == "token"
        assert known_token() == (path.read_text(), str(path))
    assert token.MODE not in os.environ
    assert token.TOKEN_PATH not in os.environ


@pytest.mark.parametrize("name", [token.MODE, token.TOKEN, token.TOKEN_PATH])
def test_what_the_environment_says_about_tokens_is_kept_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "disabled")
    with own_token(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_private_folder_goes_with_the_run_and_takes_what_killed_ones_have_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(own, "_LONGEST_BASE", 1000)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    left, foreign = tmp_path / "distverify-ray-left", tmp_path / "distverify-ray-foreign"
    (left / "ray").mkdir(parents=True)
    (left / "lock").touch()
    foreign.mkdir()  # without a lock it is none of ours
    with private_folder() as first:
        assert first.parent == tmp_path
        assert first.stat().st_mode & 0o777 == 0o700
        (first / "ray").mkdir(mode=0o777)
        assert not left.exists()
        with private_folder() as second:
            assert second != first
            assert first.exists()  # in use
        assert not second.exists()
    assert sorted(tmp_path.iterdir()) == [foreign]


HEAD = """
import sys, ray
ray.init(address="local", include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="ERROR")
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


@pytest.mark.ray
@pytest.mark.slow
def test_certify_on_a_cluster_with_a_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As after a local run: ``ray start --head`` finds a token, turns authentication on, and the mode is set nowhere."""
    pytest.importorskip("ray")
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    at_head, elsewhere = clean | {"HOME": str(tmp_path)}, clean | {"HOME": str(tmp_path / "elsewhere")}
    command = [
        sys.executable, "-m", "distverify", "certify", str(DEMO / "digits.onnx"), str(DEMO / "digits.npz"), "--eps", "0.02",
        "--samples", "0:8", "--compute", "lipschitz", "-o", str(tmp_path / "out.h5"), "--address",
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", HEAD], env=at_head, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stdout is not None
            address = running.stdout.readline().strip()
            assert (tmp_path / ".ray" / "auth_token").exists()
            refused = subprocess.run(
                [*command, address],
                env=elsewhere,
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert refused.returncode == 2
            assert refused.stderr.splitlines()[-1].startswith(
                f"error: --address: the cluster at {address} demands a token"
            )
            assert "RAY_AUTH_TOKEN" in refused.stderr
            assert "rpc_client" not in refused.stderr
            assert not (tmp_path / "out.h5").exists()
            monkeypatch.setenv("HOME", elsewhere["HOME"])
            begin = time.monotonic()
            with pytest.raises(ExecutorError, match="none is known here"), admitted(address):
                pytest.fail("admitted")
            assert time.monotonic() - begin < 2.0
            done = subprocess.run(
                [*command, address], env=at_head, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stderr
        finally:
            assert running.stdin is not None
            running.stdin.close()


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs to become another user")
def test_another_user_without_a_home_and_with_an_installation_of_roots(tmp_path: Path) -> None:
    """As in ``docker run -u 12345``: nothing but the folder for temporary files can be written."""
    pytest.importorskip("ray")
    place = Path(tempfile.mkdtemp(prefix="dv-", dir="/tmp"))
    prefixes = sorted({Path(sys.base_prefix), Path(sys.prefix), CHECKOUT}, key=lambda path: len(path.parts))
    # The outermost folder that others may not enter, of each: a virtual environment and the checkout may lie in different ones.
    closed = [next((p for p in reversed(prefix.parents) if not p.stat().st_mode & 0o001), None) for prefix in prefixes]
    try:
        (place / "results").mkdir()
        place.chmod(0o755)
        (place / "results").chmod(0o777)
        # In a file system of its own: what the other user may not enter is replaced by a view of what is needed.
        lines = ["set -e"]
        for i, prefix in enumerate(prefixes):
            (place / str(i)).mkdir()
            lines.append(f"mount --bind {prefix} {place}/{i} || exit 99")
        lines += [f"mount -t tmpfs -o mode=755 none {folder}" for folder in dict.fromkeys(closed) if folder]
        for i, prefix in enumerate(prefixes):
            lines += [f"mkdir -p {prefix}", f"mount --bind {place}/{i} {prefix}", f"mount -o remount,ro,bind {prefix}"]
        lines.append(
            f"cd {place}/results; exec setpriv --reuid=12345 --regid=12345 --clear-groups env -i PATH=/usr/bin:/bin "
            f"HOME=/nonexistent PYTHONPATH={CHECKOUT} PYTHONDONTWRITEBYTECODE=1 {sys.executable} -m distverify certify "
            f"{DEMO}/digits.onnx {DEMO}/digits.npz --eps 0.02 --samples 0:8 --compute lipschitz -o out.h5 --executor ray"
        )
        script = "\n".join(lines)
        ran = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=400, check=False
        )
        if ran.returncode == 99:
            pytest.skip("mounting is not permitted here")
        assert ran.returncode == 0, ran.stderr
        assert (place / "results" / "out.h5").stat().st_uid == 12345
        left = [p for p in Path("/tmp").glob("distverify-ray-*") if p.stat().st_uid == 12345]
        assert left == []
    finally:
        shutil.rmtree(place, ignore_errors=True)
        shutil.rmtree("/tmp/distverify-numba-12345", ignore_errors=True)
        shutil.rmtree("/tmp/distverify-12345", ignore_errors=True)
