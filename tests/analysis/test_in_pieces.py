"""A sample's analysis in pieces, against the analysis as a whole and against the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from distverify.analysis.in_pieces import analyse_in_pieces
from distverify.analysis.sample import analyse_sample, analyse_through
from distverify.bounds import crown
from distverify.bounds.columns import ColumnPush
from distverify.bounds.reduction import Reduction
from distverify.errors import PieceError, SettingsError
from distverify.kernels.convolution import Geometry
from distverify.network.graph import Network, NetworkBuilder
from distverify.network.linear.convolution import Convolution
from distverify.network.linear.dense import Dense
from distverify.questions.askers import ThroughCrew
from distverify.questions.bounder import Bounder
from distverify.questions.packing import digest
from distverify.questions.pieces import Arrays, Piece, Shared
from distverify.questions.question import Cuts
from distverify.questions.rows import ASPECTS, Derivatives
from distverify.region import Ball
from distverify.settings import Settings
from distverify.work import Sample, SampleResult
from tests.analysis.crews import CrewHere
from tests.exact import ExactNetwork
from tests.networks import NORMS, Floats, build_chain, build_residual, points_in, violations

# Blocks of any size: what these tests are about.
TINY = Cuts(rows=1, neurons=1, columns=1, work=0.0)
EVERYTHING = ("jacobian", "lipschitz", "margins", "monotone", "radius", "verified", "landscape")
# Sums in another order: a few units in the last place, magnified by as many layers as there are; see _close().
CLOSE = {"float64": 1e-12, "float32": 1e-4}
# Searches end within a relative 1e-4 of where a bound fails: rounding may move the last step, not the bracket.
SEARCHED = 2e-4


def convolutional(rng: np.random.Generator) -> Network:
    """Two convolutions with a skip around the second, then two dense layers."""
    builder = NetworkBuilder((1, 6, 6))
    first = Convolution(rng.standard_normal((3, 1, 3, 3)) / 3, Geometry(1, 1, 6, 6, 3, 4, 4, 3, 3, 1, 1, 1, 1, 0, 0))
    node = builder.linear("c0", [(0, first)], 0.1 * rng.standard_normal(first.out_size))
    node = builder.activation("r0", node, "relu")
    second = Convolution(rng.standard_normal((3, 3, 3, 3)) / 5, Geometry(1, 3, 4, 4, 3, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1))
    node = builder.linear("c1", [(node, second), builder.skip(node)])
    node = builder.activation("r1", node, "relu")
    node = builder.linear("d0", [(node, Dense(rng.standard_normal((12, 48)) / 7))], 0.1 * rng.standard_normal(12))
    node = builder.activation("r2", node, "relu")
    return builder.build(builder.linear("d1", [(node, Dense(rng.standard_normal((4, 12)) / 3))]))


def networks() -> dict[str, Network]:
    rng = np.random.default_rng(5)
    return {
        "dense": build_chain([6, 24, 20, 16, 5], ["relu"] * 3, rng),
        "smooth": build_chain([5, 14, 12, 4], ["tanh", "silu"], rng),
        "residual": build_residual(6, ["relu", "sigmoid", "relu"], rng, final_activation=True),
        "convolution": convolutional(rng),
        "wide output": build_chain([3, 18, 18, 20], ["relu", "relu"], rng),
    }


NETWORKS = networks()


def in_pieces(
    network: Network, x: Floats, settings: Settings, pieces: int, workers: int = 1, cuts: Cuts = TINY
) -> tuple[SampleResult, CrewHere]:
    """All in blocks as small as ``cuts`` allow, and the crew that computed it."""
    crew = CrewHere(network, workers)
    bounder = Bounder(network, settings.method, settings.layer_bounds, crew=ThroughCrew(crew, pieces, cuts))
    return analyse_through(bounder, Sample(x), settings), crew


def point(network: Network) -> Floats:
    return np.random.default_rng(8).uniform(0.2, 0.8, network.input_size)


def assert_same(found: SampleResult, expected: SampleResult) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
        assert np.asarray(found[name]).dtype == np.asarray(value).dtype


def assert_close(found: SampleResult, expected: SampleResult, tolerance: float) -> None:
    """Bounds to rounding (relative to the largest of their kind), radii to what a search resolves."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name.startswith(("radius", "stationary")):
            np.testing.assert_allclose(found[name], value, rtol=SEARCHED, atol=0.0, err_msg=name)
        elif name.startswith(("jacobian_l", "jacobian_u", "lipschitz")):
            scale = float(np.nanmax(np.abs(np.asarray(value, float))))
            np.testing.assert_allclose(found[name], value, rtol=0.0, atol=tolerance * scale, err_msg=name)
        elif not name.endswith("evaluations"):
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("norm", [n if n == math.inf else pytest.param(n, marks=pytest.mark.slow) for n in NORMS])
@pytest.mark.parametrize("pieces", [1, 3])
def test_everything_equals_the_whole(name: str, norm: float, pieces: int) -> None:
    network = NETWORKS[name]
    x = point(network)
    settings = Settings(norm=norm, eps=(0.02, 0.3), compute=EVERYTHING, clip=(0.0, 1.0))
    expected = analyse_sample(network, Sample(x), settings)
    found, crew = in_pieces(network, x, settings, pieces, workers=2)
    if pieces == 1:
        assert_same(found, expected)
        assert {count for _, count in crew.requests} == {1}
    else:
        assert_close(found, expected, CLOSE["float64"])
        assert max(count for _, count in crew.requests) == pieces


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(
    ("method", "direction"),
    [(m, d) for m in ("linear", "recurjac") for d in ("backward", "forward", "both")]
    + [("fastlip", "auto"), ("interval", "auto")],
)
@pytest.mark.parametrize("layer_bounds", ["crown", "interval"])
def test_every_method_equals_the_whole(method: str, direction: str, precision: str, layer_bounds: str) -> None:
    for name in ("dense", "residual", "wide output"):
        network = NETWORKS[name].in_precision(precision)
        x = point(network)
        settings = Settings(
            eps=(0.2,), compute=("jacobian", "lipschitz", "margins", "monotone"), method=method, direction=direction,
            layer_bounds=layer_bounds, feature_eps=tuple(np.linspace(0.0, 2.0, network.input_size)),
        )  # fmt: skip
        expected = analyse_sample(network, Sample(x), settings)
        assert_same(in_pieces(network, x, settings, 1)[0], expected)
        # Few rows and many pieces: columns; few pieces: rows.
        for pieces in (2, 40):
            found, crew = in_pieces(network, x, settings, pieces)
            assert_close(found, expected, CLOSE[precision])
            assert ("columns" in crew.kinds) == (pieces == 40 and method in ("linear", "recurjac"))


@pytest.mark.parametrize("norm", NORMS)
def test_one_output(norm: float) -> None:
    network = build_chain([8, 30, 30, 1], ["relu", "relu"], np.random.default_rng(2))
    x = point(network)
    compute = ("jacobian", "lipschitz", "landscape")
    settings = Settings(norm=norm, eps=(0.02, 0.3), compute=compute, feature_eps=(1.0,) * 7 + (0.0,))
    expected = analyse_sample(network, Sample(x), settings)
    found, crew = in_pieces(network, x, settings, 4)
    assert_close(found, expected, CLOSE["float64"])
    assert crew.kinds["columns"] > 4
    assert crew.kinds["chains"] == 0
    assert_same(in_pieces(network, x, settings, 1)[0], expected)


@pytest.mark.parametrize("network", [NETWORKS["dense"], NETWORKS["residual"]])
def test_bounds_of_pieces_hold_exactly(network: Network) -> None:
    rng, x = np.random.default_rng(4), point(network)
    exact, rows = ExactNetwork(network), np.eye(network.output_size)
    for direction, pieces in (("backward", 3), ("backward", 30), ("forward", 3), ("both", 30)):
        crew = CrewHere(network, workers=3)
        bounder = Bounder(network, crew=ThroughCrew(crew, pieces, TINY))
        for region in (Ball(x, 0.1, clip=(0.0, 1.0)), Ball(x, 0.2, 2.0), Ball(x, 0.3, 1.0)):
            known = bounder.enclose(region)
            found = bounder.rows(known, rows, Derivatives(("bounds", "constants"), region.norm, direction=direction))
            margins = bounder.margins(known, rows)
            for p in points_in(region, 4, rng):
                jacobian, values = exact.jacobian(p), exact.values(p)
                assert violations(found["lower"], jacobian, found["upper"]) == []
                assert violations(margins, values[network.output], np.full(len(rows), np.inf)) == []
                for node in range(len(network.nodes)):
                    if node in known.place.bounds:
                        sides = known.place.bounds[node]
                        assert violations(sides[0], values[node], sides[1]) == []
                if region.norm == math.inf:
                    assert all(
                        sum(abs(v) for v in row) <= c for row, c in zip(jacobian, found["constants"], strict=True)
                    )


def test_questions_and_work_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layer bounds of a region are asked for once, and CROWN runs in neurons and margins pieces only, never in the driver."""
    network = NETWORKS["dense"]
    x = point(network)
    crowned: list[str] = []
    inside: list[str] = []
    whole, reduced, pushed = crown.affine_bounds, Reduction.linear, ColumnPush.unit_columns

    def counted(*arguments: object) -> object:
        crowned.append(inside[-1] if inside else "driver")
        return whole(*arguments)  # type: ignore[arg-type]

    def reducing(*arguments: object) -> object:
        assert inside, "the driver reduces nothing"
        return reduced(*arguments)  # type: ignore[arg-type]

    class Watched(CrewHere):
        def _compute(self, piece, shared):  # type: ignore[no-untyped-def]
            inside.append(piece.kind)
            try:
                return super()._compute(piece, shared)
            finally:
                inside.pop()

    monkeypatch.setattr(crown, "affine_bounds", counted)

    def pushing(*arguments: object) -> object:
        assert inside, "the driver pushes no columns"
        return pushed(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Reduction, "linear", reducing)
    monkeypatch.setattr(ColumnPush, "unit_columns", pushing)
    crew = Watched(network, workers=2)
    bounder = Bounder(network, crew=ThroughCrew(crew, 4, TINY))
    analyse_through(bounder, Sample(x), Settings(eps=(0.02, 0.05), compute=EVERYTHING))
    linear_nodes = 4
    regions = len({p.request.place.key for p in crew.pieces if p.kind == "neurons"})
    assert crew.kinds["neurons"] == regions * linear_nodes * 4
    assert len({p.key for p in crew.pieces if p.kind == "neurons"}) == crew.kinds["neurons"]
    assert set(crowned) == {"neurons", "margins"}
    assert 0 < crowned.count("neurons") <= crew.kinds["neurons"]  # a block whose signs are all settled needs no rows
    assert crowned.count("margins") == crew.kinds["margins"]


def test_small_layers_go_together() -> None:
    network = build_chain([8, 10, 10, 200, 10, 10, 3], ["relu"] * 5, np.random.default_rng(1))
    crew = CrewHere(network)
    bounder = Bounder(network, crew=ThroughCrew(crew, 4, Cuts(work=0.0)))
    bounder.enclose(Ball(point(network), 0.01))
    assert crew.requests == [("neurons", 1), ("neurons", 3), ("neurons", 1)]
    assert [p.request.nodes for p in crew.pieces] == [(1, 3), (5,), (5,), (5,), (7, 9, 11)]
    assert [p.block for p in crew.pieces] == [(0, 20), (0, 66), (66, 133), (133, 200), (0, 23)]
    crew = CrewHere(network)
    Bounder(network, crew=ThroughCrew(crew, 4)).enclose(Ball(point(network), 0.01))
    assert crew.requests == [("neurons", 1)], "no block of such a network is worth a piece"


@pytest.mark.slow
def test_equal_keys_equal_results() -> None:
    network = NETWORKS["dense"]
    x = point(network)
    settings = Settings(eps=(0.02, 0.05), compute=EVERYTHING, method="linear")
    (_, one), (_, other) = (in_pieces(network, x, settings, 3, workers) for workers in (1, 3))
    assert [p.key for p in one.pieces] == [p.key for p in other.pieces]
    for key, arrays in one.results.items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(values, other.results[key][name])
    for changed in (
        replace(settings, method="recurjac"), replace(settings, layer_bounds="interval"), replace(settings, norm=2.0),
        replace(settings, clip=(0.0, 1.0)), replace(settings, feature_eps=(0.5,) * 6),
    ):  # fmt: skip
        _, crew = in_pieces(network, x, changed, 3)
        same = {p.key for p in one.pieces} & {p.key for p in crew.pieces}
        kinds = {p.kind for p in crew.pieces if p.key in same}
        if changed.method != settings.method:
            assert "neurons" in kinds
            assert "chains" not in kinds
        else:
            assert kinds <= {"gradients", "vector"}


def test_pieces_can_be_computed_in_any_order_and_again() -> None:
    """As after a death: any worker, any piece, with whatever the worker still holds."""
    network = NETWORKS["dense"]
    crew = CrewHere(network)
    asked: list[tuple[object, object]] = []
    plain = crew.map

    def remembered(pieces, shared):  # type: ignore[no-untyped-def]
        asked.extend((piece, shared) for piece in pieces)
        return plain(pieces, shared)

    crew.map = remembered  # type: ignore[method-assign]
    bounder = Bounder(network, crew=ThroughCrew(crew, 40, TINY))
    wanted = Derivatives(ASPECTS, weights=np.linspace(0.5, 1.0, network.input_size), direction="both")
    for eps in (0.01, 0.05):
        bounder.rows(bounder.enclose(Ball(point(network), eps)), np.eye(network.output_size), wanted)
    worker = CrewHere(network).workers[0]
    for i in np.random.default_rng(0).permutation(len(asked)):
        piece, shared = asked[i]
        again = worker.compute(piece, shared)  # type: ignore[arg-type]
        for name, values in crew.results[piece.key].items():  # type: ignore[attr-defined]
            np.testing.assert_array_equal(again[name], values)


@pytest.mark.parametrize("kind", ["chains", "columns", "merged", "margins", "neurons"])
def test_what_is_shared_counts_not_what_is_remembered(kind: str) -> None:
    """The same region with other, wider bounds: a worker that remembers the first answers as one that does not."""
    network, rows = NETWORKS["dense"], np.eye(5)
    crew = CrewHere(network)
    asked: dict[str, tuple[Piece, Shared]] = {}
    plain = crew.map

    def remembered(pieces: Sequence[Piece], shared: Shared) -> list[Arrays]:
        asked[pieces[0].kind] = pieces[0], shared
        return plain(pieces, shared)

    crew.map = remembered  # type: ignore[method-assign]
    bounder = Bounder(network, crew=ThroughCrew(crew, 3 if kind == "chains" else 40, TINY))
    known = bounder.enclose(Ball(point(network), 0.1))
    bounder.margins(known, rows)
    bounder.rows(known, rows, Derivatives(("bounds", "constants")))
    piece, shared = asked[kind]
    changed = 0
    for widened in (".place.bounds.1.0", ".later.", ".derivatives."):
        arrays = {
            name: values - 0.5 if name.startswith(widened) else values  # type: ignore[operator]
            for name, values in shared.arrays.items()
        }
        other = Shared(digest(arrays), arrays)
        again, fresh = crew.workers[0].compute(piece, other), CrewHere(network).workers[0].compute(piece, other)
        for name, values in fresh.items():
            np.testing.assert_array_equal(again[name], values)
            changed += not np.array_equal(values, crew.results[piece.key][name])
        # And back.
        back = crew.workers[0].compute(piece, shared)
        for name, values in crew.results[piece.key].items():
            np.testing.assert_array_equal(back[name], values)
    assert changed


def test_bounds_of_other_neurons_are_refused() -> None:
    network = NETWORKS["dense"]
    crew = CrewHere(network)
    plain = crew.map

    def altered(pieces, shared):  # type: ignore[no-untyped-def]
        found = plain(pieces, shared)
        if pieces[0].kind == "shape":
            found[0]["structure"] = found[0]["structure"][::-1].copy()
        return found

    crew.map = altered  # type: ignore[method-assign]
    bounder = Bounder(network, crew=ThroughCrew(crew, 40, TINY))
    known = bounder.enclose(Ball(point(network), 0.05))
    with pytest.raises(PieceError, match="machines of one kind"):
        bounder.rows(known, np.eye(network.output_size), Derivatives(("bounds",)))


def test_misuse_is_told() -> None:
    network = NETWORKS["dense"]
    with pytest.raises(SettingsError, match="pieces: got 0"):
        analyse_in_pieces(network, Sample(point(network)), Settings(compute=("radius",)), 0, CrewHere(network))
    bounder, whole = Bounder(network, crew=ThroughCrew(CrewHere(network), 2)), Bounder(network)
    with pytest.raises(TypeError, match="same bounder"):
        bounder.margins(whole.enclose(Ball(point(network), 0.1)), np.eye(5))
    with pytest.raises(TypeError, match="same bounder"):
        whole.margins(bounder.enclose(Ball(point(network), 0.1)), np.eye(5))


def test_blocks_as_they_come() -> None:
    """With the ordinary least sizes, on a network that is just large enough for rows."""
    rng = np.random.default_rng(3)
    widths = [40, 160, 160, 96]
    network = Network.from_layers(
        [(rng.standard_normal((m, n)) * math.sqrt(2 / n), np.zeros(m)) for n, m in pairwise(widths)]
    )
    x, settings = point(network), Settings(eps=(0.02,), compute=("lipschitz",), direction="backward")
    crew = CrewHere(network, workers=2)
    found = analyse_in_pieces(network, Sample(x), settings, 4, crew)
    assert ("chains", 4) in crew.requests
    assert_close(found, analyse_sample(network, Sample(x), settings), CLOSE["float64"])
    small = analyse_in_pieces(network, Sample(x), settings, 4, CrewHere(network), block_bytes=2**16)
    assert_close(small, found, CLOSE["float64"])


@pytest.mark.parametrize("targets", ["runner-up", "random", 2])
def test_labels_and_targets_are_as_in_the_whole(targets: str | int) -> None:
    network = NETWORKS["dense"]
    x = point(network)
    predicted = int(np.argmax(network(x)[0]))
    settings = Settings(eps=(0.02,), compute=("radius", "verified"), targets=targets)
    for label in (predicted, (predicted + 1) % 5):
        for index in (0, 1):
            found = analyse_in_pieces(network, Sample(x, label, index), settings, 1, CrewHere(network))
            assert_same(found, analyse_sample(network, Sample(x, label, index), settings))
