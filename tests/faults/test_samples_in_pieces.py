"""The same faults where samples are computed in pieces: what was kept of a sample is not computed again."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.faults.harness import INTERRUPTED, Case, Run, assert_like_truth, outcomes, start
from tests.faults.scripted import EXITS, HANGS, RAISES

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow]

SAMPLES = 3
BAD = 1
_PIECE = re.compile(r"\d{8,}\.([0-9a-f]{32})\.piece")
_SECONDS = 0.25  # of a piece, at least: it is worth keeping


@pytest.fixture(scope="module")
def prepared_pieces(tmp_path_factory: pytest.TempPathFactory) -> Case:
    options = (
        "--eps",
        "0.02,0.05",
        "--compute",
        "jacobian,lipschitz",
        "--direction",
        "backward",
        "--pieces-per-sample",
        "4",
    )
    case = Case(tmp_path_factory.mktemp("pieces") / "case", SAMPLES, (6, 16, 16, 64), options)
    case.truth()
    return case


@pytest.fixture
def wide(prepared_pieces: Case, tmp_path: Path) -> Case:
    """Three samples of 64 output rows, each in four pieces for each radius, besides those for the layers."""
    return prepared_pieces.copy(tmp_path / "case")


@contextmanager
def begin(case: Case, *more: str, faults: dict[int, str] | None = None) -> Iterator[Run]:
    first = np.load(case.folder / "data.npz")["x"][:, 0].tolist()
    with start(case, *more, seconds=_SECONDS, faults=faults, first=first) as run:
        yield run


def kept(case: Case) -> set[str]:
    """Names of the pieces that no kill can take away any more."""
    found = [_PIECE.fullmatch(path.name) for path in case.parts.iterdir()] if case.parts.is_dir() else []
    return {name[1] for name in found if name}


def computed(case: Case, since: int = 0) -> list[str]:
    """The same names, of the pieces that were begun."""
    return [hashlib.sha256(b.key.encode()).hexdigest()[:32] for b in case.begun()[since:]]


def finish(case: Case) -> None:
    with begin(case) as run:
        assert run.finish() == 0, run.errors
        run.assert_gone()


def test_killed_at_random_times_and_continued(wide: Case) -> None:
    chance = random.Random(1)
    seen: set[str] = set()
    whole: set[int] = set()
    with ExitStack() as killed:
        for _ in range(4):
            begun = len(wide.begun())
            run = killed.enter_context(begin(wide))
            run.wait_until(lambda begun=begun: len(wide.begun()) > begun)
            end = time.monotonic() + chance.uniform(0.3, 1.2)
            run.wait_until(lambda end=end: time.monotonic() > end)
            run.kill()
            run.assert_workers_gone()
            assert not seen & set(computed(wide, begun))
            assert not whole & {b.index for b in wide.begun()[begun:]}
            seen |= kept(wide)
            whole |= wide.committed()
    assert len(seen) >= 4
    begun = len(wide.begun())
    finish(wide)
    assert not seen & set(computed(wide, begun))
    assert_like_truth(wide)


def test_killing_workers_costs_at_most_a_piece_each(wide: Case) -> None:
    kills = 0
    with begin(wide) as run:
        for wanted in (4, 10, 16):
            run.wait_until(lambda wanted=wanted: len(wide.begun()) >= wanted)
            os.kill(wide.begun()[-1].pid, signal.SIGKILL)
            kills += 1
        assert run.finish() == 0, run.errors
        run.assert_gone()
    assert_like_truth(wide)
    again = sum(count - 1 for count in Counter(computed(wide)).values())
    assert 1 <= again <= kills


@pytest.mark.parametrize(
    ("fault", "more", "status", "message"),
    [
        (RAISES, (), "failed", "chains 0:16: FloatingPointError: rows of sample 1 are poison"),
        (EXITS, (), "failed", "chains 0:16: given up after 3 workers were lost on it (the worker process died"),
        (HANGS, ("--time-limit", "8"), "timed_out", "stopped after the time limit of 8 s"),
    ],
)
def test_a_bad_piece_fails_its_sample_and_no_other(
    wide: Case, fault: str, more: tuple[str, ...], status: str, message: str
) -> None:
    with begin(wide, *more, faults={BAD: fault}) as run:
        assert run.finish() == 1, run.errors
        run.assert_gone()
    ((index, (found, text)),) = outcomes(wide).items()
    assert (index, found) == (BAD, status)
    assert message in text
    assert f"sample {BAD} {status.replace('_', ' ')}: " in run.errors
    others = [name for name, b in zip(computed(wide), wide.begun(), strict=True) if b.index not in (BAD, -1)]
    assert max(Counter(others).values()) == 1
    assert_like_truth(wide, but=[BAD])
    with begin(wide, "--retry-failed") as run:
        assert run.finish() == 0, run.errors
        run.assert_gone()
    assert_like_truth(wide)


def test_a_signal_keeps_pieces_in_flight(wide: Case) -> None:
    with begin(wide) as run:
        run.wait_until(lambda: len(kept(wide)) >= 3)
        run.process.send_signal(signal.SIGTERM)
        assert run.finish() == 130, run.errors
        run.assert_gone()
    assert INTERRUPTED.search(run.errors)
    seen, begun = kept(wide), len(wide.begun())
    assert set(computed(wide)) - seen <= {
        n for n, b in zip(computed(wide), wide.begun(), strict=True) if b.index in wide.committed()
    }
    finish(wide)
    assert not seen & set(computed(wide, begun))
    assert_like_truth(wide)


def test_pieces_that_were_damaged_or_are_anothers_are_computed_again(wide: Case) -> None:
    with begin(wide) as run:
        run.wait_until(lambda: len(kept(wide)) >= 4)
        run.kill()
        run.assert_workers_gone()
    paths = sorted(path for path in wide.parts.iterdir() if _PIECE.fullmatch(path.name))
    cut, swapped, *rest = paths
    cut.write_bytes(cut.read_bytes()[:-20])
    swapped.write_bytes(rest[0].read_bytes())
    sound = {_PIECE.fullmatch(path.name)[1] for path in rest}  # type: ignore[index]
    begun = len(wide.begun())
    with begin(wide) as run:
        assert run.finish() == 0, run.errors
        run.assert_gone()
    again = computed(wide, begun)
    assert not sound & set(again)
    assert {path.name.split(".")[1] for path in (cut, swapped)} <= set(again)
    assert "corrupted: the checksum does not match" in run.errors
    assert "foreign: it belongs to another run, or to another piece" in run.errors
    assert_like_truth(wide)
