from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from distverify.errors import ExecutorError, SettingsError
from distverify.runtime.job import Executor, UnitDone, UnitLost, WorkersChanged
from distverify.runtime.ray.executor import RayExecutor
from distverify.status import FAILED
from tests.runtime import scripted
from tests.runtime.contract import FaultContract, assert_equal_bits, in_pieces, truth

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.ray


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
class TestRayExecutor(FaultContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return RayExecutor(max_actors=2)

    @pytest.fixture
    def limited(self) -> Callable[[float], Executor]:
        return lambda seconds: RayExecutor(max_actors=2, time_limit=seconds)


@pytest.mark.usefixtures("local_ray")
def test_there_is_a_spare_actor():
    run = scripted.run(RayExecutor(), scripted.job(scripted.logits), scripted.units(4))
    assert next(run) == WorkersChanged(alive=0, starting=3)
    run.close()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_weights_and_inputs_are_read_where_the_object_store_holds_them():
    job = scripted.job(scripted.sharing)
    payload = scripted.results(list(scripted.run(RayExecutor(), job, scripted.units(8))))
    assert payload["message"].tolist() == [""] * scripted.SAMPLES
    assert payload["predicted"].tolist() == [1] * scripted.SAMPLES


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_what_pieces_share_is_read_where_the_object_store_holds_it():
    analysis = scripted.InPieces(
        "share", (100, "neurons", 0), ballast=10**6
    )  # Ray sends less than 100 kB with the call
    payload = scripted.results(in_pieces(RayExecutor(max_actors=2), analysis, 1), 1)
    assert payload["status"].tolist() != [FAILED], payload["message"]


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_killed_worker_costs_one_unit(tmp_path):
    analyse = scripted.Recorded(tmp_path / "computed", seconds=0.25)
    events, victim = [], None
    run = scripted.run(RayExecutor(max_actors=2), scripted.job(analyse), scripted.units(4))
    for event in run:
        events.append(event)
        if isinstance(event, UnitDone) and victim is None:
            victim, _ = analyse.lines()[-1]
            os.kill(victim, signal.SIGKILL)
    assert_equal_bits(scripted.results(events), truth(scripted.job(scripted.logits)))
    lost = [e.unit for e in events if isinstance(e, UnitLost)]
    assert len(lost) == 1
    times = Counter(index - 100 for _, index in analyse.lines())
    assert set(times) == set(range(scripted.SAMPLES))
    again = {i for i, n in times.items() if n > 1}
    assert again <= set(range(lost[0].start, lost[0].stop))
    assert max(times.values()) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_consumer_that_leaves_ends_the_actors(tmp_path):
    analyse = scripted.Recorded(tmp_path / "computed", seconds=0.3)
    run = scripted.run(RayExecutor(), scripted.job(analyse), scripted.units(1))
    next(e for e in run if isinstance(e, UnitDone))
    run.close()
    time.sleep(1.0)
    assert not any(_alive(pid) for pid, _ in analyse.lines())
    assert ray.is_initialized()


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_an_actor_whose_job_cannot_be_read_names_the_error():
    job = scripted.job(scripted.Unreadable())
    with pytest.raises(ExecutorError, match=r"no worker can start: .*the job cannot be read: .*no such analysis"):
        list(scripted.run(RayExecutor(), job, scripted.units(8)))


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_driver_overhead_per_unit():
    samples = 300
    job = scripted.job(scripted.logits, samples=samples)
    arrivals = []
    for event in scripted.run(RayExecutor(), job, scripted.units(1, samples)):
        if isinstance(event, UnitDone):
            arrivals.append(time.perf_counter())
    overhead = (arrivals[-1] - arrivals[0]) / (samples - 1)
    assert len(arrivals) == samples
    print(f"driver overhead: {overhead * 1e3:.2f} ms per unit")
    assert overhead < 0.02  # ten times what was measured: the machine may be busy


def test_another_address_than_the_one_connected(local_ray):
    with pytest.raises(ExecutorError, match=f"got 'other:6379', but Ray is connected to {local_ray}"):
        list(scripted.run(RayExecutor("other:6379"), scripted.job(scripted.logits), scripted.units(8)))


@pytest.mark.slow
def test_an_existing_ray_is_used_and_left_running(local_ray):
    script = (
        "from distverify.runtime.ray.executor import RayExecutor\n"
        "from tests.runtime import scripted\n"
        f"run = scripted.run(RayExecutor({local_ray!r}), scripted.job(scripted.logits), scripted.units(8), bool)\n"
        "events = list(run)\n"
        "print(scripted.results(events)['status'].tolist())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == f"{truth(scripted.job(scripted.logits))['status'].tolist()}\n"
    assert ray.nodes()[0]["Alive"]


@pytest.mark.slow
def test_a_ray_of_its_own_is_quiet_and_ends_with_the_run():
    # In a process of its own: Ray reads its environment once, and one process cannot hold two.
    script = (
        "import signal\n"
        "from distverify.runtime.ray.executor import RayExecutor\n"
        "from tests.runtime import scripted\n"
        "def handler(*_): pass\n"
        "signal.signal(signal.SIGTERM, handler)\n"
        "events = []\n"
        "for event in scripted.run(RayExecutor(), scripted.job(scripted.crash), scripted.units(8)):\n"
        "    assert signal.getsignal(signal.SIGTERM) is handler\n"
        "    events.append(event)\n"
        "import ray\n"
        "assert not ray.is_initialized()\n"
        "print(scripted.results(events)['status'].tolist())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=Path(__file__).resolve().parents[2], capture_output=True, text=True, timeout=120, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
    )  # fmt: skip
    assert ran.returncode == 0
    logged = ran.stderr.splitlines()
    assert len(logged) == 3 + 2 + 1  # one per death, and the verdict: nothing else is printed
    assert logged[0].startswith("8 samples from 100 to 107 lost, will be computed again: the worker process died")
    assert logged[-1].startswith("sample 105 failed: given up after 3 workers were lost on it (the worker process")
    expected = truth(scripted.job(scripted.logits))["status"]
    expected[5] = FAILED
    assert ran.stdout == f"{expected.tolist()}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cpus_per_actor": 0}, "cpus_per_actor: got 0; give a positive number"),
        ({"cpus_per_actor": 1.5}, "cpus_per_actor: got 1.5; above 1 Ray takes whole numbers only"),
        ({"max_actors": 0}, "max_actors: got 0; give at least 1"),
        ({"time_limit": 0.0}, "time_limit: got 0.0; give a positive number of seconds"),
        ({"time_limit": float("nan")}, "time_limit: got nan"),
        ({"memory_per_actor": 0}, "memory_per_actor: got 0; give a positive number of bytes"),
    ],
)
def test_numbers_out_of_range(arguments, message):
    with pytest.raises(SettingsError, match=message):
        RayExecutor(**arguments)


@pytest.mark.slow
def test_more_than_a_ray_of_its_own_has():
    if ray.is_initialized():
        ray.shutdown()
    message = r"memory_per_actor: got 10{15}, but the largest node .* has \d+ bytes for actors"
    with (
        pytest.raises(ExecutorError, match=message),
        RayExecutor("local", memory_per_actor=10**15).open(scripted.job(scripted.logits), scripted.never),
    ):
        pytest.fail("the session was opened")
    assert not ray.is_initialized()


def overflow() -> int:
    """How many objects this process reads from files, where Ray puts what finds no room in the object store."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return sum("/plasma" in line and "/dev/shm/" not in line for line in maps)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_results_and_what_pieces_share_leave_the_object_store_as_the_run_goes_on():
    if ray.is_initialized():
        ray.shutdown()
    ray.init(
        address="local", include_dashboard=False, num_cpus=2, log_to_driver=False, logging_level="ERROR",
        object_store_memory=400_000_000, _system_config={"automatic_object_spilling_enabled": False},
    )  # fmt: skip
    try:
        job = scripted.job(scripted.big, samples=30, variables={"values": ((scripted.BIG,), "float64")})
        for event in scripted.run(RayExecutor(), job, scripted.units(1, 30)):  # 0.6 GB in all
            assert overflow() == 0
            if isinstance(event, UnitDone):
                assert event.payload["message"][0] == ""
                assert (event.payload["values"][0] == 100.0 + event.unit.start).all()
                assert not event.payload["values"].flags.owndata  # read in place
        job, units = scripted.job_in_pieces(scripted.InPieces(ballast=scripted.BIG), 12), scripted.units_in_pieces(12)
        statuses = []
        for event in scripted.run(RayExecutor(), job, units):  # shared 0.5 GB, results 1.7 GB
            assert overflow() == 0
            if isinstance(event, UnitDone):
                statuses += event.payload["status"].tolist()
        assert len(statuses) == 12
        assert FAILED not in statuses
        assert any("/dev/shm/plasma" in line for line in Path("/proc/self/maps").read_text().splitlines())
    finally:
        ray.shutdown()


def test_addresses_that_lead_nowhere(monkeypatch):
    if ray.is_initialized():
        ray.shutdown()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"  # bound, but nobody listens
        monkeypatch.setenv("RAY_ADDRESS", address)
        for given in (address, None):
            run = scripted.run(RayExecutor(given), scripted.job(scripted.logits), scripted.units(8))
            with pytest.raises(ExecutorError, match=f"nothing answers at '{address}'.*`ray start --head`"):
                next(run)
    run = scripted.run(RayExecutor("ray://head:10001"), scripted.job(scripted.logits), scripted.units(8))
    with pytest.raises(ExecutorError, match="address: got 'ray://head:10001'; give host:port of the head"):
        next(run)


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
