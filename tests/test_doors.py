"""The names that Python users reach: all there, as what they are, whatever else is imported."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import distverify as dv
from distverify import errors


def test_every_name_leads_somewhere() -> None:
    for name in dv.__all__:
        assert getattr(dv, name) is not None
    assert set(dv.__all__) <= set(dir(dv))
    with pytest.raises(AttributeError, match="no attribute 'certfy'"):
        dv.certfy  # noqa: B018


def test_no_folder_takes_the_place_of_a_name() -> None:
    folders = {module.name for module in pkgutil.iter_modules(dv.__path__)}
    assert not folders & set(dv.__all__), "import distverify.NAME would hide the function"


def test_every_exception_is_a_name_of_the_package() -> None:
    own = {n for n, v in vars(errors).items() if isinstance(v, type) and issubclass(v, Exception)}
    assert own <= set(dv.__all__)


def test_what_public_docstrings_return_and_raise_is_a_name() -> None:
    for name in dv.__all__:
        text = getattr(dv, name).__doc__ or ""
        returned = re.findall(r"Returns\n\s+-+\n\s+(\w+)$", text, flags=re.MULTILINE)
        raised = re.findall(r"\b([A-Z]\w+Error|Interrupted)\b", text)
        for mentioned in (*returned, *raised):
            if mentioned[0].isupper() and mentioned not in ("Path", "ValueError", "TypeError", "KeyError"):
                assert mentioned in dv.__all__, (name, mentioned)


def test_importing_the_package_alone_is_light() -> None:
    code = "import sys, distverify; print([m for m in ('numpy', 'numba', 'ray', 'h5py', 'onnx') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_result_from_start_to_end(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    network = dv.Network.from_layers([(generator.standard_normal((3, 4)), np.zeros(3))])
    x = generator.uniform(size=(4, 4))
    output = tmp_path / "out.h5"
    compute = ("lipschitz", "outputs", "radius")
    result = dv.certify(network, x, eps=0.01, compute=compute, output=output, executor="serial")
    assert dv.report(result) == tmp_path / "out.html"
    assert dv.report([str(output)], tmp_path / "page.html").exists()
    assert "radius" in dv.export(output, tmp_path / "out.csv")
    outcome = dv.audit(output, network, x, points=8, executor="serial")
    assert isinstance(outcome, dv.Audit)
    assert (outcome.samples, outcome.violations) == (4, 0)
    assert isinstance(dv.estimate(network, x, timed=2, eps=0.01), dv.Estimate)
    for function in (dv.report, lambda r: dv.export(r, tmp_path / "a.csv"), lambda r: dv.audit(r, network, x)):
        with pytest.raises(dv.SettingsError, match="result: got int; give a Result, or the path of a result file"):
            function(3)  # type: ignore[operator]
    assert callable(importlib.import_module("distverify").audit)
