"""Data sets: samples and labels, checked against the model that they are for before anything runs."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from distverify.data.memory import check_memory
from distverify.data.readers import ArraySource, open_arrays
from distverify.data.selection import select_samples
from distverify.errors import DataError, SettingsError
from distverify.work import Sample

# Every whole number up to here is a float64.
_EXACT_INTEGERS = 2**53
NO_LABEL = -1


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
    """

    inputs: NDArray[np.float64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    name: str
    shape: tuple[int, ...]

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
) -> Dataset:
    """Read the chosen samples of a data file.

    Parameters
    ----------
    path : str or path
        ``.npz``, ``.h5`` or ``.hdf5`` with arrays ``x`` [N, ...] and, optionally, ``y`` [N] (whole numbers);
        ``.csv`` with the label first, then the features, and at most one header line.
    input_size, output_size : int
        The model's; a sample must have ``input_size`` values, a label lies in 0 .. ``output_size`` - 1.
    scale : float, optional
        Every value is divided by it (255 for 8-bit images).
    samples : str, optional
        Which samples, such as "0:100", "3,7" or "::10", in this order; all without it.

    Raises
    ------
    DataError
        A file that cannot be read, or whose samples or labels do not fit.
    SettingsError
        A ``scale`` or ``samples`` that makes no sense.
    """
    if scale is not None and not (math.isfinite(scale) and scale > 0):
        raise SettingsError(f"scale: got {scale}; give a finite positive number")
    with open_arrays(path) as sources:
        x, y = sources["x"], sources.get("y")
        _check_x(x, input_size, label_column=Path(path).suffix.lower() == ".csv")
        indices = select_samples(samples, x.shape[0])
        if y is not None:
            _check_y(y, x.shape[0])
        # The rows as they are stored, as float64, and while they are checked and scaled.
        check_memory(f"{path}: x", x.bytes(len(indices)) + 2 * 8 * len(indices) * input_size)
        inputs = _inputs(x.read(indices), indices)
        labels = None if y is None else y.read(indices)
    if scale is not None:
        with np.errstate(over="ignore"):
            inputs /= scale
        if not np.isfinite(inputs).all():
            raise SettingsError(f"scale: got {scale}; values divided by it overflow, give a larger one")
    return Dataset(inputs, _labels(labels, indices, output_size), indices, Path(path).name, x.shape[1:])


def dataset_from_arrays(x: ArrayLike, y: ArrayLike | None = None, *, input_size: int, output_size: int) -> Dataset:
    """A data set from arrays in memory, with the same checks as :func:`load_dataset`.

    Parameters
    ----------
    x : [N, ...], or one sample
    y : [N], or one number for one sample, optional
        Whole numbers.

    Raises
    ------
    DataError
        Samples or labels that do not fit.
    """
    inputs = _array("x", x)
    if inputs.size == input_size and inputs.shape[:1] != (1,):
        inputs = inputs[None]
    _check_x(ArraySource(inputs.shape, inputs.dtype, inputs.__getitem__), input_size)
    indices = select_samples(None, inputs.shape[0])
    labels = None
    if y is not None:
        labels = np.atleast_1d(_array("y", y))
        _check_y(ArraySource(labels.shape, labels.dtype, labels.__getitem__), inputs.shape[0])
    flat = _inputs(inputs[indices], indices)
    return Dataset(flat, _labels(labels, indices, output_size), indices, "arrays", inputs.shape[1:])


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: cannot be made an array ({error}); give numbers of one shape") from None


def _check_type(name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "fiu" or dtype.itemsize > 8:
        raise DataError(f"{name}: has type {dtype}; give real numbers of at most 64 bits")


def _check_x(x: ArraySource, input_size: int, *, label_column: bool = False) -> None:
    _check_type("x", x.dtype)
    if not x.shape:
        raise DataError("x: is a single number; give an array [N, ...]")
    features = math.prod(x.shape[1:])
    if features == input_size:
        return
    advice = "check that data and model belong together"
    if label_column and features + 1 == input_size:
        advice = "the first column is read as the label; put one before the features"
    elif not label_column and features == input_size + 1:
        advice = "if one of them is the label, store the labels as y"
    elif label_column and features == input_size + 1:
        advice = "one column is too many; only the label stands before the features"
    raise DataError(f"x: each sample has {features} values, but the model takes {input_size}; {advice}")


def _check_y(y: ArraySource, samples: int) -> None:
    _check_type("y", y.dtype)
    if not y.shape or math.prod(y.shape[1:]) != 1:
        raise DataError(f"y: has shape {y.shape}; give one label per sample, a whole number")
    if y.shape[0] != samples:
        raise DataError(f"y: holds {y.shape[0]} labels for {samples} samples; give one label per sample")


def _inputs(rows: NDArray[Any], indices: NDArray[np.int64]) -> NDArray[np.float64]:
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
            f"x: {int((~finite).sum())} values are NaN or infinite, the first in sample {indices[row]}, "
            f"feature {feature}; remove such samples"
        )
    return inputs


def _labels(labels: NDArray[Any] | None, indices: NDArray[np.int64], output_size: int) -> NDArray[np.int64]:
    if labels is None:
        return np.full(len(indices), NO_LABEL, dtype=np.int64)
    values = labels.reshape(-1)
    wrong = ~((values >= 0) & (values < output_size))
    if values.dtype.kind == "f":
        wrong |= values != np.floor(values)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"y: {int(wrong.sum())} labels are no whole number from 0 to {output_size - 1}, the first in "
            f"sample {indices[first]}: {values[first]:g}; check that data and model belong together"
        )
    return values.astype(np.int64)
