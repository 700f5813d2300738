"""Data sets: samples and labels, checked against the model that they are for before anything runs."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.data.array_source import ArraySource
from distverify.data.labels import NO_LABEL, check_labels, read_labels
from distverify.data.memory import check_memory
from distverify.data.preprocessing import Resizing
from distverify.data.readers import name_of, open_arrays
from distverify.data.selection import select_samples
from distverify.errors import DataError, SettingsError
from distverify.work import Sample

# Every whole number up to here is a float64.
_EXACT_INTEGERS = 2**53


@dataclass(frozen=True, eq=False)
class Dataset:
    """The selected samples, ready for a run.

    Attributes
    ----------
    inputs : float64 [N, D], C order
    labels : int64 [N]
        -1 where there is none.
    indices : int64 [N]
        Each sample's index in the file.
    name : str
        The file's name, or "arrays".
    shape : tuple of int
        Shape of one sample as it was given, before it was flattened to D values.
    input_names : tuple of str
        What the features are called, where the file says so.
    regression : bool
        Whether ``y`` held real targets instead of classes; then there are no labels.
    class_names : tuple of str
        What the classes are called, where the file says so.
    layout : "flat", "hwc" or "chw"
        The order of the axes of ``shape``, where the format fixes it.
    """

    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    name: str
    shape: tuple[int, ...]
    regression: bool = False
    input_names: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    layout: str = "flat"

    def sample(self, position: int) -> Sample:
        """The sample at ``position``, 0 to N - 1."""
        return Sample(self.inputs[position], int(self.labels[position]), int(self.indices[position]))

    def select(self, positions: NDArray[np.integer[Any]]) -> Dataset:
        """The samples at ``positions``, in that order."""
        rows = np.ascontiguousarray(self.inputs[positions])
        return replace(self, inputs=rows, labels=self.labels[positions], indices=self.indices[positions])

    @property
    def size(self) -> int:
        """Number of samples, N."""
        return int(self.inputs.shape[0])

    @property
    def digest(self) -> str:
        """SHA-256 of inputs, labels, indices and shape, as hexadecimal digits; the same on every machine."""
        sha = hashlib.sha256(repr((self.inputs.shape, self.shape)).encode())
        for array, dtype in ((self.inputs, "<f8"), (self.labels, "<i8"), (self.indices, "<i8")):
            sha.update(np.ascontiguousarray(array, dtype=dtype).data)
        return sha.hexdigest()


def load_dataset(
    path: str | os.PathLike[str],
    *,
    input_size: int,
    output_size: int,
    scale: float | None = None,
    samples: str | None = None,
    labels: bool = True,
    resizing: Resizing | None = None,
) -> Dataset:
    """Read the chosen samples of a data file.

    Parameters
    ----------
    path : str or path
        ``.npz``, ``.h5`` or ``.hdf5`` with arrays ``x`` [N, ...] and, optionally, ``y``: [N] classes, [N, outputs] one-hot, or
        real targets; ``.csv`` with the label first (or where a header line names it), and the features; and what else
        :func:`~distverify.data.readers.open_arrays` opens.
    input_size, output_size : int
        The model's; a sample must have ``input_size`` values, a label lies in 0 .. ``output_size`` - 1.
    scale : float, optional
        Every value is divided by it (255 for 8-bit images).
    samples : str, optional
        Which samples, such as "0:100", "3,7" or "::10", in this order; all without it.
    labels : bool
        False: whatever the file holds beside the samples is passed over.
    resizing : Resizing, optional
        How encoded images are brought to one size.

    Raises
    ------
    DataError
        A file that cannot be read, or whose samples or labels do not fit.
    SettingsError
        A ``scale`` or ``samples`` that makes no sense.
    """
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise SettingsError(f"scale: got {scale}; give a finite positive number")
    classes, regression = None, False
    with open_arrays(path, input_size=input_size, labels=labels, resizing=resizing) as sources:
        x, y = sources["x"], sources.get("y")
        _check_x(x, input_size)
        indices = select_samples(samples, x.shape[0])
        if y is not None:
            check_labels(y, x.shape[0])
        # The rows as they are stored, as float64, and while they are checked and scaled.
        check_memory(f"{path}: x", x.bytes(len(indices)) + 2 * 8 * len(indices) * input_size)
        inputs = _inputs(x.read(indices), indices, x)
        if y is not None:
            classes, regression = read_labels(y.read(indices), y, indices, output_size)
    _divide(inputs, scale)
    return Dataset(
        inputs, _or_none(classes, indices), indices, name_of(path), x.shape[1:], regression, x.columns,
        () if y is None else y.classes, x.layout,
    )  # fmt: skip


def _divide(inputs: NDArray[np.float64], scale: float | None) -> None:
    if scale is not None:
        with np.errstate(over="ignore"):
            inputs /= scale
        if not np.isfinite(inputs).all():
            raise SettingsError(f"scale: got {scale}; values divided by it overflow, give a larger one")


def dataset_from_arrays(
    x: ArrayLike, y: ArrayLike | None = None, *, input_size: int, output_size: int, scale: float | None = None
) -> Dataset:
    """A data set from arrays in memory, with the same checks as :func:`load_dataset`.

    Parameters
    ----------
    x : [N, ...], or one sample
    y : [N], or one number for one sample, optional
        Classes, as whole numbers or one-hot; or real targets, which say nothing of classes.
    scale : float, optional
        Every value is divided by it.

    Raises
    ------
    DataError
        Samples or labels that do not fit.
    """
    inputs = _array("x", x)
    if inputs.size == input_size and inputs.shape[:1] != (1,):
        inputs = inputs[None]
    source = ArraySource(inputs.shape, inputs.dtype, inputs.__getitem__)
    _check_x(source, input_size)
    indices = select_samples(None, inputs.shape[0])
    classes, regression = None, False
    if y is not None:
        entries = np.atleast_1d(_array("y", y))
        told = ArraySource(entries.shape, entries.dtype, entries.__getitem__)
        check_labels(told, inputs.shape[0])
        classes, regression = read_labels(entries, told, indices, output_size)
    flat = _inputs(inputs[indices], indices, source)
    _divide(flat, scale)
    return Dataset(flat, _or_none(classes, indices), indices, "arrays", inputs.shape[1:], regression)


def _or_none(classes: NDArray[np.int64] | None, indices: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.full(len(indices), NO_LABEL, dtype=np.int64) if classes is None else classes


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: cannot be made an array ({error}); give numbers of one shape") from None


def _check_x(x: ArraySource, input_size: int) -> None:
    if x.dtype.kind not in "fiu" or x.dtype.itemsize > 8:
        raise DataError(f"x: has type {x.dtype}; give real numbers of at most 64 bits")
    if not x.shape:
        raise DataError("x: is a single number; give an array [N, ...]")
    features = math.prod(x.shape[1:])
    if features != input_size:
        advice = "check that data and model belong together"
        if features == input_size + 1:
            advice = "if one of them is the label, store the labels as y"
        raise DataError(f"x: each sample has {features} values, but the model takes {input_size}; {advice}")


def _inputs(rows: NDArray[Any], indices: NDArray[np.int64], source: ArraySource) -> NDArray[np.float64]:
    """``rows`` as float64 [N, D], every value exactly as it was."""
    if rows.dtype.kind in "iu" and rows.dtype.itemsize == 8:
        large = (rows > _EXACT_INTEGERS) | (rows < -_EXACT_INTEGERS)
        if large.any():
            raise DataError(f"x: {int(large.sum())} whole numbers beyond 2**53 are no exact float64; rescale them")
    inputs = np.ascontiguousarray(rows.reshape(rows.shape[0], -1), dtype=np.float64)
    finite = np.isfinite(inputs)
    if not finite.all():
        row, feature = np.argwhere(~finite)[0]
        raise DataError(
            f"x: {int((~finite).sum())} values are NaN or infinite, the first in {source.place(int(indices[row]))}, "
            f"feature {feature}; remove such samples"
        )
    return inputs
