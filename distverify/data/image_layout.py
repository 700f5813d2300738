"""Images whose rows of data do not hold the values in the order that the model takes them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distverify.data.dataset import Dataset
from distverify.errors import SettingsError
from distverify.network.normalisation import channel_layout
from distverify.options.run import LAYOUTS


def arrange_images(
    data: Dataset, layout: str, input_shape: tuple[int, ...], model_layout: str | None = None
) -> Dataset:
    """``data`` with every sample in the order of ``input_shape``.

    Parameters
    ----------
    data : Dataset
        ``inputs`` float64 [N, D].
    layout : "flat", "chw" or "hwc"
        The order of a row: as the model takes it; channel by channel; or pixel by pixel, its channels side by side.
    input_shape : tuple of int
        Of the model.
    model_layout : "chw" or "hwc", optional
        Which of its axes holds the channels; see :func:`~distverify.network.normalisation.channel_layout`.

    Raises
    ------
    SettingsError
        An unknown layout, or one for a model whose input is no image; sizes that do not tell the model's layout.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"layout: got {layout!r}; choose {', '.join(LAYOUTS)}")
    if layout == "flat":
        return data
    if len(input_shape) != 3:
        raise SettingsError(
            f"layout: got {layout!r}, but the model takes values of shape {input_shape}, no image; leave it out"
        )
    own = channel_layout(input_shape, model_layout)
    if layout == own:
        return data
    order = (0, 3, 1, 2) if own == "chw" else (0, 2, 3, 1)
    channels, height, width = input_shape if own == "chw" else (input_shape[2], *input_shape[:2])
    stored = (height, width, channels) if layout == "hwc" else (channels, height, width)
    images = data.inputs.reshape(-1, *stored).transpose(order)
    return replace(data, inputs=np.ascontiguousarray(images).reshape(data.inputs.shape), shape=input_shape)


def order_by(data: Dataset, input_shape: tuple[int, ...]) -> str | None:
    """The order of the axes of a model's images, "chw" or "hwc", where the shape of data of known layout tells it."""
    a, b, c = data.shape
    height, width, channels = (a, b, c) if data.layout == "hwc" else (b, c, a)
    possible = {"chw": (channels, height, width), "hwc": (height, width, channels)}
    fitting = [order for order, shape in possible.items() if shape == input_shape]
    return fitting[0] if len(fitting) == 1 else None
