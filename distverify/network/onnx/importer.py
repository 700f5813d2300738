"""ONNX models as networks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from distverify.network.graph import Network
from distverify.network.onnx.agreement import check_folding
from distverify.network.onnx.file import TensorReader, read_model
from distverify.network.onnx.translation import Translation
from distverify.network.simplify import simplify


def load_onnx(path: str | os.PathLike[str], *, batch_axis: bool | None = None) -> Network:
    """Read a network from an ONNX file.

    The network is the model as it evaluates one sample, in exact arithmetic with the numbers in the file. Constant,
    elementwise linear operations are folded into the dense layers and convolutions next to them; what that rounds is
    carried along as an error of the folded weights.

    Parameters
    ----------
    path : str or path
        An ``.onnx`` file, which may be compressed (``.onnx.gz``). External data is read from its folder only.
    batch_axis : bool, optional
        Whether the first axis of the input counts samples. By default it does if it has no fixed length, or length 1 at the
        input and 1 or no fixed length at the output.

    Raises
    ------
    ModelError
        A file that cannot be read or is damaged; an operator, type or graph form that is not supported.
    """
    model = read_model(path)
    # Numbers that overflow are found by the checks of what is made of them.
    with np.errstate(all="ignore"):
        translation = Translation(model, TensorReader(Path(path).parent.resolve()), batch_axis)
        output = translation.run()
        unfolded = list(translation.builder.nodes)
        simplify(translation.builder, output)
        check_folding(unfolded, translation.builder.nodes, output)
        return translation.builder.build(output, translation.remarks, unfolded)
