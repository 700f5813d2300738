"""A gate at import: the network must compute what ONNX's own reference evaluator does with the model.

Both are evaluated in float64 at a few points. What they may differ by is the rounding of either, bounded along the way:
more means that the model was misread, and no certificate about it would be worth anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from distverify.errors import ModelError
from distverify.kernels.rounding import BY_PRECISION
from distverify.network.evaluation import values_with_errors
from distverify.network.graph import NetworkBuilder
from distverify.network.linear.operator import Array
from distverify.network.nodes import Node
from distverify.network.onnx.declared import DeclaredInput
from distverify.network.onnx.file import FLOAT_TYPES, Constant
from distverify.network.onnx.operation import Signal
from distverify.network.onnx.probe import sample_points

# The reference sums in its own order, and its functions have errors of their own.
_MARGIN = 64.0
# Functions that the reference evaluator computes in single precision, whatever it is given, or with constants of it.
_SINGLE = frozenset({"Erf", "Gelu", "HardSwish"})
# Before this operator set the reference evaluator knows today's rules only.
_OLDEST = 7


class BatchNormalization(OpRun):  # type: ignore[misc]
    """As the operator is defined for evaluation; the reference evaluator mixes the batch's own mean in before operator set 14."""

    op_domain = ""

    def _run(
        self, x: Array, scale: Array, shift: Array, mean: Array, variance: Array, epsilon: float = 1e-5, **other: Any
    ) -> tuple[Array]:
        per_channel = (-1, *(1,) * (x.ndim - 2))
        scale, shift, mean, variance = (a.reshape(per_channel) for a in (scale, shift, mean, variance))
        return (scale * (x - mean) / np.sqrt(variance + epsilon) + shift,)


class Reference:
    """The part of a model that its output depends on, to be evaluated in float64.

    Parameters
    ----------
    nodes : sequence of onnx.NodeProto
        In the graph's order.
    constants : dict name -> array
        The initialisers that they read.
    inputs : sequence of DeclaredInput
    outputs : sequence of str
        Names.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, Constant],
        inputs: Sequence[DeclaredInput],
        outputs: Sequence[str],
        opset: int,
    ) -> None:
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self._feeds = {k: _doubled(v) for k, v in constants.items()}
        infos = [onnx.ValueInfoProto(name=name) for name in (*(i.name for i in inputs), *constants)]
        copies = [_in_float64(node) for node in nodes]
        results = [onnx.ValueInfoProto(name=output) for output in outputs]
        graph = onnx.helper.make_graph(copies, "reference", infos, results)
        opsets = [onnx.helper.make_opsetid("", opset)]
        self.single = any(node.op_type in _SINGLE for node in nodes)
        self._evaluator = ReferenceEvaluator(
            onnx.helper.make_model(graph, opset_imports=opsets), new_ops=[BatchNormalization]
        )

    def __call__(self, x: Array) -> dict[str, NDArray[Any]]:
        """Every tensor, by name, at the sample ``x`` [size]: the values of all inputs, one after the other."""
        return self._at({i.name: part.reshape(i.shape) for i, part in zip(self.inputs, self._parts(x), strict=True)})

    def together(self, samples: Array) -> dict[str, NDArray[Any]]:
        """Every tensor at a batch of ``samples`` [N, size]."""
        parts = zip(*(self._parts(x) for x in samples), strict=True)
        count = len(samples)
        return self._at(
            {i.name: np.stack(p).reshape(count, *i.shape[1:]) for i, p in zip(self.inputs, parts, strict=True)}
        )

    def _parts(self, x: Array) -> list[Array]:
        return np.split(x, np.cumsum([i.size for i in self.inputs])[:-1])

    def _at(self, feeds: dict[str, Array]) -> dict[str, NDArray[Any]]:
        with np.errstate(all="ignore"):
            results = self._evaluator.run(None, {**feeds, **self._feeds}, intermediate=True)
        return {name: np.asarray(value) for name, value in results.items() if value is not None}


def check_agreement(
    make_reference: Callable[[], Reference],
    builder: NetworkBuilder,
    signals: Mapping[str, Signal],
    *,
    opset: int,
) -> str:
    """Compare the nodes of ``builder`` with the reference.

    Parameters
    ----------
    signals : dict name -> Signal
        The tensors that depend on the input, and their nodes, in the graph's order.

    Returns
    -------
    str
        What was found, for the provenance.

    Raises
    ------
    ModelError
        They differ; the message names the first node that does. Or the samples of a batch influence each other.
    """
    if opset < _OLDEST:
        return f"not compared with the ONNX reference evaluator: operator set {opset} is older than its rules"
    points = sample_points(builder.size(0))
    try:
        reference = make_reference()
        tensors = [reference(point) for point in points]
    except Exception as error:  # whatever the reference's NumPy code raises on what it does not support
        reason = " ".join(str(error).split())[:120]
        return f"not compared with the ONNX reference evaluator, which fails on it ({type(error).__name__}: {reason})"
    single = reference.single or any(v.dtype == np.float32 for at_point in tensors for v in at_point.values())
    values, errors = values_with_errors(builder.nodes, points, BY_PRECISION["float32" if single else "float64"])
    largest = 0.0
    for k in range(len(points)):
        for output in reference.outputs:
            ratio = _largest_ratio(tensors[k][output], values, errors, signals[output].node, k)
            if not ratio <= 1.0:
                raise ModelError(_difference(tensors[k], values, errors, signals, k))
            largest = max(largest, _gap(tensors[k][output], values[signals[output].node][:, k]))
    if all(i.open_batch for i in reference.inputs):
        _check_samples_apart(reference, points[:2], tensors[:2])
    return f"agrees with the ONNX reference evaluator at {len(points)} points, within {largest:.1e}"


def check_folding(before: Sequence[Node], after: Sequence[Node], output: int) -> None:
    """Refuse a network whose simplified nodes do not compute what they did before; ``output`` is the node that counts."""
    points = sample_points(before[0].size)
    values, errors = values_with_errors(before[: output + 1], points, BY_PRECISION["float64"])
    folded, more = values_with_errors(after[: output + 1], points, BY_PRECISION["float64"])
    both = [e + m for e, m in zip(errors, more, strict=True)]
    for k in range(len(points)):
        if not _largest_ratio(folded[output][:, k], values, both, output, k) <= 1.0:
            gap = _gap(folded[output][:, k], values[output][:, k])
            raise ModelError(
                f"{before[output].name}: folding constants changed the function by {gap:.3g}; "
                "the model cannot be certified as it is: please report it"
            )


def _largest_ratio(expected: NDArray[Any], values: list[Array], errors: list[Array], node: int, k: int) -> float:
    """Largest difference in units of what rounding allows; infinite where sizes differ."""
    flat = np.asarray(expected, dtype=np.float64).reshape(-1)
    own, error = values[node][:, k], errors[node][:, k]
    if flat.size != own.size:
        return np.inf
    # Nothing can be said where either overflows.
    known = np.isfinite(flat) & np.isfinite(own) & np.isfinite(error)
    allowed = _MARGIN * error[known] + np.finfo(np.float64).tiny
    return float((np.abs(flat[known] - own[known]) / allowed).max(initial=0.0))


def _gap(expected: NDArray[Any], own: Array) -> float:
    known = np.isfinite(expected.reshape(-1)) & np.isfinite(own)
    return float(np.abs(np.asarray(expected, dtype=np.float64).reshape(-1) - own)[known].max(initial=0.0))


def _difference(
    tensors: Mapping[str, NDArray[Any]], values: list[Array], errors: list[Array], signals: Mapping[str, Signal], k: int
) -> str:
    """Which tensor is the first that differs, and by how much."""
    for name, signal in signals.items():
        expected = tensors.get(name)
        if expected is None:
            continue
        if expected.size != signal.size:
            return (
                f"{name!r}: read with {signal.size} values, but the ONNX reference evaluator gives shape {expected.shape}; "
                "the model cannot be certified as it is: please report it"
            )
        if not _largest_ratio(expected, values, errors, signal.node, k) <= 1.0:
            gap = _gap(expected, values[signal.node][:, k])
            return (
                f"{name!r}: read as a function that differs from the ONNX reference evaluator's by {gap:.3g}; "
                "the model cannot be certified as it is: please report it"
            )
    raise AssertionError("a difference of the output is one of the last tensor")


def _check_samples_apart(reference: Reference, points: Array, alone: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Refuse a model in which one sample of a batch changes another's output."""
    try:
        tensors = reference.together(points)
    except Exception:  # a shape for a batch of one stands somewhere in the model
        return
    for output in reference.outputs:
        if tensors[output].shape[:1] == (len(points),):
            _check_rows(output, tensors[output], alone)


def _check_rows(output: str, together: NDArray[Any], alone: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    for row, single in zip(together, alone, strict=True):
        expected = np.asarray(single[output], dtype=np.float64).reshape(-1)
        scale = float(np.abs(expected).max(initial=1.0))
        if row.size != expected.size or not np.allclose(
            row.reshape(-1), expected, rtol=1e-6, atol=1e-6 * scale, equal_nan=True
        ):
            raise ModelError(
                f"output {output!r}: the samples of a batch influence each other, so there is no function of one sample; "
                "export the model with a fixed shape, and say that its first axis is no batch axis (batch_axis)"
            )


def _doubled(array: Constant) -> Constant:
    return array if array.dtype.kind in "iub" else array.astype(np.float64)


def _in_float64(node: onnx.NodeProto) -> onnx.NodeProto:
    """A copy of ``node`` whose constants and casts are of double precision."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for attribute in copy.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in FLOAT_TYPES:
            attribute.t.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(attribute.t).astype(np.float64)))
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOAT_TYPES:
            attribute.i = TensorProto.DOUBLE
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            tensor = numpy_helper.from_array(np.asarray(numbers, dtype=np.float64))
            attribute.CopyFrom(onnx.helper.make_attribute("value", tensor))
    return copy
