from __future__ import annotations

import numpy as np
import pytest

from distverify.errors import PieceError
from distverify.questions.pieces import Piece, Shared
from distverify.runtime import worker
from distverify.runtime.worker import PieceRunner, blank_payload, describe, receive, run_unit
from distverify.status import FAILED, MISCLASSIFIED, OK, TIMED_OUT
from distverify.work import WorkUnit
from tests.runtime import scripted


def test_payload_holds_every_variable_and_the_worker_s_own():
    job = scripted.job(scripted.logits)
    payload = run_unit(job, WorkUnit(4, 9))
    truth = job.network(job.data.inputs[4:9])
    assert {name: (v.dtype.str[1:], v.shape) for name, v in payload.items()} == {
        "logits": ("f8", (5, 3)), "predicted": ("i8", (5,)), "radius": ("f8", (5,)), "status": ("i1", (5,)),
        "message": ("O", (5,)), "seconds": ("f8", (5,)), "label": ("i8", (5,)),
    }  # fmt: skip
    np.testing.assert_allclose(payload["logits"], truth, rtol=1e-13)
    right = truth.argmax(1) == job.data.labels[4:9]
    assert payload["status"].tolist() == np.where(right, OK, MISCLASSIFIED).tolist()
    assert payload["label"].tolist() == job.data.labels[4:9].tolist()
    assert (payload["seconds"] > 0).all()
    assert payload["message"].tolist() == [""] * 5


def test_a_poison_sample_fails_alone():
    payload = run_unit(scripted.job(scripted.poison), WorkUnit(4, 8))
    assert (payload["status"] == FAILED).tolist() == [False, True, False, False]
    assert payload["message"][1] == "FloatingPointError: bad sample"
    assert np.isnan(payload["logits"][1]).all()
    assert np.isnan(payload["radius"][1])
    assert payload["predicted"][1] == 0
    assert np.isfinite(payload["logits"][[0, 2, 3]]).all()


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"logits": np.zeros(4)}, r"the analysis returned 'logits' of shape \(4,\), declared as \(3,\)"),
        ({"logits": np.zeros((1, 3))}, r"'logits' of shape \(1, 3\)"),
        ({"radius": "far"}, "'radius' of type <U3, declared as float64"),
        ({"predicted": 1.5}, "'predicted' of type float64, declared as int64"),
        ({"raduis": 1.0}, "'raduis', which the job does not declare"),
        ({"status": FAILED}, "status 3; only ok, misclassified and undecided are its to set"),
        (None, "AttributeError"),
    ],
)
def test_what_was_not_declared_fails_the_sample_and_leaves_no_value(result, message):
    job = scripted.job(lambda *_: {"radius": 1.0, **result} if result is not None else None)
    payload = run_unit(job, WorkUnit(0, 2))
    assert payload["status"].tolist() == [FAILED] * 2
    assert np.isnan(payload["radius"]).all()
    with pytest.raises(ValueError, match=message):
        raise ValueError(payload["message"][0])


def test_missing_values_are_nan_and_a_message_may_come_with_success():
    payload = run_unit(scripted.job(lambda *_: {"radius": 2.0, "message": "by the way"}), WorkUnit(0, 1))
    assert payload["status"].tolist() == [OK]
    assert payload["radius"].tolist() == [2.0]
    assert np.isnan(payload["logits"]).all()
    assert payload["message"].tolist() == ["by the way"]


def test_no_sample_is_begun_after_the_budget():
    job = scripted.job(scripted.slow)
    payload = run_unit(job, WorkUnit(0, 8), budget=0.3)
    assert {name: len(v) for name, v in payload.items()} == dict.fromkeys(payload, 2)
    assert len(run_unit(job, WorkUnit(0, 2), budget=0.0)["status"]) == 1


def test_blank_payload_looks_like_any_other():
    job = scripted.job(scripted.logits)
    blank, real = blank_payload(job, WorkUnit(3, 5), TIMED_OUT, "late"), run_unit(job, WorkUnit(3, 5))
    assert blank.keys() == real.keys()
    assert all((v.dtype, v.shape) == (real[name].dtype, real[name].shape) for name, v in blank.items())
    assert blank["status"].tolist() == [TIMED_OUT] * 2
    assert blank["message"].tolist() == ["late"] * 2
    assert np.isnan(blank["logits"]).all()
    assert blank["label"].tolist() == job.data.labels[3:5].tolist()


def test_errors_are_described_in_one_short_line():
    assert describe(ValueError("a\n   b")) == "ValueError: a b"
    assert describe(KeyError()) == "KeyError"
    assert describe(PieceError("rows 0:4: ValueError: a")) == "rows 0:4: ValueError: a"
    assert len(describe(ValueError("x" * 10_000))) == 500


def test_warm_up_runs_with_the_machine_s_lock_and_without_it(tmp_path, monkeypatch):
    calls = []
    job = scripted.job(scripted.logits, lambda: calls.append(1))
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    assert receive(lambda: job) is job
    assert [p.name for p in tmp_path.glob("*/*")] == ["warm_up.lock"]
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path / "absent"))
    assert receive(lambda: job) is job
    assert calls == [1, 1]


def test_pieces_are_computed_by_one_piece_worker_and_their_results_look_as_from_ray():
    made = []

    class Strided:
        def __init__(self, net: object) -> None:
            made.append(net)

        def compute(self, piece: Piece, shared: Shared) -> dict[str, np.ndarray]:
            if piece.kind == "bad":
                raise FloatingPointError("no\n  value")
            return {"a": np.arange(6.0)[::2], "n": np.array(3.0)}

    job = scripted.job(scripted.logits, piece_worker=Strided)
    runner = PieceRunner(job)
    assert made == []
    seconds, error, arrays = runner.run(Piece("k", "rows", (0, 1)), Shared("s"))
    assert (error, arrays["a"].tolist(), arrays["n"].shape) == ("", [0.0, 2.0, 4.0], ())
    assert all(a.flags.c_contiguous and not a.flags.writeable for a in arrays.values())
    assert seconds > 0
    assert runner.run(Piece("k", "bad", (0, 1)), Shared("s"))[1:] == ("FloatingPointError: no value", {})
    assert made == [job.network]


def test_a_piece_worker_that_cannot_be_made_is_an_error_of_the_piece():
    def refuse(net: object) -> None:
        raise MemoryError("no room")

    runner = PieceRunner(scripted.job(scripted.logits, piece_worker=refuse))
    assert runner.run(Piece("k", "rows", (0, 1)), Shared("s"))[1] == "MemoryError: no room"


@pytest.mark.parametrize(
    ("unit", "changes", "expected"),
    [
        (WorkUnit(0, 1, 4), {}, True),
        (WorkUnit(0, 1, 1), {}, False),
        (WorkUnit(0, 2, 4), {}, False),
        (WorkUnit(0, 1, 4), {"analyse_in_pieces": None}, False),
        (WorkUnit(0, 1, 4), {"piece_worker": None}, False),
    ],
)
def test_which_units_are_computed_in_pieces(unit, changes, expected):
    assert scripted.job_in_pieces(scripted.InPieces(), **changes).in_pieces(unit) == expected
