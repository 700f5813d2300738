"""What an ONNX model declares: its operator set, its inputs, and which of their axes count samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import onnx

from distverify.errors import ModelError
from distverify.network.onnx.file import FLOAT_TYPES, type_name

STANDARD_DOMAINS = ("", "ai.onnx")


def operator_set(model: onnx.ModelProto) -> int:
    versions = [o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS]
    # Files older than IR version 3 name no operator set; they use the first.
    opset = max(versions, default=1)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise ModelError(
            f"the model uses operator set {opset}, but the installed onnx knows 1 to {newest}; "
            "upgrade onnx, or export the model for an older operator set"
        )
    return opset


class DeclaredInput(NamedTuple):
    """One input of a model.

    Attributes
    ----------
    shape, sample_shape : tuple of int
        With a batch of one where there is a batch axis, and without that axis.
    open_batch : bool
        Whether it takes any number of samples at once.
    """

    name: str
    shape: tuple[int, ...]
    sample_shape: tuple[int, ...]
    open_batch: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def declared_inputs(
    graph: onnx.GraphProto, initialisers: set[str], batch_axis: bool | None
) -> tuple[DeclaredInput, ...]:
    """The inputs of ``graph`` besides its ``initialisers``, in order."""
    sources = [i for i in graph.input if i.name not in initialisers]
    if not sources:
        raise ModelError("the model has no inputs; there is nothing to verify")
    made = []
    for source in sources:
        shape, sample_shape = _shapes(source, graph.output[0], batch_axis)
        made.append(DeclaredInput(source.name, shape, sample_shape, _has_open_batch(source) and shape != sample_shape))
    return tuple(made)


def _shapes(
    source: onnx.ValueInfoProto, output: onnx.ValueInfoProto, batch_axis: bool | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The input's shape with a batch of one where it has a batch axis, and the shape of one sample without it.

    The first axis is a batch axis if it has no fixed length, or length 1 and the output's first axis has that or no fixed
    length; ``batch_axis`` says it where that is not so.
    """
    label = f"input {source.name!r}"
    kind = source.type.WhichOneof("value")
    if kind != "tensor_type":
        raise ModelError(f"{label}: is a {kind or 'value without a type'}; only tensors are supported")
    tensor = source.type.tensor_type
    if tensor.elem_type not in FLOAT_TYPES:
        raise ModelError(
            f"{label}: has type {type_name(tensor.elem_type)}; a network to verify takes floating-point values"
        )
    if not tensor.HasField("shape") or not tensor.shape.dim:
        raise ModelError(f"{label}: declares no shape; export the model with one, such as [1, 784]")
    dims = [_dimension(d) for d in tensor.shape.dim]
    declared = [_dimension(d) for d in output.type.tensor_type.shape.dim]
    batched = dims[0] is None or (dims[0] == 1 and declared[:1] in ([], [None], [1]))
    if batch_axis is not None:
        batched = batch_axis
    elif dims == [1]:
        # One number, with a batch axis or without.
        batched = False
    if batched and len(dims) == 1:
        raise ModelError(f"{label}: shape {_shown(dims)} has no axis beside the batch axis; a sample needs one")
    fixed = tuple(d for d in (dims[1:] if batched else dims) if d is not None)
    if len(fixed) < len(dims) - batched:
        where = "beyond the batch axis" if batched else "and has no batch axis"
        raise ModelError(f"{label}: shape {_shown(dims)} is open {where}; export it with a fixed shape")
    return (1, *fixed) if batched else fixed, fixed


def _has_open_batch(source: onnx.ValueInfoProto) -> bool:
    """Whether the input's first axis has no fixed length."""
    return _dimension(source.type.tensor_type.shape.dim[0]) is None


def _shown(dims: list[int | None]) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in dims)}]"


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int | None:
    """A fixed length, or None for a symbol or nothing (which old exporters write as 0 or -1)."""
    return int(dim.dim_value) if dim.dim_value > 0 else None
