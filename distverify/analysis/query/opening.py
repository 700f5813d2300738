"""A query file with its models, of version 2.0 or 1.0: one door for both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from distverify.analysis.query.binding import BoundQuery, bind_models
from distverify.data.query.first_version import is_first_version, parse_first_version
from distverify.data.query.reading import parse_query
from distverify.data.vnnlib.text import Unreadable, read_text
from distverify.errors import DataError, ModelError
from distverify.network.onnx.bound import Model, Port, open_model


def open_query(path: str | Path, models: Mapping[str, str | Path]) -> BoundQuery:
    """Read a query and open its models.

    Parameters
    ----------
    path : path
        A ``.vnnlib`` file, plain or gzipped.
    models : dict name of a network -> path
        For version 1.0, one model of any name.

    Raises
    ------
    DataError, ModelError
    """
    try:
        text = read_text(Path(path))
        if not is_first_version(text):
            return bind_models(parse_query(text), models)
        if len(models) != 1:
            raise DataError(f"models: got {len(models)}; a query of VNN-LIB 1.0 is about one network")
        ((name, model),) = models.items()
        opened = open_model(model)
        query = parse_first_version(text, name, lambda inputs, outputs: _shapes(opened, inputs, outputs))
    except Unreadable as error:
        raise DataError(f"{path}: {error}") from None
    return bind_models(query, models)


def _shapes(model: Model, inputs: int, outputs: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ModelError(
            f"{model.path}: has {len(model.inputs)} inputs and {len(model.outputs)} outputs; a query of VNN-LIB 1.0 is about one each"
        )
    return _closed(model, model.inputs[0], inputs), _closed(model, model.outputs[0], outputs)


def _closed(model: Model, port: Port, size: int) -> tuple[int, ...]:
    """The port's shape for ``size`` values: open axes have length 1, but for one that takes what is left."""
    if port.shape is None:
        return (size,)
    known = math.prod(d for d in port.shape if d is not None)
    shape, left = [], size // known if known and size % known == 0 else 0
    for d in port.shape:
        if d is None:
            d, left = (1, left) if left != 1 and port.shape.count(None) > 1 else (max(left, 1), 1)
        shape.append(d)
    if math.prod(shape) != size:
        raise ModelError(
            f"{model.path}: {port.name!r} has shape {list(port.shape)}; the query declares {size} values for it"
        )
    return tuple(shape)
