"""Stored outputs against the ONNX file itself: an error of the import would make every certificate one about another network."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.bounds.interval import output_at
from distverify.errors import ModelError
from distverify.kernels.rounding import BY_PRECISION
from distverify.network.graph import Network
from distverify.network.normalisation import channel_layout, mean_and_std
from distverify.network.onnx.evaluator import file_evaluator

Floats = NDArray[np.float64]

VARIABLE = "logits of the file"
# The reference sums in its own order, and its functions have errors of their own.
_MARGIN = 64.0
# The reference evaluates one sample in up to a second.
COMPARED = 16


def compare_with_file(
    model: str | os.PathLike[str], network: Network, inputs: Floats, as_file: Callable[[Floats], Floats], stored: Floats
) -> tuple[NDArray[np.bool_], Floats] | str:
    """Evaluate the first samples by the ONNX reference evaluator.

    Parameters
    ----------
    model : path
        The ONNX file.
    network : Network
        That was certified.
    inputs : float64 [N, D]
        Its samples.
    as_file : callable
        From those to what the file takes.
    stored : float64 [N, outputs]
        The result's logits.

    Returns
    -------
    broken, attained : bool and float64 [n, outputs], n at most :data:`COMPARED`
        Where the file's outputs differ by more than rounding explains; and the file's outputs. Or a sentence: why nothing
        can be compared.
    """
    attained: list[Floats] = []
    broken: list[NDArray[np.bool_]] = []
    try:
        evaluate = file_evaluator(model, network.input_size)
        rounding = BY_PRECISION["float32" if evaluate.single else "float64"]
        for x, own in zip(inputs[:COMPARED], stored, strict=False):
            values = evaluate(as_file(x))
            if values.size != own.size:
                return f"the file gives {values.size} outputs, the result has {own.size}"
            lower, upper = output_at(network, x, rounding)
            slack = _MARGIN * (0.5 * upper - 0.5 * lower) + np.finfo(np.float64).tiny
            with np.errstate(invalid="ignore"):
                broken.append(np.abs(values - own) > slack)
            attained.append(values)
    except ModelError as error:
        return str(error)
    return np.stack(broken), np.stack(attained)


def is_onnx(model: object) -> bool:
    """Whether ``model`` names an ONNX file."""
    return isinstance(model, str | os.PathLike) and str(model).lower().endswith((".onnx", ".onnx.gz"))


def to_file(network: Network, mean: Any, std: Any) -> Callable[[Floats], Floats]:
    """From a sample of the network with folded normalisation to what the file takes."""
    if mean is None and std is None:
        return lambda x: x
    means, deviations = mean_and_std(
        network, 0.0 if mean is None else mean, 1.0 if std is None else std, layout=channel_layout(network.input_shape)
    )
    return lambda x: np.asarray((x - means) / deviations)
