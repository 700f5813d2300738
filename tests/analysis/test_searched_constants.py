"""Constants, derivatives and margins of a run with nodes: between both ends, in the file, in pieces, and under attack."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify.analysis.sample import analyse_sample
from distverify.bounds.gradient import jacobian_at
from distverify.bounds.jacobian import margin_rows
from distverify.errors import SettingsError
from distverify.network.graph import Network
from distverify.results.schema import run_variables_for, variables_for
from distverify.settings import Settings
from distverify.work import Sample
from tests.analysis.test_in_pieces import in_pieces
from tests.analysis.test_lipschitz_brackets import dual, induced, jacobians_of_pieces, tiny
from tests.networks import Floats

EPS = (0.2, 0.5)
COMPUTE = ("lipschitz", "jacobian", "margins")


def network() -> Network:
    return Network.from_layers(tiny(3, (2, 5, 4, 3)), activation="relu")


X = np.array([0.15, -0.1])


@pytest.mark.parametrize("norm", [math.inf, 2.0, 1.0])
def test_a_sample_has_brackets_of_constants_derivatives_and_margins(norm: float) -> None:
    layers, eps = tiny(3, (2, 5, 4, 3)), 0.5
    sample = Sample(X, int(np.argmax(network()(X)[0])), 4)
    settings = Settings(norm=norm, eps=EPS, compute=COMPUTE, nodes=60)
    found = analyse_sample(network(), sample, settings)
    once = analyse_sample(network(), sample, Settings(norm=norm, eps=EPS, compute=COMPUTE))
    for name in ("lipschitz", "lipschitz_vector", "jacobian_upper"):
        assert (np.asarray(found[name]) <= np.asarray(once[name])).all()
    assert (np.asarray(found["jacobian_lower"]) >= np.asarray(once["jacobian_lower"])).all()
    if norm != math.inf:  # for balls of the other norms sampled points stand for the truth
        jacobians = jacobian_at(network(), X + inside(norm, eps))
    else:
        jacobians = np.array(jacobians_of_pieces(layers, X - eps, X + eps))
    rows = np.max([dual(j, norm) for j in jacobians], axis=0)
    vector = max(induced(j, norm) for j in jacobians)
    tight = 1 + 1e-9
    assert (rows <= found["lipschitz"][1] * tight).all()
    assert vector <= found["lipschitz_vector"][1] * tight
    assert (jacobians >= found["jacobian_lower"][1] - 1e-9).all()
    assert (jacobians <= found["jacobian_upper"][1] + 1e-9).all()
    assert (found["lipschitz_attained"] <= found["lipschitz"]).all()
    assert (found["lipschitz_vector_attained"] <= found["lipschitz_vector"]).all()
    # Leaves are settled by linear programmes over boxes; round balls may keep one that is empty.
    closed = 2e-4 if norm == math.inf else 0.05
    assert found["lipschitz_attained"][1] == pytest.approx(found["lipschitz"][1], rel=closed)
    margins = margin_rows(3, sample.label) @ jacobians
    others = [k for k in range(3) if k != sample.label]
    assert (np.max([dual(j, norm) for j in margins], axis=0) <= found["lipschitz_margin"][1][others] * tight).all()
    assert found["lipschitz_margin_attained"][1][others] == pytest.approx(
        found["lipschitz_margin"][1][others], rel=2e-4
    )
    assert np.isnan(found["lipschitz_margin_attained"][:, sample.label]).all()
    if norm == math.inf:
        assert found["lipschitz_attained"][1] == pytest.approx(rows, rel=2e-4)


def inside(norm: float, eps: float) -> Floats:
    u = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    return eps * u[np.linalg.norm(u, ord=norm, axis=1) <= 1.0]


def test_without_nodes_there_is_nothing_of_a_search() -> None:
    with_nodes, without = (Settings(eps=(0.1,), compute=COMPUTE, domain=(0.0, 1.0), nodes=n) for n in (9, 0))
    names = [{v.name for v in (*variables_for(s), *run_variables_for(s))} for s in (with_nodes, without)]
    assert names[0] - names[1] == {
        "lipschitz_attained", "lipschitz_vector_attained", "lipschitz_margin_attained", "domain_lipschitz_attained",
        "domain_lipschitz_vector_attained", "subproblems",
    }  # fmt: skip
    found = analyse_sample(network(), Sample(X), without)
    assert not [name for name in found if "attained" in name]


@pytest.mark.parametrize("norm", [math.inf, 1.0])
@pytest.mark.parametrize("pieces", [2, 5])
def test_pieces_give_the_same_bits(norm: float, pieces: int) -> None:
    settings = Settings(norm=norm, eps=(0.4,), compute=("lipschitz",), nodes=8)
    expected = analyse_sample(network(), Sample(X), settings)
    found, crew = in_pieces(network(), X, settings, pieces)
    for name in ("lipschitz_attained", "lipschitz_vector_attained"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert ("brackets", min(pieces, 3 + int(norm == 1.0))) in crew.requests


def test_a_result_is_told_and_attacked(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(-0.5, 0.5, (3, 2))
    path = tmp_path / "out.h5"
    result = dv.certify(
        network(), x, eps=list(EPS), compute={"lipschitz", "margins"}, nodes=40, output=path, executor="serial",
        domain=(-1.0, 1.0),
    )  # fmt: skip
    assert (result["lipschitz_attained"] <= result["lipschitz"]).all()
    assert result["domain_lipschitz_vector_attained"] == pytest.approx(result["domain_lipschitz_vector"], rel=1e-3)
    assert "lipschitz_looseness" in result.summary().spreads
    audit = dv.audit(path, network(), x, executor="serial", points=16)
    checked = {f.variable: f for f in audit.findings}
    assert audit.violations == 0
    for name in (
        "lipschitz_attained",
        "lipschitz_vector_attained",
        "lipschitz_margin_attained",
        "domain_lipschitz_attained",
    ):
        assert checked[name].checked > 0


def test_a_false_end_is_found_by_the_audit() -> None:
    from distverify.attacks.claims import all_claims, judge

    claim = next(c for c in all_claims() if c.variable == "lipschitz_attained")
    verdict = judge(claim, np.array([[[2.0, 3.5]]]), {"slope_bound": np.array([[[2.5, 3.0]]])}, Settings(eps=(0.1,)))
    assert verdict.broken.tolist() == [[[False, True]]]


def test_a_method_without_recursion_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"nodes: got 5 with method='interval' and lipschitz; .* needs linear, coupled or"
    ):
        Settings(eps=(0.1,), compute=("lipschitz",), nodes=5, method="fastlip")
