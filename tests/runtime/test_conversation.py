from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
import pytest

from distverify.errors import PieceError
from distverify.questions.pieces import Crew, Piece, Shared
from distverify.runtime.conversation import Answer, Conversation, Request, SampleInPieces
from distverify.runtime.threads import limit_threads
from distverify.runtime.worker import PieceRunner
from distverify.status import FAILED, OK
from distverify.work import WorkUnit
from tests.runtime import scripted

PIECES = [Piece("a", "rows", (0, 2)), Piece("b", "rows", (2, 3))]


def ask(crew: Crew, count: int = 2) -> list[float]:
    return [float(found["v"][0]) for found in crew.map(PIECES[:count], Shared("s", {"x": np.arange(3.0)}))]


def values(*numbers: float) -> list[dict[str, Any]]:
    return [{"v": np.array([n])} for n in numbers]


def test_requests_and_replies_alternate_until_the_answer():
    trace: list[str] = []

    def analyse(crew: Crew) -> float:
        trace.append("begins")
        first = ask(crew)
        trace.append("goes on")
        return sum(first) + sum(ask(crew, 1))

    conversation = Conversation(analyse)
    assert trace == []  # nothing runs before it is asked to
    step = conversation.resume()
    assert isinstance(step, Request)
    assert (list(step.pieces), step.shared.key, trace) == (PIECES, "s", ["begins"])
    step = conversation.resume(values(1.0, 2.0))
    assert isinstance(step, Request)
    assert (list(step.pieces), trace) == (PIECES[:1], ["begins", "goes on"])
    step = conversation.resume(values(4.0))
    assert isinstance(step, Answer)
    assert step.value == 7.0
    conversation.close()


def test_what_pieces_share_is_read_only_and_contiguous_as_from_ray():
    strided = np.arange(6.0)[::2]
    conversation = Conversation(lambda crew: crew.map(PIECES, Shared("s", {"x": strided, "n": np.float64(3.0)[...]})))
    step = conversation.resume()
    assert isinstance(step, Request)
    assert step.shared.arrays["x"].tolist() == [0.0, 2.0, 4.0]
    assert all(a.flags.c_contiguous and not a.flags.writeable for a in step.shared.arrays.values())
    assert step.shared.arrays["n"].shape == ()
    assert strided.flags.writeable
    conversation.close()


def test_no_pieces_need_no_reply():
    step = Conversation(lambda crew: crew.map([], Shared("s"))).resume()
    assert isinstance(step, Answer)
    assert step.value == []


def test_an_error_in_the_analysis_reaches_the_loop():
    def analyse(crew: Crew) -> None:
        ask(crew)
        raise ZeroDivisionError("mine")

    conversation = Conversation(analyse)
    conversation.resume()
    with pytest.raises(ZeroDivisionError, match="mine"):
        conversation.resume(values(1.0, 2.0))


def test_an_error_of_a_piece_reaches_the_analysis_which_may_help_itself():
    def analyse(crew: Crew) -> str:
        try:
            ask(crew)
        except PieceError as error:
            return f"without: {error}"
        return "with"

    conversation = Conversation(analyse)
    conversation.resume()
    step = conversation.resume(PieceError("rows 0:2: bad"))
    assert isinstance(step, Answer)
    assert step.value == "without: rows 0:2: bad"


def test_closing_ends_an_analysis_that_waits():
    ended: list[str] = []

    def analyse(crew: Crew) -> None:
        try:
            ask(crew)
        except Exception:
            ended.append("caught")
        finally:
            ended.append("cleaned up")

    conversation = Conversation(analyse)
    conversation.resume()
    conversation.close()
    assert ended == ["cleaned up"]
    conversation.close()  # again: nothing happens


def test_closing_ends_an_analysis_that_catches_everything_and_asks_on():
    tries: list[int] = []

    def analyse(crew: Crew) -> None:
        for i in range(3):
            try:
                ask(crew)
            except BaseException:
                tries.append(i)

    conversation = Conversation(analyse)
    conversation.resume()
    conversation.close()
    assert tries == [0, 1, 2]


def test_closing_one_that_never_began_runs_nothing():
    ran: list[int] = []
    Conversation(lambda crew: ran.append(1)).close()
    assert ran == []


def finish(sample: SampleInPieces, tasks: list[Any], spoil: str = "") -> int:
    """Compute pieces until the sample has a payload; the one named ``spoil`` fails. Returns how many were computed."""
    runner, computed = PieceRunner(scripted.job_in_pieces(None)), 0
    while sample.payload is None:
        current, tasks = tasks, []
        for task in current:
            computed += 1
            if task.piece.key == spoil:
                tasks = sample.fail(task, "ValueError: spoilt")
                assert sample.accept(current[-1], {}, 1.0) == []  # late: it is told about, and counts for nothing
                break
            seconds, error, arrays = runner.run(task.piece, task.shared)
            assert error == ""
            tasks = sample.accept(task, arrays, seconds)
    return computed


def test_a_sample_in_pieces_has_the_payload_of_any_other():
    job = scripted.job_in_pieces(scripted.InPieces())
    sample = SampleInPieces(job, WorkUnit(4, 5, 4), None)
    assert finish(sample, sample.begin()) == 4 + 3
    assert sample.payload is not None
    assert {name: (v.dtype.str[1:], v.shape) for name, v in sample.payload.items()} == {
        "logits": ("f8", (1, 3)), "predicted": ("i8", (1,)), "radius": ("f8", (1,)), "status": ("i1", (1,)),
        "message": ("O", (1,)), "seconds": ("f8", (1,)), "label": ("i8", (1,)),
    }  # fmt: skip
    assert sample.payload["status"][0] != FAILED
    hidden = np.tanh(scripted.Blocks(job.network).matrices["neurons"] @ job.data.inputs[4])
    outputs = np.tanh(scripted.Blocks(job.network).matrices["rows"] @ hidden)
    np.testing.assert_allclose(sample.payload["logits"][0], outputs, rtol=1e-13)


def test_seconds_are_kernel_time_and_the_analysis_own_without_waiting():
    sample = SampleInPieces(scripted.job_in_pieces(scripted.InPieces()), WorkUnit(4, 5, 4), None)
    tasks = sample.begin()
    time.sleep(0.5)  # the machine does something else
    arrays = {"neurons": np.zeros(4), "rows": np.zeros(1)}
    while sample.payload is None:
        for task in tasks:
            tasks = sample.accept(task, {"values": arrays[task.piece.kind]}, 10.0)
    assert 70.0 < sample.payload["seconds"][0] < 70.4


def test_what_is_recalled_is_not_asked_for():
    job, kept = scripted.job_in_pieces(scripted.InPieces()), scripted.Kept()
    kept.pieces[4, "104-neurons-8"] = {"values": np.zeros(4)}
    sample = SampleInPieces(job, WorkUnit(4, 5, 4), kept.recall)
    tasks = sample.begin()
    assert [str(t.piece) for t in tasks] == ["neurons 0:4", "neurons 4:8", "neurons 12:16"]
    assert finish(sample, tasks) == 3 + 3
    assert len(kept.asked) == 4 + 3


def test_a_piece_that_fails_fails_the_sample_with_its_text():
    sample = SampleInPieces(scripted.job_in_pieces(scripted.InPieces()), WorkUnit(4, 5, 4), None)
    finish(sample, sample.begin(), spoil="104-neurons-4")
    assert sample.payload is not None
    assert sample.payload["status"].tolist() == [FAILED]
    assert sample.payload["message"].tolist() == ["neurons 4:8: ValueError: spoilt"]
    assert np.isnan(sample.payload["logits"]).all()


def test_open_subproblems_follow_the_search():
    def searching(net: Any, sample: Any, settings: Any, pieces: int, crew: Crew) -> dict[str, Any]:
        for round_, waiting in enumerate((1, 40, 12)):
            crew.map([Piece(f"{round_}-{k}", "subtrees", (k, k + 1), None, waiting) for k in range(2)], Shared("s"))
        return {}

    sample = SampleInPieces(scripted.job_in_pieces(searching), WorkUnit(0, 1, 2), None)
    tasks, told = sample.begin(), []
    while sample.payload is None:
        told.append(sample.open_subproblems)
        for task in tasks:
            tasks = sample.accept(task, {}, 1.0)
    assert told == [1, 40, 12]


def test_what_an_analysis_may_not_return_fails_the_sample():
    job = scripted.job_in_pieces(lambda *_: {"logits": np.zeros(4)})
    sample = SampleInPieces(job, WorkUnit(0, 1, 4), None)
    assert sample.begin() == []
    assert sample.payload is not None
    assert "'logits' of shape (4,), declared as (3,)" in sample.payload["message"][0]


def test_the_analysis_sees_the_context_and_the_threads_of_its_driver():
    seen: list[tuple[int, str]] = []
    job = scripted.job_in_pieces(lambda *_: seen.append((numba.get_num_threads(), np.geterr()["over"])) or {})
    with limit_threads(1), np.errstate(over="raise"):
        sample = SampleInPieces(job, WorkUnit(0, 1, 4), None)
        sample.begin()
    assert sample.payload is not None
    assert sample.payload["status"].tolist() == [OK]
    assert seen == [(1, "raise")]


def test_conversations_are_interleaved():
    def analyse(crew: Crew) -> float:
        return sum(ask(crew)) + sum(ask(crew, 1))

    several = [Conversation(analyse) for _ in range(5)]
    for conversation in several:
        assert isinstance(conversation.resume(), Request)
    for i, conversation in reversed(list(enumerate(several))):
        assert isinstance(conversation.resume(values(float(i), 0.0)), Request)
    for i, conversation in enumerate(several):
        answer = conversation.resume(values(1.0))
        assert isinstance(answer, Answer)
        assert answer.value == i + 1.0
