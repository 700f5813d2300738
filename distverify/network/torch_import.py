"""PyTorch modules as networks, by way of torch's own ONNX export."""

from __future__ import annotations

import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from distverify.errors import ModelError
from distverify.network.graph import Network
from distverify.network.linear.operator import Array
from distverify.network.onnx.importer import load_onnx

# Modules mostly compute in float32; what is further off was not translated rightly.
_AGREEMENT = 1e-3


def is_module(model: Any) -> bool:
    """Whether ``model`` is a torch.nn.Module, without importing torch for it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def load_torch(module: Any, example_input: Any) -> Network:
    """The network that ``module`` computes in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Takes one tensor, with a batch axis, and gives one. Left as it was.
    example_input : torch.Tensor [N, ...]
        At least one input. The module is exported for the first; at all of them the outputs are compared.

    Raises
    ------
    ModelError
        torch cannot export the module, the export has an operator that is not supported, or the outputs differ.
    """
    import torch

    if not isinstance(example_input, torch.Tensor) or example_input.ndim < 2 or len(example_input) < 1:
        raise ModelError("example_input: give a torch.Tensor with a batch axis, such as torch.zeros(1, 3, 32, 32)")
    # The newer exporter needs onnxscript; the older one comes with torch itself.
    newer = importlib.util.find_spec("onnxscript") is not None
    with tempfile.TemporaryDirectory() as folder, _evaluating(module):
        path = Path(folder) / "module.onnx"
        try:
            with _quiet(), torch.no_grad():
                expected = module(example_input)
                options = {"external_data": False, "verbose": False} if newer else {}
                torch.onnx.export(module, (example_input[:1],), str(path), dynamo=newer, **options)
        # torch raises whatever the module's own code raises.
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"module: torch cannot export it ({type(error).__name__}: {reason})") from error
        network = load_onnx(path, batch_axis=True)
    if not isinstance(expected, torch.Tensor):
        raise ModelError(f"module: gives a {type(expected).__name__}; it must give one tensor")
    wanted = expected.detach().cpu().double().numpy().reshape(len(example_input), -1)
    found = network(example_input.detach().cpu().double().numpy())
    if "outputs" in network.remarks:
        # The module ends in a Softmax, which is left off: logits are compared, up to the constant that it forgets.
        wanted, found = _logits(wanted), found - found.max(axis=1, keepdims=True)
    gap = float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf
    if not gap <= _AGREEMENT * max(1.0, float(np.abs(wanted).max())):
        raise ModelError(
            f"module: its outputs differ from the exported network's by {gap:g}; the export is not faithful"
        )
    return network


def _logits(outputs: Array) -> Array:
    """What a Softmax or LogSoftmax was applied to, with 0 as the largest of each row."""
    logarithms = np.log(np.maximum(outputs, 1e-300)) if (outputs >= 0.0).all() else outputs
    return np.asarray(logarithms - logarithms.max(axis=1, keepdims=True))


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Every submodule in evaluation mode, and then as it was."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, training in modes:
            m.training = training


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporters announce their own deprecations and missing extras."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
