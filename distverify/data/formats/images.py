"""Images as files: decoded by Pillow, brought to one size where that is asked for; a folder of them for each class."""

from __future__ import annotations

import importlib
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from distverify.data.array_source import AnyArray, ArraySource, Indices, Sources
from distverify.data.memory import check_memory
from distverify.data.preprocessing import Resizing
from distverify.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
# Decoders that only decode: others of Pillow start programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# What a picture is turned to, by its mode; grey ones become coloured where the others are.
_PLAIN = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}
_WITH_ALPHA = {"LA": "L", "RGBA": "RGB", "PA": "RGB"}

Content = Callable[[int], bytes]


def open_image_folder(path: Path, *, input_size: int, resizing: Resizing | None = None) -> Sources:
    """Images ``x`` uint8 [N, H, W] or [N, H, W, 3] and classes ``y`` of a folder with a folder of images for each class.

    Classes are counted in the order of their folders' names, as torchvision's ImageFolder does; names that are all whole
    numbers are the classes themselves. Samples come class by class, in the order of their files' names.

    Raises
    ------
    DataError
        No images; images of different sizes (and no size to bring them to); a file that is no image.
    """
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    numbered = bool(folders) and all(name.isdecimal() for name in folders)
    files: list[Path] = []
    labels: list[int] = []
    for k, folder in enumerate(folders):
        inside = sorted(f for f in (path / folder).rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
        files += inside
        labels += [int(folder) if numbered else k] * len(inside)
    if not files:
        raise DataError(
            f"{path}: a folder without x.npy, and without folders of images; give x.npy and y.npy in it, or a folder of images "
            f"({', '.join(SUFFIXES)}) for each class"
        )
    x = image_source(
        len(files), lambda k: files[k].read_bytes(), lambda k: str(files[k]), input_size=input_size, resizing=resizing
    )
    y = np.array(labels, dtype=np.int64)
    return {"x": x, "y": ArraySource(y.shape, y.dtype, y.__getitem__, classes=() if numbered else tuple(folders))}


def image_source(
    count: int, content: Content, name: Callable[[int], str], *, input_size: int, resizing: Resizing | None
) -> ArraySource:
    """Encoded images as an array that is decoded where it is read; its shape is that of the first one."""
    pillow = _pillow(name(0) if count else "images")
    if not count:
        return ArraySource((0,), np.dtype(np.uint8), lambda indices: np.empty(0, np.uint8))
    first = _opened(pillow, content(0), name(0))
    height, width = resizing.size if resizing is not None else (first.height, first.width)
    mode = {height * width: "L", 3 * height * width: "RGB"}.get(input_size, _mode(first, name(0)))
    shape = (height, width) if mode == "L" else (height, width, 3)
    check_memory(name(0), 4 * math.prod(shape))

    def read(indices: Indices) -> AnyArray:
        check_memory("images", math.prod(shape) * len(indices))
        images = np.empty((len(indices), *shape), np.uint8)
        for row, k in enumerate(indices.tolist()):
            images[row] = _decoded(pillow, content(k), name(k), mode, (height, width), resizing)
        return images

    return ArraySource((count, *shape), np.dtype(np.uint8), read, layout="hwc" if mode == "RGB" else "flat")


def _decoded(
    pillow: Any, content: bytes, name: str, mode: str, size: tuple[int, int], resizing: Resizing | None
) -> AnyArray:
    image = _opened(pillow, content, name)
    if resizing is None and (image.height, image.width) != size:
        raise DataError(
            f"{name}: has {image.width} x {image.height} pixels, the first image {size[1]} x {size[0]}; bring all to one size, or "
            "give a preprocessing file with input_size"
        )
    own = _mode(image, name)
    if own == "RGB" and mode == "L":
        raise DataError(f"{name}: is coloured, and a grey image is expected; convert the images yourself")
    try:
        image = image.convert(mode)
        if resizing is not None:
            image = resizing.apply(image)
        return np.asarray(image, dtype=np.uint8)
    except Exception as error:  # of any kind: the file may hold anything
        raise DataError(f"{name}: cannot be decoded ({error}); the file is damaged, remove it") from None


def _opened(pillow: Any, content: bytes, name: str) -> Any:
    try:
        image = pillow.open(io.BytesIO(content), formats=_FORMATS)
    except Exception as error:
        raise DataError(f"{name}: is no image that is read ({error}); give {', '.join(SUFFIXES)}") from None
    check_memory(name, 4 * image.width * image.height)
    return image


def _mode(image: Any, name: str) -> str:
    if image.mode in _PLAIN:
        return _PLAIN[image.mode]
    if image.mode in _WITH_ALPHA:
        if image.getchannel("A").getextrema()[0] < 255:
            raise DataError(f"{name}: is transparent in places; flatten the images yourself")
        return _WITH_ALPHA[image.mode]
    raise DataError(f"{name}: has pixels of kind {image.mode}, more than 8 bits; store the numbers as an array (.npz)")


def _pillow(what: str) -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise DataError(f"{what}: Pillow is not installed; pip install pillow (or 'distverify[images]')") from error
