"""Samples that Python code hands over one by one: data sets of PyTorch or Hugging Face, or any sequence of (x, y)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import DataError

_INPUTS = ("x", "image", "img", "pixel_values", "features", "inputs", "input")
_LABELS = ("y", "label", "labels", "target", "class", "fine_label")


@dataclass(frozen=True, eq=False)
class Samples:
    """What a sequence held.

    Attributes
    ----------
    x : [N, ...]
    y : [N, ...] or None
    classes : tuple of str
        What the classes are called, where that is known.
    layout : "hwc" or "flat"
        Of images, where it is known.
    """

    x: NDArray[Any]
    y: NDArray[Any] | None
    classes: tuple[str, ...]
    layout: str


def is_sequence_of_samples(x: object) -> bool:
    """Whether ``x`` gives a sample for each index, with its label or as a mapping, instead of being one array."""
    if isinstance(x, str | bytes | np.ndarray) or hasattr(x, "__array__") or hasattr(x, "dtype"):
        return False
    if not (hasattr(x, "__getitem__") and hasattr(x, "__len__")) or isinstance(x, Mapping) or not len(x):
        return False
    first = x[0]
    if isinstance(first, Mapping):
        return True
    if isinstance(x, list | tuple) and not _pair(first):
        return False
    # A Dataset of PyTorch may give samples without labels.
    return _pair(first) or not isinstance(x, Sequence)


def read_samples(x: Any) -> Samples:
    """The samples and their labels as arrays.

    Raises
    ------
    DataError
        Samples that are no arrays of one shape; a mapping without a known name.
    """
    values: list[NDArray[Any]] = []
    labels: list[NDArray[Any]] = []
    pictures = True
    for k in range(len(x)):
        value, label = _parts(x[k], k)
        pictures = pictures and _is_picture(value)
        values.append(_array(value, f"x: sample {k}"))
        if label is not None:
            labels.append(_array(label, f"y: the label of sample {k}"))
        if values[k].shape != values[0].shape:
            raise DataError(
                f"x: sample {k} has shape {values[k].shape}, sample 0 has {values[0].shape}; give one shape"
            )
    if labels and len(labels) != len(values):
        raise DataError(f"y: {len(labels)} of {len(values)} samples have a label; give one for each, or for none")
    if any(label.shape != labels[0].shape for label in labels):
        raise DataError("y: labels have different shapes; give one number for each sample, or one-hot")
    layout = "hwc" if pictures and values[0].ndim == 3 else "flat"
    return Samples(np.stack(values), np.stack(labels) if labels else None, _class_names(x), layout)


def _class_names(x: Any) -> tuple[str, ...]:
    """What the classes are called: ``classes`` of torchvision's data sets, the ClassLabel of Hugging Face's."""
    features = getattr(x, "features", None)
    if isinstance(features, Mapping):
        for name in _LABELS:
            told = getattr(features.get(name), "names", None)
            if told is not None:
                return tuple(map(str, told))
    told = getattr(x, "classes", None)
    return tuple(map(str, told)) if isinstance(told, list | tuple) else ()


def _is_picture(value: object) -> bool:
    """Whether this is an image of Pillow's."""
    return type(value).__module__.startswith("PIL.")


def _pair(item: object) -> bool:
    """A sample and its label: a pair whose parts do not have one shape."""
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    shapes = [_shape(part) for part in item]
    return shapes[0] != () and shapes[0] != shapes[1]


def _shape(value: Any) -> tuple[int, ...] | None:
    """None: of no one shape."""
    if hasattr(value, "shape"):
        return tuple(value.shape)
    if _is_picture(value):
        return int(value.height), int(value.width)
    try:
        return tuple(np.shape(value))
    except ValueError:
        return None


def _parts(item: Any, k: int) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        inputs = [name for name in _INPUTS if name in item]
        label = next((item[name] for name in _LABELS if name in item), None)
        beside = [value for name, value in item.items() if name not in _LABELS]
        if not inputs and beside and all(np.ndim(value) == 0 and not isinstance(value, str) for value in beside):
            return beside, label
        if not inputs:
            raise DataError(f"x: sample {k} has {', '.join(map(str, item))}; call the samples {' or '.join(_INPUTS)}")
        return item[inputs[0]], label
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    if isinstance(item, tuple | list) and len(item) == 1:
        return item[0], None
    return item, None


def _array(value: Any, what: str) -> NDArray[Any]:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{what}: cannot be made an array ({error}); give numbers") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{what}: is {type(value).__name__}, no numbers; give an array, a tensor or an image")
    return array
