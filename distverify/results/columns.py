"""A result as a table with a row per sample."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError
from distverify.quantities.variable import TEXT, Variable
from distverify.status import STATUS_MEANINGS, verdict_of

# What a table of property files tells besides the arrays of the file.
VERDICT = Variable("verdict", ("sample",), TEXT, b"", "1", "verified, falsified, unknown, or no value")
WITNESS = Variable("witness", ("sample",), TEXT, b"", "1", "whether a counterexample is stored: yes or no")


class Readable(Protocol):
    """Arrays by name; a :class:`distverify.Result` is one."""

    @property
    def dims(self) -> dict[str, tuple[str, ...]]:
        """Dimensions of every array."""
        ...

    def read(self, name: str, where: Any = ...) -> NDArray[Any]:
        """The rows ``where`` of an array."""
        ...

    def __getitem__(self, name: str) -> Any: ...


def sample_columns(
    result: Readable, names: Iterable[str] | None = None, where: slice | NDArray[Any] = slice(None)
) -> dict[str, NDArray[Any]]:
    """A table with a row per sample: name of a column -> its values; ``sample`` comes first.

    An array with more dimensions becomes a column for each of their coordinates, ``radius_target[output=3]``; outputs and inputs
    that have names are told by them, ``output_lower[eps=0.01,output=speed]``. Of property files ``verdict`` and ``witness`` are added
    as words, where no names are given.

    Parameters
    ----------
    result : Result or the like
    names : iterable of str, optional
        Arrays whose first dimension is ``sample``. Default: all without the dimensions ``output`` and ``input``.
    where : slice or bool [sample]
        Rows; all by default.

    Raises
    ------
    ResultError
        A name that is not there, or not one per sample.
    """
    dims = result.dims
    in_words = names is None and of_properties(dims)
    if names is None:
        names = [n for n, axes in dims.items() if axes[:1] == ("sample",) and not {"output", "input"} & set(axes)]
    columns: dict[str, NDArray[Any]] = {"sample": result.read("sample", where)}
    for name in names:
        values = result.read(name, where)
        if dims[name][:1] != ("sample",):
            raise ResultError(
                f"{name}: has dimensions {', '.join(dims[name])}; a table per sample takes arrays that have one row each"
            )
        if name == "status":
            values = np.array(STATUS_MEANINGS)[values]
        labels = [axis_labels(result, axis, dims) for axis in dims[name][1:]]
        for place in np.ndindex(values.shape[1:]):
            text = ",".join(labels[axis][k] for axis, k in enumerate(place))
            columns[f"{name}[{text}]" if text else name] = values[(slice(None), *place)]
    if in_words:
        columns[VERDICT.name] = np.array([verdict_of(code) for code in columns["verified"].tolist()], dtype=np.str_)
        columns[WITNESS.name] = np.where(witnesses(result)[where], "yes", "no")
    return columns


def of_properties(dims: Collection[str]) -> bool:
    """Whether arrays of those names are of a run about property files."""
    return "property" in dims


def witnesses(result: Readable) -> NDArray[np.bool_]:
    """Whether a counterexample is stored of each property file, bool [samples]."""
    if "counterexample" not in result.dims:  # files from before searches have none
        return np.zeros(len(result.read("sample")), dtype=bool)
    # A value of each point tells: the points of many properties of large inputs are not read.
    return np.asarray(~np.isnan(result.read("counterexample", np.s_[:, 0])))


def axis_labels(result: Readable, axis: str, dims: Mapping[str, tuple[str, ...]]) -> list[str]:
    """``axis=coordinate`` for every coordinate, by its name where all have different ones; never the same text twice."""
    if f"{axis}_name" in dims:
        names = result[f"{axis}_name"].tolist()
        if len(set(names)) == len(names):
            return [f"{axis}={name}" for name in names]
    # repr, for two radii must never share a label
    return [f"{axis}={c!r}" for c in result[axis].tolist()]
