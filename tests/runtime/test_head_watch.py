from __future__ import annotations

import socket
import threading
import time

import pytest

from distverify.errors import ExecutorError
from distverify.runtime.ray import head_watch
from distverify.runtime.ray.head_watch import LONGEST_SILENCE, HeadWatch, accepts


def test_a_head_that_listens_answers_and_one_that_is_gone_does_not_until_it_is_back():
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        watch = HeadWatch(address)
        assert watch.answers(0.0)
    assert watch.answers(0.1)  # not asked again within half a second
    assert not watch.answers(1.0)
    assert not watch.answers(LONGEST_SILENCE - 0.1)
    with socket.create_server(("127.0.0.1", int(address.split(":")[1]))):
        assert watch.answers(LONGEST_SILENCE + 1.0)  # a cluster whose head is restarted in its place goes on
    assert not watch.answers(LONGEST_SILENCE + 2.0)


def test_a_head_that_is_silent_for_long_is_an_error_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
    watch = HeadWatch(address)
    assert not watch.answers(100.0)
    assert not watch.answers(100.0 + LONGEST_SILENCE - 0.1)
    with pytest.raises(
        ExecutorError, match=rf"head node at {address} has not answered for 20 s; .* run the same again"
    ):
        watch.answers(100.0 + LONGEST_SILENCE)


def test_a_question_that_hangs_is_left_alone_once_the_head_is_gone():
    never = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as head:
        watch = HeadWatch(f"127.0.0.1:{head.getsockname()[1]}")
        threading.Timer(0.7, head.close).start()
        begin = time.monotonic()
        assert watch.ask(never.wait) is None
        assert 0.7 <= time.monotonic() - begin < LONGEST_SILENCE / 2
    never.set()
    assert watch.ask(lambda: 3) == 3
    with pytest.raises(KeyError):
        watch.ask(lambda: {}["no"])


def test_a_question_that_hangs_although_the_head_accepts_connections(monkeypatch):
    monkeypatch.setattr(head_watch, "LONGEST_SILENCE", 1.0)
    never = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as head:
        assert HeadWatch(f"127.0.0.1:{head.getsockname()[1]}").ask(never.wait) is None
    never.set()


def test_addresses_of_both_kinds():
    with socket.create_server(("127.0.0.1", 0)) as head:
        assert accepts(f"127.0.0.1:{head.getsockname()[1]}", 1.0)
    if socket.has_ipv6:
        try:
            server = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("no IPv6 here")
        with server:
            assert accepts(f"[::1]:{server.getsockname()[1]}", 1.0)
