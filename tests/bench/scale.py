"""Print how far one driver reaches: ``python -m tests.bench.scale [--quick] [--actors N] [CASE ...]``, one table.

Workers mostly sleep, so that 64 of them fit on a small machine (0.2 GB each) and only what the driver does is measured; ``rate``
and ``pieces`` compute in earnest and need two idle cores, and the public benchmark files beside the checkout. Cases:

* actors: units of 1 s on many workers, and the same with every unit's commit to disk. Efficiency is the time in the analysis as a
  share of the workers' time, from ready to the end.
* overhead: the driver's time per unit where units take no time: what it can do at most.
* memory: the driver's memory after 1,000 and 10,000 units.
* results: units of 64 MB: the driver's peak of memory above what it had before, and the throughput, without and with commits.
* rate: samples per second by two workers of one thread each against one, on mnist-net_256x4.
* pieces: one large sample in pieces on two workers against the whole of it on one.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from distverify import api
from distverify.api import Progress
from distverify.data.dataset import Dataset
from distverify.network.graph import Network
from distverify.runtime.job import Analyse, Event, Job, UnitDone, WorkersChanged
from distverify.runtime.ray.executor import RayExecutor
from distverify.settings import Settings
from distverify.work import Sample, WorkUnit
from tests.bench.cases import DATA

OUTPUTS, INPUTS = 1000, 4000  # both bounds of one Jacobian: 64 MB
PAYLOAD = OUTPUTS * INPUTS * 16


class Sleeping:
    """An analysis that only waits, and returns for how long as the radius.

    With a gate (a file), from the ninth sample on it waits for that first: until all workers are there.
    """

    def __init__(self, seconds: float, gate: Path | None = None) -> None:
        self.seconds = seconds
        self.gate = gate

    def __call__(self, network: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
        while sample.index >= 8 and self.gate is not None and not self.gate.exists():
            time.sleep(0.02)
        begin = time.perf_counter()
        time.sleep(self.seconds)
        return {"predicted": 0, "logits": np.zeros(network.output_size), "radius": time.perf_counter() - begin}


def large(network: Network, sample: Sample, settings: Settings) -> dict[str, Any]:
    """An analysis that returns 64 MB at once."""
    bounds = np.full((1, OUTPUTS, INPUTS), float(sample.index))
    return {
        "predicted": 0, "logits": np.zeros(OUTPUTS), "x0": np.zeros(INPUTS), "jacobian_lower": bounds, "jacobian_upper": bounds,
    }  # fmt: skip


def nothing() -> None:
    pass


def network(inputs: int, outputs: int) -> Network:
    """With few parameters, however many inputs and outputs."""
    return Network.from_layers([(np.ones((1, inputs)), np.zeros(1)), (np.ones((outputs, 1)), np.zeros(outputs))])


def job(analyse: Analyse, samples: int, inputs: int = 4, outputs: int = 2) -> Job:
    names: dict[str, tuple[tuple[int, ...], str]] = {"predicted": ((), "int64"), "logits": ((outputs,), "float64")}
    if analyse is large:
        shape = (1, outputs, inputs)
        names |= {
            "x0": ((inputs,), "float64"),
            "jacobian_lower": (shape, "float64"),
            "jacobian_upper": (shape, "float64"),
        }
    else:
        names["radius"] = ((), "float64")
    data = Dataset(
        np.zeros((samples, inputs)), np.zeros(samples, dtype=np.int64), np.arange(samples), "zeros", (inputs,)
    )
    return Job(
        network(inputs, outputs), data, Settings(compute=("radius",), eps=()),
        analyse, nothing, names,
    )  # fmt: skip


@contextmanager
def ray(cpus: int) -> Iterator[None]:
    """A Ray of our own that believes in so many CPUs; executors find it connected."""
    import ray as module

    quiet: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    module.init(address="local", num_cpus=cpus, object_store_memory=2_000_000_000, **quiet)
    try:
        yield
    finally:
        module.shutdown()


def events(job: Job, actors: int) -> Iterator[Event]:
    """Of one unit per sample, as they come."""
    units = (WorkUnit(i, i + 1) for i in range(job.data.size))
    with RayExecutor(max_actors=actors).open(job, lambda: False) as session:
        session.add(units)
        yield from session.events()


class Usage:
    """The workers' time from ready to the last sample, of which so much in the analysis.

    With a gate, from when ``wanted`` workers are there, which opens it.
    """

    def __init__(self, wanted: int = 1, gate: Path | None = None) -> None:
        self.wanted, self.gate = wanted, gate
        self.workers = self.most = self.samples = 0
        self.kernel = self.alive = self.processor = 0.0
        self._first = self._last = self._processor_first = 0.0

    @property
    def seconds(self) -> float:
        return self._last - self._first

    def now(self, workers: int, samples: int, kernel: float = 0.0) -> None:
        now = time.perf_counter()
        if self._first:
            self.alive += self.workers * (now - self._last)
            self.samples += samples
            self.kernel += kernel
            if samples:
                self.processor = time.process_time() - self._processor_first
            self._last = now
        elif workers >= self.wanted:
            self._first = self._last = now
            self._processor_first = time.process_time()
            if self.gate is not None:
                self.gate.touch()
        self.workers, self.most = workers, max(self.most, workers)

    def event(self, event: Event) -> None:
        if isinstance(event, WorkersChanged):
            self.now(event.alive, 0)
        elif isinstance(event, UnitDone):
            name = "radius" if "radius" in event.payload else "seconds"
            self.now(self.workers, event.unit.size, float(event.payload[name].sum()))

    def efficiency(self) -> str:
        return f"{self.kernel / self.alive:.1%} of the time of {self.most} workers"

    def processor_time(self) -> str:
        """Of all threads of this process, Ray's too."""
        return f"{self.processor / self.samples * 1e3:.2f} ms"


class Peak:
    """The most memory of this process while the block runs, above what it had before.

    Its own, and pages of Ray's object store that it has mapped: those hold what workers sent, once per machine, and stay mapped
    until they are used again.
    """

    def __enter__(self) -> Peak:
        self._end = threading.Event()
        self._before = memory()
        self.own = self.shared = 0.0
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.005):
            own, shared = memory()
            self.own, self.shared = max(self.own, own - self._before[0]), max(self.shared, shared - self._before[1])

    def __exit__(self, *exception: object) -> None:
        self._end.set()
        self._thread.join()

    def __str__(self) -> str:
        return f"{self.own:.0f} MB of its own, {self.shared:.0f} MB mapped"


def memory() -> tuple[float, float]:
    """Resident memory of this process, MB: its own, and shared (Linux)."""
    sizes = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    own, shared = (int(sizes[name].split()[0]) * 1024 / 1e6 for name in ("RssAnon", "RssShmem"))
    return own, shared


def certify(analyse: Analyse | None, usage: Usage, model: Network | Path, x: np.ndarray, **options: Any) -> None:
    """The whole way, with files; a unit per sample where the analysis is scripted."""
    product: Any = api  # its names are replaced by doubles
    before = product.analyse_sample
    done = 0

    def tell(progress: Progress) -> None:
        nonlocal done
        if progress.done > done or progress.workers != usage.workers:
            usage.now(progress.workers, progress.done - done)
            done = progress.done

    if analyse is not None:
        product.analyse_sample = analyse
        options["samples_per_unit"] = 1
    name = "radius" if isinstance(analyse, Sleeping) else "seconds"
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            api.certify(model, x, output=Path(folder) / "out.h5", progress=tell, **options) as result,
        ):
            usage.kernel = float(np.nanmean(result[name])) * usage.samples  # of those since all workers are there
    finally:
        product.analyse_sample = before


@dataclass(frozen=True)
class Row:
    measure: str
    figure: str
    target: str = ""

    def __str__(self) -> str:
        return f"| {self.measure} | {self.figure} | {self.target} |"


def actors(quick: bool, most: int) -> Iterator[Row]:
    units = 4 * most if quick else 1000
    seconds = 0.2 if quick else 1.0
    with ray(most), tempfile.TemporaryDirectory() as folder:
        gate = Path(folder) / "first"
        usage = Usage(most, gate)
        for event in events(job(Sleeping(seconds, gate), units), most):
            usage.event(event)
        yield Row(f"{units} units of {seconds:g} s", usage.efficiency(), "95 %")
        yield Row("driver, processor time per unit", usage.processor_time())
        gate = Path(folder) / "second"
        usage, x = Usage(most, gate), np.zeros((units, 4))
        certify(Sleeping(seconds, gate), usage, network(4, 2), x, compute={"radius"}, max_actors=most)
        yield Row("the same with commits", usage.efficiency(), "95 %")
        yield Row("driver, processor time per unit", usage.processor_time())


def overhead(quick: bool, most: int) -> Iterator[Row]:
    units = 200 if quick else 2000
    usage = Usage()
    with ray(2):
        for event in events(job(Sleeping(0.0), units), 2):
            usage.event(event)
        yield Row("driver, time per unit that takes no time", f"{usage.seconds / units * 1e3:.2f} ms", "2 ms")
        usage = Usage()
        certify(Sleeping(0.0), usage, network(4, 2), np.zeros((units // 4, 4)), compute={"radius"}, max_actors=2)
        yield Row("the same with commits", f"{usage.seconds / usage.samples * 1e3:.2f} ms")


def growth(quick: bool, most: int) -> Iterator[Row]:
    marks = (100, 1000) if quick else (1000, 10_000)
    found = {}
    with ray(2):
        for done, event in enumerate(
            filter(lambda e: isinstance(e, UnitDone), events(job(Sleeping(0.0), marks[1]), 2)), 1
        ):
            del event
            if done in marks:
                found[done] = memory()
    figure = ", ".join(f"{own:.0f} MB after {done}" for done, (own, _) in found.items())
    yield Row("driver's own memory by units done", figure, "constant")


def results(quick: bool, most: int) -> Iterator[Row]:
    units = 4 if quick else 24
    usage = Usage()
    with ray(2):
        certify(large, Usage(), network(INPUTS, OUTPUTS), np.zeros((1, INPUTS)), compute={"jacobian"}, eps=[0.01])
        work = job(large, units, INPUTS, OUTPUTS)
        with Peak() as peak:
            for event in events(work, 2):
                usage.event(event)
        rate = units * PAYLOAD / 1e6 / usage.seconds
        yield Row("units of 64 MB: driver's peak", str(peak), "below 64 MB")
        yield Row("units of 64 MB: throughput", f"{rate:.0f} MB/s")
        usage, model = Usage(), network(INPUTS, OUTPUTS)
        x = np.zeros((units, INPUTS))
        with Peak() as peak:
            certify(large, usage, model, x, compute={"jacobian"}, eps=[0.01], max_actors=2)
        rate = units * PAYLOAD / 1e6 / usage.seconds
        yield Row("the same with commits: driver's peak", str(peak), "below 64 MB")
        yield Row("the same with commits: throughput", f"{rate:.0f} MB/s")


def rate(quick: bool, most: int) -> Iterator[Row]:
    if not DATA.is_dir():
        yield Row("two workers against one", "needs the public benchmark files")
        return
    images = np.loadtxt(DATA / "mnist_test.csv", delimiter=",", max_rows=4 if quick else 100)
    each = 4 if quick else 300
    per_second: dict[int, float] = {}
    for workers in (1, 2):
        rows = np.resize(np.arange(images.shape[0]), workers * each)
        usage = Usage(workers)
        certify(
            None, usage, DATA / "mnist-net_256x4.onnx", images[rows, 1:] / 255, y=images[rows, 0].astype(np.int64),
            eps=[0.005, 0.01], compute={"jacobian", "lipschitz", "radius"}, max_actors=workers,
        )  # fmt: skip
        per_second[workers] = usage.samples / usage.seconds
        figure = f"{per_second[workers]:.2f} samples per second for {usage.seconds:.0f} s; {usage.efficiency()}"
        yield Row(f"mnist-net_256x4, {workers} of one thread", figure, "95 %")
    yield Row("two workers against one", f"{per_second[2] / per_second[1]:.2f} x", "1.85 x")


def pieces(quick: bool, most: int) -> Iterator[Row]:
    sizes = (16, 64, 96) if quick else (784, 1024, 1024, 3072)
    generator = np.random.default_rng(0)
    layers = [
        (generator.normal(size=(n, m)) * (1.4 / np.sqrt(m)), 0.1 * generator.normal(size=n)) for m, n in pairwise(sizes)
    ]
    model, x = Network.from_layers(layers), generator.uniform(0, 1, (1, sizes[0]))
    found = {}
    for workers, cut in ((1, 1), (2, 8)):
        with (
            tempfile.TemporaryDirectory() as folder,
            api.certify(
                model, x, output=Path(folder) / "out.h5", eps=[0.008], compute={"jacobian", "lipschitz"},
                max_actors=workers, pieces_per_sample=cut,
            ) as result,
        ):  # fmt: skip
            told = result.provenance["environment"]["statistics"]
            found[workers] = told["kernel_seconds"], told["worker_seconds"] / workers, result["lipschitz"]
    name = "random " + "-".join(map(str, sizes))
    whole, cut_up = found[1], found[2]
    yield Row(f"{name}, one sample, whole on one worker", f"{whole[0]:.1f} s")
    yield Row("in 8 pieces on two", f"{cut_up[1]:.1f} s, {cut_up[0]:.1f} s of them in kernels of both")
    yield Row("two workers against one", f"{whole[1] / cut_up[1]:.2f} x")
    yield Row("results, relative difference", f"{np.max(np.abs(cut_up[2] / whole[2] - 1)):.1g}", "rounding")


CASES: dict[str, Callable[[bool, int], Iterator[Row]]] = {
    "actors": actors, "overhead": overhead, "memory": growth, "results": results, "rate": rate, "pieces": pieces,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"any of {', '.join(CASES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="few units each: whether it runs, not how fast")
    parser.add_argument("--actors", type=int, help="how many are many (default 64, with --quick 4)")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {unknown[0]!r}; there are {', '.join(CASES)}")
    print("| measure | figure | target |")
    print("|---|---|---|")
    for name in chosen.cases or CASES:
        for row in CASES[name](chosen.quick, chosen.actors or (4 if chosen.quick else 64)):
            print(row, flush=True)


if __name__ == "__main__":
    # Under its importable name, by which workers find the analyses.
    from tests.bench import scale

    scale.main()
