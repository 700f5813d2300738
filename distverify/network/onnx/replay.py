"""A model run as it is, in its own element types: by onnxruntime where it is installed, else by ONNX's reference evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from distverify.errors import ModelError
from distverify.network.onnx.bound import Model

_LARGEST_INLINE = 2**30


class Replay:
    """Runs one model.

    Parameters
    ----------
    model : Model
    tensors : sequence of str
        What is wanted: outputs, and inner tensors.
    """

    def __init__(self, model: Model, tensors: Sequence[str]) -> None:
        self._inputs = [port.name for port in model.inputs]
        self._types = [port.element or "float32" for port in model.inputs]
        self._tensors = list(dict.fromkeys(tensors))
        self._given = set(self._inputs)
        self._wanted = [name for name in self._tensors if name not in self._given]
        proto = onnx.ModelProto()
        proto.CopyFrom(model.proto)
        declared = {o.name for o in proto.graph.output}
        for name in self._wanted:
            if name not in declared:
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
        self._proto, self._folder = proto, model.path.parent
        self._session = self._runtime()
        self._reference: Any = None

    def _runtime(self) -> Any:
        """A session of onnxruntime; None where there is none, or it does not take the model."""
        try:
            import onnxruntime
        except ImportError:
            return None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            return onnxruntime.InferenceSession(
                self._complete().SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # its errors have no common class
            return None

    def _complete(self) -> onnx.ModelProto:
        """The model with its external data in it."""
        if any(t.data_location == onnx.TensorProto.EXTERNAL for t in self._proto.graph.initializer):
            whole = onnx.ModelProto()
            whole.CopyFrom(self._proto)
            onnx.load_external_data_for_model(whole, str(self._folder))
            return whole
        return self._proto

    def __call__(self, inputs: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The wanted tensors, by name, at ``inputs`` in the model's order.

        Raises
        ------
        ModelError
            Neither runtime takes the model.
        """
        feeds = {
            name: np.asarray(value).astype(_numpy_type(kind))
            for name, kind, value in zip(self._inputs, self._types, inputs, strict=True)
        }
        known = {name: feeds[name] for name in self._tensors if name in self._given}
        if not self._wanted:
            return known
        if self._session is not None:
            try:
                results = self._session.run(self._wanted, feeds)
            except Exception:  # its errors have no common class
                self._session = None
            else:
                return {**known, **dict(zip(self._wanted, map(np.asarray, results), strict=True))}
        try:
            if self._reference is None:
                from onnx.reference import ReferenceEvaluator

                self._reference = ReferenceEvaluator(self._complete())
            with np.errstate(all="ignore"):
                results = self._reference.run(self._wanted, feeds)
        except Exception as error:  # whatever its NumPy code raises on what it does not support
            reason = " ".join(str(error).split())[:120]
            raise ModelError(f"neither onnxruntime nor the reference evaluator runs it ({reason})") from error
        return {**known, **dict(zip(self._wanted, map(np.asarray, results), strict=True))}


def _numpy_type(element: str) -> Any:
    return onnx.helper.tensor_dtype_to_np_dtype(
        {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE}.get(element)
        or getattr(onnx.TensorProto, element.upper())
    )
