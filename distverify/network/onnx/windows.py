"""What convolutions and pools have in common: a kernel that moves over an image, with strides, dilations and pads."""

from __future__ import annotations

from dataclasses import dataclass

from distverify.network.onnx.operation import Operation, Signal

Pair = tuple[int, int]


@dataclass(frozen=True)
class Windows:
    """Places of a kernel on an image [channels, height, width]; one-dimensional signals have height 1.

    Attributes
    ----------
    image, kernel, strides, dilations, output : (y, x)
    before, after : (y, x)
        Pads.
    """

    channels: int
    image: Pair
    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair
    output: Pair

    @property
    def reach(self) -> Pair:
        """Distance of the kernel's first entry from its last."""
        (ky, kx), (dy, dx) = self.kernel, self.dilations
        return (ky - 1) * dy, (kx - 1) * dx


def image_shape(op: Operation, x: Signal) -> tuple[int, Pair]:
    """Channels, (height, width) of [1, channels, width] or [1, channels, height, width]."""
    if len(x.shape) not in (3, 4):
        op.error(f"got values of shape {x.shape}; one- and two-dimensional images with channels first are supported")
    if x.shape[0] != 1:
        op.error(f"got values of shape {x.shape}, more than one image; export the model for a batch of one")
    return x.shape[1], (1, x.shape[2]) if len(x.shape) == 3 else (x.shape[2], x.shape[3])


def pair(op: Operation, name: str, default: int, rank: int) -> Pair:
    """A positive whole number per axis, from an attribute."""
    given = op.attributes.get(name) or (default,) * rank
    if len(given) != rank or min(given) < 1:
        op.error(f"{name} = {list(given)} makes no sense for images with {rank} axes")
    return _two(given, 1)


def result_shape(x: Signal, channels: int, output: Pair) -> tuple[int, ...]:
    """The shape of a result with as many axes as ``x``."""
    return (1, channels, output[1]) if len(x.shape) == 3 else (1, channels, *output)


def windows(op: Operation, x: Signal, kernel: Pair, extra: tuple[Pair, ...] = ((0, 0), (0, 0))) -> Windows:
    """Read strides, pads and dilations of a Conv or pool; ``extra`` pads (before, after) per axis are added.

    Source: the ONNX operators' definitions.
    """
    channels, image = image_shape(op, x)
    rank = len(x.shape) - 2
    strides, dilations = pair(op, "strides", 1, rank), pair(op, "dilations", 1, rank)
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    auto = op.attributes.get("auto_pad", b"NOTSET").decode()
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        totals = [max(0, (-(-size // s) - 1) * s + r - size) for size, s, r in zip(image, strides, reach, strict=True)]
        small, large = _two([t // 2 for t in totals], 0), _two([t - t // 2 for t in totals], 0)
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    elif auto in ("NOTSET", "VALID"):
        given = explicit_pads(op, rank) if auto == "NOTSET" else ((0, 0), (0, 0))
        before, after = given
    else:
        op.error(f"auto_pad = {auto!r} is unknown")
    before = before[0] + extra[0][0], before[1] + extra[1][0]
    after = after[0] + extra[0][1], after[1] + extra[1][1]
    output = []
    for size, b, a, r, s in zip(image, before, after, reach, strides, strict=True):
        room = size + b + a - r
        if room < 0:
            op.error(f"a kernel that reaches over {r} values does not fit an image of {size} with pads {b} and {a}")
        count = room // s + 1
        if op.attributes.get("ceil_mode"):
            count = -(-room // s) + 1
            # A window must begin in the image or in the pads before it.
            count -= (count - 1) * s >= size + b
        output.append(count)
    return Windows(channels, image, kernel, strides, dilations, before, after, (output[0], output[1]))


def explicit_pads(op: Operation, rank: int) -> tuple[Pair, Pair]:
    """The attribute ``pads`` as (before, after)."""
    given = op.attributes.get("pads") or (0,) * 2 * rank
    if len(given) != 2 * rank or min(given) < 0:
        op.error(f"pads = {list(given)} make no sense for images with {rank} axes")
    return _two(given[:rank], 0), _two(given[rank:], 0)


def _two(values: list[int] | tuple[int, ...], missing: int) -> Pair:
    numbers = [int(v) for v in values]
    return (missing, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
