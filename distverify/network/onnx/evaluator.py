"""An ONNX file evaluated by ONNX's own reference, in float64 and apart from what was imported of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ModelError
from distverify.network.onnx.agreement import Reference
from distverify.network.onnx.declared import declared_inputs, operator_set
from distverify.network.onnx.file import TensorReader, read_model

# What may stand between a last Softmax and the output.
_PASSING = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


@dataclass(frozen=True, eq=False)
class FileEvaluator:
    """The function of an ONNX file, logits before a last Softmax.

    Attributes
    ----------
    reference : Reference
    single : bool
        Whether some of its functions are computed in single precision.
    """

    reference: Reference

    @property
    def single(self) -> bool:
        return self.reference.single

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """f(x), float64 [outputs].

        Raises
        ------
        ModelError
            The reference evaluator fails on the model.
        """
        try:
            tensors = self.reference(x.reshape(-1))
        except Exception as error:  # whatever the reference's NumPy code raises on what it does not support
            reason = " ".join(str(error).split())[:120]
            raise ModelError(f"the ONNX reference evaluator fails on it ({type(error).__name__}: {reason})") from error
        values = [np.asarray(tensors[output], dtype=np.float64).reshape(-1) for output in self.reference.outputs]
        return np.concatenate(values)


def file_evaluator(path: str | os.PathLike[str], size: int) -> FileEvaluator:
    """The evaluator of the ONNX file ``path`` for samples of ``size`` values.

    Raises
    ------
    ModelError
        The file cannot be read, or has a form that the reference does not take.
    """
    model = read_model(path)
    graph = model.graph
    reader = TensorReader(Path(path).parent.resolve())
    constants = {t.name: reader.read(t, f"initialiser {t.name!r}") for t in graph.initializer}
    # A file whose first axis was said to be no batch axis has more values in it.
    readings = (declared_inputs(graph, set(constants), axis) for axis in (None, False, True))
    inputs = next((read for read in readings if sum(i.size for i in read) == size), None)
    if inputs is None:
        raise ModelError(f"{path}: its input does not hold {size} values")
    outputs = [o.name for o in graph.output]
    producers = {name: node for node in graph.node for name in node.output}
    name = outputs[0]
    while name in producers and producers[name].op_type in _PASSING:
        name = producers[name].input[0]
    if len(outputs) == 1 and name in producers and producers[name].op_type in ("Softmax", "LogSoftmax"):
        outputs = [producers[name].input[0]]
    try:
        reference = Reference(list(graph.node), constants, inputs, outputs, operator_set(model))
    except Exception as error:
        raise ModelError(f"{path}: the ONNX reference evaluator does not take it ({type(error).__name__})") from error
    return FileEvaluator(reference)
