"""Preprocessing as timm, torchvision's users and Hugging Face write it down: mean, standard deviation, size of an image.

``config.json`` of timm (its ``pretrained_cfg``), ``preprocessor_config.json`` of Hugging Face, or an object with the same names.
"""

from __future__ import annotations

import importlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distverify.errors import DataError

_LARGEST = 2**20
_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
# Hugging Face keeps Pillow's number of a filter.
_NUMBERED = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}
# What may stand in a file and changes nothing here.
_KNOWN = {"mean", "std", "scale", "input_size", "size", "interpolation", "crop_pct"}


@dataclass(frozen=True)
class Resizing:
    """How an image is brought to the model's size: the shorter side to size / crop_pct, then the middle is cut out.

    Attributes
    ----------
    size : (height, width)
    interpolation : str
    crop_pct : float
        1: nothing is cut but what the longer side has more.
    """

    size: tuple[int, int]
    interpolation: str = "bilinear"
    crop_pct: float = 1.0

    def apply(self, image: Any) -> Any:
        """A Pillow image of :attr:`size`, as timm's transform for evaluation makes it."""
        pillow = importlib.import_module("PIL.Image")
        height, width = self.size
        scaled = (math.floor(height / self.crop_pct), math.floor(width / self.crop_pct))
        ratio = max(scaled[0] / image.height, scaled[1] / image.width)
        new = (max(scaled[1], round(image.width * ratio)), max(scaled[0], round(image.height * ratio)))
        resized = image.resize(new, getattr(pillow.Resampling, self.interpolation.upper()))
        left, top = round((new[0] - width) / 2), round((new[1] - height) / 2)
        return resized.crop((left, top, left + width, top + height))

    def to_json(self) -> dict[str, Any]:
        """As a preprocessing that :func:`read_preprocessing` takes."""
        return {"input_size": list(self.size), "interpolation": self.interpolation, "crop_pct": self.crop_pct}


@dataclass(frozen=True)
class Preprocessing:
    """What a file says; None where it says nothing.

    Attributes
    ----------
    mean, std : float or tuple of float
        Of values after ``scale``.
    scale : float
        What values are divided by first.
    resizing : Resizing
        Of encoded images.
    """

    mean: float | tuple[float, ...] | None = None
    std: float | tuple[float, ...] | None = None
    scale: float | None = None
    resizing: Resizing | None = None


def read_preprocessing(given: str | os.PathLike[str] | Mapping[str, Any]) -> Preprocessing:
    """The preprocessing in a JSON file, or in the object that it would hold.

    Raises
    ------
    DataError
        No JSON object, one that says nothing of preprocessing, or values that make no sense.
    """
    name = "preprocessing" if isinstance(given, Mapping) else os.fspath(given)
    config = dict(given) if isinstance(given, Mapping) else _loaded(Path(given))
    if isinstance(config.get("pretrained_cfg"), dict):
        config = config["pretrained_cfg"]
    config = _translated(config, name)
    if not set(config) & _KNOWN:
        raise DataError(f"{name}: says nothing of mean, std, scale or input_size; give a file as timm writes it")
    mean, std, scale = (_numbers(config.get(key), key, name) for key in ("mean", "std", "scale"))
    if std is not None and not (np.asarray(std) > 0).all():
        raise DataError(f"{name}: std holds {std}; give numbers above 0")
    if scale is not None and (not isinstance(scale, float) or scale <= 0):
        raise DataError(f"{name}: scale is {scale}; give one number above 0")
    return Preprocessing(mean, std, scale if isinstance(scale, float) else None, _resizing(config, name))


def _loaded(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path}: larger than any preprocessing file; give a JSON file with mean and std")
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is no JSON ({error}); give a file such as {{'mean': [0.5], 'std': [0.5]}}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: holds no JSON object; give a file such as {{'mean': [0.5], 'std': [0.5]}}")
    return value


def _translated(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Hugging Face's names as timm's."""
    if not {"image_mean", "image_std", "rescale_factor", "do_resize"} & set(config):
        return config
    out = {key: value for key, value in config.items() if key in _KNOWN - {"size", "input_size"}}
    if config.get("do_normalize", True):
        out |= {new: config[old] for old, new in (("image_mean", "mean"), ("image_std", "std")) if old in config}
    if config.get("do_rescale", "rescale_factor" in config):
        factor = config.get("rescale_factor", 1 / 255)
        if not isinstance(factor, int | float) or isinstance(factor, bool) or not 0 < factor < math.inf:
            raise DataError(f"{name}: rescale_factor is {factor!r}; give a number above 0")
        scale = 1.0 / factor
        out["scale"] = float(round(scale)) if math.isclose(scale, round(scale), rel_tol=1e-12) else scale
    if config.get("do_resize", False):
        cut = config.get("crop_size") if config.get("do_center_crop", False) else None
        out["size"] = cut if cut is not None else config.get("size")
        resample = config.get("resample", 2)
        if "resample" not in config:
            resample = config.get("interpolation", resample)
        out["interpolation"] = _NUMBERED.get(resample, resample) if isinstance(resample, int) else resample
        if cut is not None:
            edge, inner = _edge(config.get("size"), name), _edge(cut, name)
            out["crop_pct"] = min(inner) / min(edge)
    return out


def _numbers(value: Any, key: str, name: str) -> float | tuple[float, ...] | None:
    if value is None:
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
        if array.ndim <= 1 and array.size and np.isfinite(array).all():
            return float(array) if array.ndim == 0 else tuple(array.tolist())
    except (TypeError, ValueError):
        pass
    raise DataError(f"{name}: {key} is {value!r}; give one finite number, or one for each channel")


def _resizing(config: dict[str, Any], name: str) -> Resizing | None:
    size = config.get("input_size", config.get("size"))
    if size is None:
        return None
    interpolation = config.get("interpolation", "bilinear") or "bilinear"
    if interpolation not in _FILTERS:
        raise DataError(f"{name}: interpolation is {interpolation!r}; give one of {', '.join(_FILTERS)}")
    crop = config.get("crop_pct", 1.0) or 1.0
    if not isinstance(crop, int | float) or isinstance(crop, bool) or not 0.0 < crop <= 1.0:
        raise DataError(f"{name}: crop_pct is {crop!r}; give a share above 0, at most 1")
    return Resizing(_edge(size, name), interpolation, float(crop))


def _edge(size: Any, name: str) -> tuple[int, int]:
    """Height and width, of a number, of [H, W], [C, H, W] or {"height", "width"} or {"shortest_edge"}."""
    if isinstance(size, Mapping):
        edge = size.get("shortest_edge")
        size = [size.get("height", edge), size.get("width", edge)]
    values = [size, size] if isinstance(size, int) else list(size)[-2:] if isinstance(size, list | tuple) else []
    if len(values) != 2 or not all(isinstance(v, int) and 0 < v <= 2**16 for v in values):
        raise DataError(f"{name}: the size is {size!r}; give the pixels of an edge, or [channels, height, width]")
    return values[0], values[1]
