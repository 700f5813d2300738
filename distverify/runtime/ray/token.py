"""Ray's tokens: whether a cluster demands one, which one is known here, and one of our own for a Ray of our own.

A process without a token, or with the wrong one, is kept waiting by Ray for half a minute, and told by lines of its log. So the
head is asked first, by a call that takes no argument, in the protocol that it speaks (gRPC over HTTP/2): 1 ms.
"""

from __future__ import annotations

import os
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from distverify.errors import ExecutorError

MODE, TOKEN, TOKEN_PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_CALL = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_SECONDS = 1.5  # for the answer
_DATA, _HEADERS, _SETTINGS = 0, 1, 4  # kinds of frames
_END_OF_STREAM, _END_OF_HEADERS = 1, 4  # flags


def known_token() -> tuple[str, str] | None:
    """The token that Ray would use here, and where it is; None where there is none."""
    token = os.environ.get(TOKEN, "").strip()
    if token:
        return token, TOKEN
    path = os.environ.get(TOKEN_PATH) or os.path.expanduser("~/.ray/auth_token")
    with suppress(OSError, UnicodeDecodeError):
        token = Path(path).read_text().strip()
    return (token, path) if token else None


@contextmanager
def admitted(address: str) -> Iterator[None]:
    """Be admitted to the cluster at "host:port" while the context lasts: with the token that is known here, if it demands one.

    Raises
    ------
    ExecutorError
        It demands a token, and there is none here, or another one, or the mode is "disabled".
    """
    mode, known = os.environ.get(MODE), known_token()
    admits = admits_with(address, None)
    if admits is False:
        if known is None:
            raise ExecutorError(
                f"address: the cluster at {address} demands a token, and none is known here; set {TOKEN} (or {TOKEN_PATH}), or "
                "copy ~/.ray/auth_token from its head"
            )
        if (mode or "token").lower() != "token":
            raise ExecutorError(
                f"address: the cluster at {address} demands a token, but {MODE} is {mode!r} here; set it to token, or unset it"
            )
        if admits_with(address, known[0]) is False:
            raise ExecutorError(
                f"address: the cluster at {address} demands a token, and that in {known[1]} is not its own; copy it from the head "
                f"(~/.ray/auth_token), or set {TOKEN}"
            )
    elif admits and (mode or "").lower() == "token":
        raise ExecutorError(
            f"address: {MODE} is token here, but the cluster at {address} runs without tokens; unset the variable, or start the "
            "cluster with it"
        )
    if mode is None and known is not None and not admits:  # also where the head gave no answer that we understand
        with _environment({MODE: "token"}):
            yield
    else:
        yield


@contextmanager
def shown_token() -> Iterator[None]:
    """Show the token that is known here to every server that is asked while the context lasts."""
    with _environment({MODE: "token"}):
        yield


@contextmanager
def own_token(folder: Path) -> Iterator[None]:
    """A token that only processes of this run know, in a file of ``folder``; unless the environment decides otherwise."""
    if any(os.environ.get(name) for name in (MODE, TOKEN, TOKEN_PATH)):
        yield
        return
    path = folder / "token"
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    with _environment({MODE: "token", TOKEN_PATH: str(path)}):
        yield


def admits_with(address: str, token: str | None) -> bool | None:
    """Whether the head at "host:port" answers a call that comes with ``token`` (None: without); None: it cannot be told."""
    host, _, port = address.rpartition(":")
    fields = {
        ":method": "POST", ":scheme": "http", ":path": _CALL, ":authority": address, "te": "trailers",
        "content-type": "application/grpc",
    }  # fmt: skip
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    headers = b"".join(_field(name, value) for name, value in fields.items())
    call = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"")
    call += _frame(_HEADERS, _END_OF_HEADERS, 1, headers) + _frame(_DATA, _END_OF_STREAM, 1, bytes(5))
    answer = b""
    with suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS) as connection:
        connection.sendall(call)
        while _status(answer) is None and (more := connection.recv(1 << 16)):
            answer += more
    status = _status(answer)
    # 16: unauthenticated. Other errors than that say nothing about tokens.
    return {b"0": True, b"16": False}.get(b"" if status is None else status)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that Ray reads, and let it read them; afterwards they are as they were."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    _read_again()
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _read_again()


def _read_again() -> None:
    """Ray remembers mode and token of a process. Releases without tokens have nothing to forget."""
    raylet = import_module("ray._raylet")
    with suppress(AttributeError):
        raylet.Config.initialize("")
        raylet.AuthenticationTokenLoader.instance().reset_cache()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _field(name: str, value: str) -> bytes:
    """A header as a literal that nobody needs to remember (RFC 7541, 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data, length = text.encode(), len(text.encode())
    if length < 127:
        return bytes([length]) + data
    rest, more = length - 127, b"\x7f"
    while rest >= 128:
        more, rest = more + bytes([128 | rest & 127]), rest >> 7
    return more + bytes([rest]) + data


def _status(answer: bytes) -> bytes | None:
    """The call's status, where it has come."""
    _, name, rest = answer.partition(b"\x0bgrpc-status")
    if not name or not rest or len(rest) <= rest[0]:
        return None
    return rest[1 : 1 + rest[0]]
