"""What a run computes: one validated, immutable value that the analyses, the manifest and the command line share."""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from distverify.errors import SettingsError, argument
from distverify.options import parse
from distverify.options.option import defaults_of, documented, in_use, option, options_of
from distverify.options.rules import DATA, PROPERTIES, refuse
from distverify.options.values import check_kinds, shown
from distverify.quantities import catalogue
from distverify.quantities.evaluation import EVALUATION
from distverify.quantities.property import PROPERTY as OF_PROPERTIES

COMPUTE = catalogue.names()
# What is computed for a property file, and only for those.
PROPERTY = OF_PROPERTIES.name
METHODS = ("linear", "coupled", "recurjac", "interval")
# Other names of methods. Fast-Lip's rule for ReLU networks is what interval arithmetic makes of any activation.
METHOD_ALIASES = {"fastlip": "interval"}
LAYER_BOUNDS = ("alpha", "crown", "interval")
TARGETS = ("untargeted", "runner-up", "least-likely", "random")
NORMS = (math.inf, 2.0, 1.0)
LANDSCAPE_OUTPUTS = ("all", "label")
EPS_UNITS = ("raw", "normalised")
DIRECTIONS = ("auto", "backward", "forward", "both")
PRECISIONS = ("float64", "float32")
ARITHMETICS = ("exact", "float32")
MARCH_EVALUATIONS = 16
MARCH_TOLERANCE = 1e-3


# Of inputs, around a sample: x + M t with t in a ball. A matrix is one, too: a row for each feature.
FAMILIES = ("brightness", "contrast", "haze")
Perturbation = str | tuple[tuple[float, ...], ...]
# Where t may lie in a family, unless it is said: haze is of 0 to 1.
_FAMILY_CLIP = {"haze": (0.0, 1.0)}
# LO, HI for all features; or a lower and an upper number for each.
Domain = tuple[float, float] | tuple[tuple[float, ...], tuple[float, ...]]
# An HDF5 attribute holds a box of so many features.
MOST_DOMAIN_FEATURES = 1000


def _used_by(name: str) -> dict[str, tuple[str, ...]]:
    """The quantities that the setting ``name`` is for."""
    return {"compute": catalogue.names_using(name)}


@documented
@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on besides the model and the data.

    With ``feature_eps`` the ball of radius eps is ``||(x - x0) / feature_eps|| <= eps``; for norms 2 and 1 factors are 0 or 1.
    ``seed`` is that of everything random (random targets).
    """

    norm: float = option(
        math.inf, "Norm of the balls.", "Balls", parse=lambda text: float(text), choices=("inf", "2", "1")
    )
    eps: tuple[float, ...] = option(
        (), "Radii of the balls, such as 0.005,0.01 or logspace:-3:-1:20 (20 radii from 0.001 to 0.1). In units of the data "
        "after {scale} and before {mean} and {std} (see {eps_units}).", "Balls", parse=parse.radii, metavar="LIST",
        needs=_used_by("eps"),
    )  # fmt: skip
    compute: tuple[str, ...] = option(
        ("lipschitz", "radius"), f"What to compute: any of {', '.join(COMPUTE)}.", "What is computed",
        parse=parse.some_of(COMPUTE), metavar="LIST",
    )  # fmt: skip
    method: str = option(
        "linear", "How Jacobians are bounded: linear, coupled (tighter for curved activations), recurjac or "
        "interval. fastlip is another name of interval, which it equals.", "Bounds",
        parse=parse.one_of((*METHODS, *METHOD_ALIASES), "a result file holds one method: run once for each, with its own -o"),
        metavar="METHOD",
    )  # fmt: skip
    layer_bounds: str = option(
        "crown",
        "How pre-activations are bounded: alpha optimises the slopes of CROWN's lines.",
        "Bounds",
        choices=LAYER_BOUNDS,
        of_properties=True,
    )
    targets: str | int = option(
        "untargeted", f"Classes that a radius must keep away from: {', '.join(TARGETS)}, or one class index.",
        "What is computed", parse=parse.one_of_or_index(TARGETS), metavar="TARGET",
        needs=_used_by("targets"),
    )  # fmt: skip
    clip: tuple[float, float] | None = option(
        None, "Box that every input lies in, such as 0,1 for pixels; balls are cut off there. In units of {eps}.", "Balls",
        parse=parse.interval, metavar="LO,HI", needs=_used_by("clip"),
    )  # fmt: skip
    seed: int = 0
    feature_eps: tuple[float, ...] | None = option(
        None, "One factor of {eps} per feature, in the model's order: 1,0.5,0 or a file of numbers (.npy, .csv, .txt). "
        "Radii and Lipschitz constants are then in the norm that they scale; 0 keeps a feature fixed.", "Balls",
        parse=parse.per_feature, metavar="LIST|FILE", needs=_used_by("feature_eps"),
    )  # fmt: skip
    domain: Domain | None = option(  # noqa: RUF009  # a field, as all the others
        None, "A box for all features, without a centre: bounds of outputs and of the Jacobian, Lipschitz constants and monotone "
        "features over all of it too, once. Two numbers, or a file (.npy, .csv) with a lower and an upper row, one value for each "
        "feature; DATA may then be left out.", "Balls", parse=parse.interval_or_file, metavar="LO,HI|FILE",
        needs=_used_by("domain"),
    )  # fmt: skip
    perturbation: Perturbation | None = option(  # noqa: RUF009  # a field, as all the others
        None, "A family of inputs x + M t around each sample, in place of all inputs: brightness (x + t), contrast (x + t (x - 1/2)), haze "
        "(x + t (1 - x), t from 0 to 1), or linear:FILE, a matrix M (.npy, .csv) with a row for each feature and a column for each "
        "parameter. Balls, {eps}, {clip}, derivatives and constants are then about t.", "Balls", parse=parse.perturbation(FAMILIES),
        metavar="FAMILY", needs=_used_by("clip"),
    )  # fmt: skip
    march_evaluations: int = option(
        MARCH_EVALUATIONS, "Most Jacobian bounds per radius; more give larger radii by Jacobian bounds.", "What is computed",
        parse=parse.at_least(1), metavar="N", needs=_used_by("march_evaluations"),
    )  # fmt: skip
    march_tolerance: float = option(
        MARCH_TOLERANCE, "Relative gain at which a radius by Jacobian bounds is good enough.", "What is computed",
        parse=parse.share, metavar="SHARE", needs=_used_by("march_tolerance"),
    )  # fmt: skip
    landscape_outputs: str = option(
        "all", "Outputs whose stationary points are looked for.", "What is computed", choices=LANDSCAPE_OUTPUTS,
        needs=_used_by("landscape_outputs"),
    )  # fmt: skip
    eps_units: str = option(
        "raw", "Whether {eps}, {clip} and {domain} are in units of the data before or after {mean} and {std}.", "Balls",
        choices=EPS_UNITS,
    )  # fmt: skip
    direction: str = option(
        "auto", "Order in which the outputs' Jacobian is bounded: a chain per output, per input, the cheaper, or both "
        "intersected.", "Bounds", choices=DIRECTIONS,
        needs={**_used_by("direction"), "method": ("linear", "recurjac")},
    )  # fmt: skip
    nodes: int = option(
        0, "Subproblems per sample and question (a verdict, a constant of one row) that branch and bound may look at; 0: none. "
        "The same number gives the same result, to the last bit; what refines neurons' bounds amid a search is not counted.",
        "Bounds", parse=parse.at_least(0), metavar="N", needs=_used_by("nodes"), of_properties=True,
    )  # fmt: skip
    precision: str = option(
        "float64", "Of matrix products: float32 is faster and gives a little wider bounds, just as sound.", "Bounds",
        choices=PRECISIONS, of_properties=True,
    )  # fmt: skip

    arithmetic: str = option(
        "exact", "What radii and verdicts hold for: the network in exact arithmetic, or (float32) also as it runs in single "
        "precision, in any order of summation; the difference's bound is stored as evaluation_error.", "What is computed",
        choices=ARITHMETICS, needs=_used_by("arithmetic"), of_properties=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_kinds(self, but=("norm",))
        _choice("arithmetic", self.arithmetic, ARITHMETICS)
        _set(self, "compute", _compute(self.compute))
        if self.arithmetic != "exact" and self.compute != (PROPERTY,):
            _set(self, "compute", _compute((*self.compute, EVALUATION.name)))
        _set(self, "eps", _radii(self.eps))
        _set(self, "norm", _number("norm", self.norm, "choose inf, 2 or 1"))
        if self.norm not in NORMS:
            raise SettingsError(f"norm: got {self.norm}; choose inf, 2 or 1")
        _set(self, "method", canonical_method(self.method))
        _choice("layer_bounds", self.layer_bounds, LAYER_BOUNDS)
        if isinstance(self.targets, str):
            _choice("targets", self.targets, TARGETS, "or a class index")
        elif self.targets < 0:
            raise SettingsError(f"targets: got {self.targets}; a class index starts at 0")
        _choice("landscape_outputs", self.landscape_outputs, LANDSCAPE_OUTPUTS)
        _choice("eps_units", self.eps_units, EPS_UNITS)
        _choice("direction", self.direction, DIRECTIONS)
        _choice("precision", self.precision, PRECISIONS)
        if self.clip is not None:
            _set(self, "clip", _box("clip", self.clip))
        if self.domain is not None:
            _set(self, "domain", _domain(self.domain))
        if self.feature_eps is not None:
            _set(self, "feature_eps", feature_factors(self.feature_eps, self.norm))
        if self.perturbation is not None:
            _set(self, "perturbation", _perturbation(self.perturbation))
        if self.march_evaluations < 1:
            raise SettingsError(f"march_evaluations: got {self.march_evaluations}; give a whole number of at least 1")
        if not 0.0 <= self.march_tolerance < 1.0:
            raise SettingsError(f"march_tolerance: got {self.march_tolerance}; give a number of at least 0 and below 1")
        if self.nodes < 0:
            raise SettingsError(f"nodes: got {self.nodes}; give a whole number of at least 0")
        searched = (
            sorted(q.name for q in catalogue.chosen(self.compute) if q.search_at or q.searched) if self.nodes else []
        )
        if searched and self.method == "interval":
            raise SettingsError(
                f"nodes: got {self.nodes} with {argument('method', 'interval')} and {' and '.join(searched)}; a search for those "
                "needs linear, coupled or recurjac"
            )
        self._refuse()
        if self.perturbation is not None and self.clip is None:
            _set(self, "clip", _FAMILY_CLIP.get(self.family))

    @property
    def family(self) -> str:
        """Name of the perturbations' family, "linear" for a matrix; empty where all inputs are looked at."""
        if self.perturbation is None:
            return ""
        return self.perturbation if isinstance(self.perturbation, str) else "linear"

    def inputs_of(self, features: int) -> int:
        """How many numbers an analysed point has: the features, or the parameters of the family of perturbations."""
        if self.perturbation is None:
            return features
        return 1 if isinstance(self.perturbation, str) else len(self.perturbation[0])

    def _refuse(self) -> None:
        """Refuse what nothing that is computed would use, and radii that are missing."""
        values = {name: getattr(self, name) for name in options_of(Settings)}
        given = in_use(values, defaults_of(Settings))
        if self.compute == (PROPERTY,):
            values[DATA] = PROPERTIES
            given -= {"compute"}
        refuse(options_of(Settings), values, given)
        quantities = catalogue.chosen(self.compute)
        if self.perturbation is not None:
            if whole := sorted(q.name for q in quantities if q.of_network):
                raise SettingsError(
                    f"perturbation: got {self.family}, which is about inputs around samples, and {whole[0]} is about all inputs; "
                    "leave one of them out"
                )
            if self.clip is not None and not self.clip[0] <= 0.0 <= self.clip[1]:
                raise SettingsError(
                    f"clip: got {self.clip[0]:g},{self.clip[1]:g}; beside a perturbation it is about t, and must hold 0, the sample itself"
                )
        over_domain = self.domain is not None
        needs_eps = sorted(q.name for q in quantities if q.needs_eps and not (q.of_domain and over_domain))
        if needs_eps and not self.eps:
            raise SettingsError(
                f"eps: none given, but {' and '.join(needs_eps)} need at least one radius; add {argument('eps', '0.01')}"
            )

    def to_json(self) -> dict[str, Any]:
        """A dictionary that JSON can hold (inf as the string "inf")."""
        out = asdict(self)
        out["norm"] = "inf" if math.isinf(self.norm) else self.norm
        for name in ("eps", "compute", "clip", "domain"):
            out[name] = None if out[name] is None else list(out[name])
        if self.feature_eps is not None:
            # An HDF5 attribute is too small for a value per feature: the values are stored beside it.
            out["feature_eps"] = hashlib.sha256(array("d", self.feature_eps).tobytes()).hexdigest()
        if not (self.perturbation is None or isinstance(self.perturbation, str)):
            numbers = array("d", [v for row in self.perturbation for v in row])
            shape = f"{len(self.perturbation)}x{len(self.perturbation[0])}"
            out["perturbation"] = f"linear {shape} {hashlib.sha256(numbers.tobytes()).hexdigest()}"
        return out

    @classmethod
    def from_json(
        cls, data: Mapping[str, Any], feature_eps: Iterable[float] | None = None, perturbation: Any = None
    ) -> Settings:
        """The inverse of :meth:`to_json`; ``feature_eps`` and ``perturbation`` are the values that its hashes stand for."""
        values = dict(data)
        if str(values.get("perturbation")).startswith("linear"):
            values["perturbation"] = perturbation
        values["norm"] = float(values["norm"])
        for name in ("eps", "compute", "clip", "domain"):
            if values.get(name) is not None:
                values[name] = tuple(tuple(v) if isinstance(v, list) else v for v in values[name])
        if values.get("feature_eps") is not None:
            values["feature_eps"] = None if feature_eps is None else tuple(float(v) for v in feature_eps)
        return cls(**values)


def feature_factors(values: Iterable[float], norm: float) -> tuple[float, ...]:
    """One factor of eps per feature, checked.

    Raises
    ------
    SettingsError
        A value that is negative, NaN or infinite, nothing but zeros, or other values than 0 and 1 for norms 2 and 1.
    """
    factors = tuple(_number("feature_eps", v, "give one factor per feature") for v in values)
    wrong = [v for v in factors if not (math.isfinite(v) and v >= 0)]
    if wrong or not any(factors):
        got = wrong[0] if wrong else "nothing above 0"
        raise SettingsError(f"feature_eps: got {got}; give one finite factor >= 0 per feature, some of them above 0")
    if norm != math.inf and not set(factors) <= {0.0, 1.0}:
        other = next(v for v in factors if v not in (0.0, 1.0))
        raise SettingsError(
            f"feature_eps: got {other} for norm {norm:g}; only norm inf takes other factors than 0 and 1"
        )
    return factors


def _perturbation(family: Any) -> Perturbation:
    """A family's name, or the rows of a matrix."""
    if isinstance(family, str):
        _choice("perturbation", family, FAMILIES, "or a matrix with a row for each feature (linear:FILE)")
        return family
    try:
        rows = tuple(tuple(float(v) for v in (row if hasattr(row, "__len__") else (row,))) for row in family)
    except (TypeError, ValueError):
        raise SettingsError(
            f"perturbation: got {type(family).__name__}; give {', '.join(FAMILIES)}, or a matrix of numbers with a row for each feature"
        ) from None
    widths = sorted({len(row) for row in rows})
    if len(widths) != 1 or not widths[0] or not all(math.isfinite(v) for row in rows for v in row):
        raise SettingsError(
            f"perturbation: got {len(rows)} rows of {widths or 'no'} values; give finite numbers, a row for each feature and as many "
            "columns as parameters"
        )
    return rows


def _set(settings: Settings, name: str, value: object) -> None:
    object.__setattr__(settings, name, value)


def canonical_method(name: str) -> str:
    """The name under which a method of bounding Jacobians is computed and recorded: aliases stand for the method they equal.

    Raises
    ------
    SettingsError
        An unknown name.
    """
    if name not in (*METHODS, *METHOD_ALIASES):
        raise SettingsError(f"method: got {name!r}; choose {', '.join((*METHODS, *METHOD_ALIASES))}")
    return METHOD_ALIASES.get(name, name)


def _radii(eps: Any) -> tuple[float, ...]:
    several = eps if isinstance(eps, Iterable) and not isinstance(eps, str) else (eps,)
    radii = tuple(_number("eps", e, "every radius must be a finite positive number") for e in several)
    for e in radii:
        if not (math.isfinite(e) and e > 0):
            raise SettingsError(f"eps: got {e}; every radius must be a finite positive number")
    if len(set(radii)) != len(radii):
        raise SettingsError(f"eps: got {list(radii)}; each radius may appear once")
    return radii


def _number(name: str, value: Any, remedy: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}: got {value!r}; {remedy}") from None


def _compute(names: Any) -> tuple[str, ...]:
    several = [names] if isinstance(names, str) else names
    if not isinstance(several, Iterable) or not all(isinstance(name, str) for name in several):
        raise SettingsError(f"compute: got {shown(names)}; give names, any of {', '.join(COMPUTE)}")
    chosen = tuple(sorted(set(several)))
    if chosen == (PROPERTY,):
        return chosen
    unknown = [n for n in chosen if n not in COMPUTE]
    if unknown or not chosen:
        raise SettingsError(f"compute: got {', '.join(unknown) or 'nothing'}; choose any of {', '.join(COMPUTE)}")
    return chosen


def _choice(name: str, value: str, choices: tuple[str, ...], more: str = "") -> None:
    if value not in choices:
        raise SettingsError(f"{name}: got {value!r}; choose {', '.join(choices)} {more}".rstrip())


def _box(name: str, sides: Any) -> tuple[float, float]:
    if isinstance(sides, str) or not hasattr(sides, "__len__") or len(sides) != 2:
        got = f"{len(sides)} values" if isinstance(sides, tuple | list) else shown(sides)
        raise SettingsError(f"{name}: got {got}; give LO,HI")
    lo, hi = (_number(name, v, "give LO,HI") for v in sides)
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise SettingsError(f"{name}: got {lo},{hi}; give finite LO,HI with LO < HI")
    return lo, hi


def _domain(sides: Any) -> Domain:
    """LO, HI for all features, or a lower and an upper row."""
    if not hasattr(sides, "__len__") or len(sides) != 2 or not any(hasattr(side, "__len__") for side in sides):
        return _box("domain", sides)
    low, high = (tuple(_number("domain", v, "give numbers") for v in side) for side in sides)
    if len(low) != len(high):
        raise SettingsError(f"domain: got {len(low)} lower and {len(high)} upper values; give one each per feature")
    if len(low) > MOST_DOMAIN_FEATURES:
        raise SettingsError(
            f"domain: got a box of {len(low)} features; a row for each side takes at most {MOST_DOMAIN_FEATURES}, give LO,HI"
        )
    for k, (lo, hi) in enumerate(zip(low, high, strict=True)):
        if not (math.isfinite(lo) and math.isfinite(hi) and lo <= hi):
            raise SettingsError(
                f"domain: feature {k} is from {lo} to {hi}; give finite lower and upper values in order"
            )
    if low == high:
        raise SettingsError("domain: is a single point; give some feature a lower value below its upper one")
    return low, high
