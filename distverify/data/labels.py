"""What ``y`` holds: a class per sample, as a number or one-hot, or the targets of a regression, which say nothing of classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.data.array_source import ArraySource
from distverify.errors import DataError, argument

NO_LABEL = -1
# A smaller share of labels that are no whole numbers is a mistake, a larger one a regression.
_FEW = 0.25


def check_labels(y: ArraySource, samples: int) -> None:
    """Refuse what cannot be one entry per sample, before it is read.

    Raises
    ------
    DataError
    """
    if y.dtype.kind not in "fiu" or y.dtype.itemsize > 8:
        raise DataError(
            f"y: has type {y.dtype}; give real numbers of at most 64 bits, or leave the labels out ({argument('no_labels', True)})"
        )
    if not y.shape or not math.prod(y.shape[1:]):
        raise DataError(f"y: has shape {y.shape}; give one label per sample, a whole number")
    if y.shape[0] != samples:
        raise DataError(f"y: holds {y.shape[0]} labels for {samples} samples; give one label per sample")


def read_labels(
    values: NDArray[Any], y: ArraySource, indices: NDArray[np.int64], output_size: int
) -> tuple[NDArray[np.int64], bool]:
    """Each sample's class, int64 [n] (-1: none), and whether ``values`` are targets of a regression instead.

    Parameters
    ----------
    values : [n, ...]
        The entries of the chosen samples.
    y : ArraySource
        Where they come from.
    indices : int64 [n]
        The samples' indices there.
    output_size : int
        Number of classes; of a network with a single output every ``y`` is a target.

    Raises
    ------
    DataError
        Labels that are no class of the model; a column of real numbers that nobody named a target.
    """
    flat = values.reshape(len(values), -1)
    finite = np.isfinite(flat)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(
            f"y: {int((~finite).sum())} entries are no number, the first in {y.place(int(indices[row]))}: "
            f"{flat[row, column]:g}; remove such samples, or leave the labels out ({argument('no_labels', True)})"
        )
    if flat.shape[1] > 1:
        if flat.shape[1] == output_size and bool(((flat == 0) | (flat == 1)).all() and (flat.sum(axis=1) == 1).all()):
            return flat.argmax(axis=1).astype(np.int64), False
        return _none(values), True
    labels = flat[:, 0]
    whole = labels == np.floor(labels)
    if int((~whole).sum()) > _FEW * len(whole) and y.certain:
        return _none(values), True
    wrong = ~(whole & (labels >= 0) & (labels < output_size))
    if output_size == 1 and y.certain and whole.all():
        return _none(values), bool(wrong.any())
    if wrong.any():
        first = int(np.argmax(wrong))
        advice = "check that data and model belong together"
        if not y.certain and not whole.all():
            advice = (
                "the first column is read as the label: name the column of the label in a header line (label, or target of a "
                f"regression), or say that there is none ({argument('no_labels', True)})"
            )
        elif output_size == 1:
            advice = f"if they are targets of a regression, leave them out ({argument('no_labels', True)})"
        raise DataError(
            f"y: {int(wrong.sum())} labels are no whole number from 0 to {output_size - 1}, the first in "
            f"{y.place(int(indices[first]))}: {labels[first]:g}; {advice}"
        )
    return labels.astype(np.int64), False


def _none(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.full(len(values), NO_LABEL, dtype=np.int64)
