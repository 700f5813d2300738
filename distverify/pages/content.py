"""What a report tells about one result, read once and no more than is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distverify.errors import ResultError, SettingsError, argument
from distverify.pages.ranges import Ranges, gather_ranges
from distverify.quantities.catalogue import all_spreads
from distverify.quantities.quantity import Spread
from distverify.results.facts import values_of
from distverify.results.reader import Result
from distverify.results.summary import Summary, arrays_told
from distverify.results.telling import sentence, spreads_told, tells_classes
from distverify.results.verdicts import PropertyVerdict, Unknown, property_verdicts, unknowns
from distverify.settings import Settings
from distverify.status import COMPUTED, FALSIFIED, OK, VERIFIED_MEANINGS
from distverify.words import significant

Floats = NDArray[np.float64]

LISTED = 8  # samples of a table of extremes
MAPPED = 6
MAPPED_RADII = 2


@dataclass(frozen=True, eq=False)
class JacobianMap:
    """One sample as an image, with what is known of the derivatives of its predicted class.

    Attributes
    ----------
    sample, label, predicted : int
    image : float64 [H, W] or [H, W, 3]
    eps : list of float
    magnitude : list of float64 [H, W]
        Per radius: largest possible |df/dx| of the pixel (of its channels).
    sign : list of float64 [H, W]
        Per radius: 1 or -1 where every channel's derivative certainly has this sign all over the ball, else 0.
    names : tuple of str
        Of the label and of the predicted class.
    """

    sample: int
    label: int
    predicted: int
    image: Floats
    eps: list[float]
    magnitude: list[Floats]
    sign: list[Floats]
    names: tuple[str, str]


@dataclass(frozen=True, eq=False)
class Content:
    """One result's part of a report.

    Attributes
    ----------
    name : str
        The file's name.
    summary, settings, provenance : of the result
    arrays : dict name -> array [sample, ...]
        The per-sample numbers.
    computed : bool [sample]
        Those with results.
    maps : list of JacobianMap
    classes_told : bool
        Whether classes mean something in the run.
    ranges : Ranges
    class_names : list of str
        Empty where outputs have no names.
    properties : list of PropertyVerdict
        Of a run about property files.
    unknowns : list of Unknown
        Whatever is open, the nearest to a proof first.
    shape : tuple of int or None
        [H, W] or [C, H, W] or [H, W, C] if the inputs are taken for images.
    """

    name: str
    summary: Summary
    settings: Settings
    provenance: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    computed: NDArray[np.bool_]
    maps: list[JacobianMap]
    shape: tuple[int, ...] | None
    classes_told: bool
    ranges: Ranges
    class_names: list[str]
    properties: list[PropertyVerdict]
    unknowns: list[Unknown]

    def class_name(self, number: int) -> str:
        """What a class is called; its number where it has no name."""
        return self.class_names[number] if 0 <= number < len(self.class_names) else str(number)

    def verdicts(self) -> list[tuple[str, list[str]]]:
        """What is known at the smallest and the largest radius, and how: name and words [sample]."""
        codes, eps = self.arrays.get(VERDICT), self.settings.eps
        if codes is None or codes.ndim != 2:
            return []
        radii = sorted({min(eps), max(eps)})
        meanings = [text.replace("_", " ").replace("crown", "CROWN") for text in VERIFIED_MEANINGS]
        return [
            (f"verdict at {significant(r)}", [meanings[int(c) - FALSIFIED] for c in codes[:, eps.index(r)]])
            for r in radii
        ]

    @property
    def spreads(self) -> tuple[Spread, ...]:
        """The numbers of samples that there is something to tell of."""
        every = (*spreads_told(self.settings), *spreads_told(self.settings, "eps"))
        return tuple(s for s in every if s.name in self.summary.spreads)

    def values(self, spread: Spread, part: str | None = None) -> Floats:
        """The number of every sample (or the same by one of its parts) by the dimensions of ``spread``, NaN where there is none."""
        own = spread if part is None else replace(spread, name=part, reads=(), value=None)
        values = values_of(own, self.arrays)
        assert values is not None
        return values

    def numbers(self, spread: Spread, part: str | None = None) -> Floats:
        """Of a number that is not about given radii, all values of the computed samples that have one: float64 [n]."""
        values = self.values(spread, part)[self.computed].reshape(-1)
        return np.asarray(values[~np.isnan(values)])

    def attacked(self) -> Floats:
        """Distances of the computed samples' nearest counterexamples, float64 [n]; inf: none was found; empty where none was looked for."""
        values = np.asarray(self.arrays.get(ATTACKED, np.zeros(0)), dtype=np.float64)
        return np.asarray(values[self.computed & ~np.isnan(values)]) if values.size else values

    def attained(self, spread: Spread) -> list[float] | None:
        """The other end of a bracket, where the run has it: medians over the computed samples, one for each radius."""
        values = self.arrays.get(f"{spread.name}_attained")
        if values is None or values.ndim != 2 or np.isnan(values[self.computed]).all(axis=0).any():
            return None
        return [float(v) for v in np.nanmedian(values[self.computed], axis=0)]

    def of_samples(self) -> list[tuple[str, Floats]]:
        """What is told of single samples: name and values [sample], at the smallest radius of the run where it is about radii."""
        columns: list[tuple[str, Floats]] = []
        for spread in self.spreads:
            if "output" in spread.dims:
                continue
            if "eps" in spread.dims:
                first = min(range(len(self.settings.eps)), key=self.settings.eps.__getitem__)
                name = f"{sentence(spread.short)} at {significant(self.settings.eps[first])}"
                columns.append((name, self.values(spread)[:, first]))
            else:
                columns.append((spread.short, self.values(spread)))
                columns += [(short, self.values(spread, part)) for part, short, _ in spread.parts]
        return columns

    def classes(self) -> NDArray[np.int64]:
        """True class of every computed sample, the predicted one where the data have none."""
        label, predicted = self.arrays["label"][self.computed], self.arrays["predicted"][self.computed]
        return np.where(label >= 0, label, predicted)

    def by_strength(self) -> list[int]:
        """Positions of the computed samples from the weakest to the strongest guarantee, by the first number told of them."""
        computed = np.flatnonzero(self.computed)
        spread = next((s for s in self.spreads if "output" not in s.dims), None)
        if spread is None:
            return [int(k) for k in computed]
        values = self.of_samples()[0][1][computed]
        keys = values if spread.weakest == "least" else -values
        return [int(k) for k in computed[np.argsort(keys, kind="stable")]]  # NaN comes last

    def extremes(self) -> tuple[list[int], list[int]]:
        """The samples that are worth a picture: those of the weakest and of the strongest guarantees, misclassified ones left out."""
        order = [k for k in self.by_strength() if self.arrays["status"][k] == OK]
        return order[:LISTED], order[::-1][: min(LISTED, len(order) // 2)]


# The other end of certified radii, where a run looked for it.
ATTACKED = "radius_attacked"
VERDICT = "verified"


def gather(result: Result, samples: Sequence[int] | None = None, shape: Sequence[int] | None = None) -> Content:
    """Read what a report shows.

    Parameters
    ----------
    result : Result
    samples : sequence of int, optional
        Data-set indices of the samples whose Jacobians are drawn. Default: hardest, middle and easiest ones.
    shape : sequence of int, optional
        Of one input as an image; by default guessed from the model's input.

    Raises
    ------
    ResultError
        If the file cannot be read, or has no such sample.
    SettingsError
        A shape that does not fit.
    """
    summary, dims = result.summary(), result.dims
    names = dict.fromkeys((*arrays_told(), ATTACKED, *(part for s in all_spreads() for part, _, _ in s.parts)))
    arrays = {name: result[name] for name in names if name in dims}
    provenance = result.provenance
    computed = np.isin(arrays["status"], COMPUTED)
    told = provenance.get("environment", {}).get("inputs", {}).get("shape") or [provenance["model"]["inputs"]]
    image = image_shape(provenance["model"]["inputs"], told, shape)
    content = Content(
        result.path.name,
        summary,
        result.settings,
        provenance,
        arrays,
        computed,
        [],
        image,
        tells_classes(summary, result.settings),
        gather_ranges(result, axis_names(result, dims)),
        axis_names(result, dims)["output"] if "output_name" in dims else [],
        property_verdicts(result),
        unknowns(result),
    )
    if "jacobian_lower" in dims and image is not None:
        positions = _chosen(content, samples)
        content.maps.extend(m for p in positions if (m := _map(result, content, p, image)) is not None)
    elif samples is not None:
        raise ResultError(f"{result.path}: has no Jacobians of images to draw for {argument('samples')}; leave it out")
    return content


def axis_names(result: Result, dims: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """What outputs and inputs are called."""
    return {
        axis: result[f"{axis}_name"].tolist() if f"{axis}_name" in dims else [f"{axis} {k}" for k in range(size)]
        for axis, size in result.sizes.items()
        if axis in ("output", "input")
    }


def image_shape(size: int, told: Sequence[int], shape: Sequence[int] | None = None) -> tuple[int, ...] | None:
    """The shape of an input as an image, or None if it hardly is one.

    Parameters
    ----------
    size : int
        Values of one input.
    told : sequence of int
        The model's own input shape.
    shape : sequence of int, optional
        What the user says.

    Raises
    ------
    SettingsError
        If ``shape`` does not hold ``size`` values.
    """
    if shape is not None:
        found = tuple(int(n) for n in shape)
        if (
            math.prod(found) != size
            or len(found) not in (2, 3)
            or (len(found) == 3 and not {found[0], found[2]} & {1, 3})
        ):
            raise SettingsError(
                f"shape: got {','.join(map(str, found))} for {size} values; give H,W or C,H,W or H,W,C with C 1 or 3"
            )
        return found
    given = tuple(int(n) for n in told)
    if math.prod(given) == size and min(given[-2:]) >= 4 and len(given) == 2:
        return given
    if math.prod(given) == size and len(given) == 3 and (given[0] in (1, 3) or given[2] in (1, 3)):
        return given
    side, third = math.isqrt(size), math.isqrt(size // 3)
    if side * side == size and side >= 6:
        return (side, side)
    if 3 * third * third == size and third >= 8:
        return (3, third, third)
    return None


def _chosen(content: Content, samples: Sequence[int] | None) -> list[int]:
    """Positions of the samples whose Jacobians are drawn."""
    index = content.arrays["sample"]
    if samples is not None:
        missing = [s for s in samples if s not in index]
        if missing:
            raise ResultError(
                f"samples: the result has no sample {missing[0]}; `distverify export` lists those that there are"
            )
        return [int(np.flatnonzero(index == s)[0]) for s in samples]
    hardest, easiest = content.extremes()
    each = MAPPED // 2
    chosen = hardest[:each] + easiest[:each]
    return list(dict.fromkeys(chosen)) or np.flatnonzero(content.computed)[:MAPPED].tolist()


def _map(result: Result, content: Content, position: int, shape: tuple[int, ...]) -> JacobianMap | None:
    radii = list(content.settings.eps)
    picked = sorted({0, len(radii) - 1})[:MAPPED_RADII]
    predicted = int(content.arrays["predicted"][position])
    magnitude, sign = [], []
    for k in picked:
        lower = result.read("jacobian_lower", np.s_[position, k, predicted])
        upper = result.read("jacobian_upper", np.s_[position, k, predicted])
        if np.isnan(lower).any():
            return None
        size = _channels_last(np.maximum(np.abs(lower), np.abs(upper)), shape)
        known = _channels_last(np.where(lower > 0, 1.0, np.where(upper < 0, -1.0, 0.0)), shape)
        magnitude.append(size.max(axis=2))
        sign.append(np.where((known == known[:, :, :1]).all(axis=2), known[:, :, 0], 0.0))
    x0 = result.read("x0", position) if "x0" in result else np.full(math.prod(shape), np.nan)
    image = _channels_last(x0, shape)
    return JacobianMap(
        int(content.arrays["sample"][position]), int(content.arrays["label"][position]), predicted,
        image[:, :, 0] if image.shape[2] == 1 else image, [radii[k] for k in picked], magnitude, sign,
        (content.class_name(int(content.arrays["label"][position])), content.class_name(predicted)),
    )  # fmt: skip


def _channels_last(values: Floats, shape: tuple[int, ...]) -> Floats:
    """[H, W, C]"""
    if len(shape) == 2:
        return values.reshape(*shape, 1)
    array = values.reshape(shape)
    return array.transpose(1, 2, 0) if shape[0] in (1, 3) else array
