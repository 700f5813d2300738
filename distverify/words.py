"""How numbers, times, radii, settings and foreign text are worded: once, for the terminal and the report alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distverify.options.option import defaults_of
from distverify.quantities import catalogue
from distverify.settings import PROPERTY, Settings

_RADII_LISTED = 8


def duration(seconds: float) -> str:
    """``0.42 s``, ``42 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def per_second(rate: float) -> str:
    """A speed: ``20/s``, ``2.1/s``, ``0.05/s``; slow ones as ``0.5/min`` or ``12/h``."""
    if rate >= 10:
        return f"{rate:,.0f}/s"
    if rate >= 0.05:
        return f"{rate:.2g}/s"
    return f"{60 * rate:.2g}/min" if rate >= 1 / 120 else f"{3600 * rate:.2g}/h"


def count(number: int, noun: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def significant(value: float | None) -> str:
    """Four significant digits; a dash where there is no value."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def norm_name(norm: float) -> str:
    """``inf``, ``2`` or ``1``."""
    return "inf" if math.isinf(norm) else f"{norm:g}"


def radii(eps: Sequence[float]) -> str:
    """``0.01, 0.02``; of many their number and range."""
    if len(eps) > _RADII_LISTED:
        return f"{len(eps)} radii from {min(eps):g} to {max(eps):g}"
    return ", ".join(f"{e:g}" for e in eps)


def describe_settings(settings: Settings) -> str:
    """The settings in one line: what is computed and how, then whatever is not as usual."""
    if settings.compute == (PROPERTY,):
        parts = ["properties", f"layer bounds {settings.layer_bounds}"]
        usual = {"compute", "layer_bounds"}
    else:
        parts = [f"norm {norm_name(settings.norm)}"]
        parts += [f"eps {radii(settings.eps)}"] if settings.eps else []
        parts += [f"compute {', '.join(settings.compute)}", f"method {settings.method}"]
        parts += [f"layer bounds {settings.layer_bounds}"]
        usual = {
            "norm",
            "eps",
            "compute",
            "method",
            "layer_bounds",
            "targets",
            "clip",
            "domain",
            "feature_eps",
            "perturbation",
        }
        if set(catalogue.names_using("targets")) & set(settings.compute):
            targets = settings.targets
            parts.append(f"target class {targets}" if isinstance(targets, int) else f"{targets} radius")
        if settings.perturbation is not None:
            parts.append(f"perturbation {settings.family}: inputs {perturbation(settings)}")
        if settings.clip is not None:
            parts.append(
                f"{'t' if settings.perturbation is not None else 'inputs'} in [{settings.clip[0]:g}, {settings.clip[1]:g}]"
            )
        if settings.domain is not None:
            parts.append(f"domain {domain(settings.domain)}")
        if settings.feature_eps is not None:
            fixed = sum(factor == 0.0 for factor in settings.feature_eps)
            parts.append(f"eps scaled by feature, {fixed} of {len(settings.feature_eps)} features fixed")
    # A setting that this function does not know is told all the same.
    others = {
        n: v for n, v in vars(settings).items() if n not in usual and v != (defaults_of(Settings) | {"seed": 0})[n]
    }
    return "; ".join(parts + [f"{name.replace('_', ' ')} {value}" for name, value in others.items()])


def perturbation(settings: Settings) -> str:
    """The inputs of the settings' family of perturbations, as a formula: ``x + t (1 - x)``."""
    formula = {"brightness": "x + t", "contrast": "x + t (x - 1/2)", "haze": "x + t (1 - x)", "linear": "x + M t"}[
        settings.family
    ]
    if isinstance(settings.perturbation, tuple):
        formula += f", M of {len(settings.perturbation)} x {len(settings.perturbation[0])}"
    return formula


def domain(sides: Any) -> str:
    """``[0, 1]``, or how many features have a range of their own."""
    low, high = sides
    if isinstance(low, tuple):
        return f"of {len(low)} features, each with its own range"
    return f"[{low:g}, {high:g}]"


def time_of_run(kernel_seconds: float, wall_seconds: float | None) -> str:
    """``27 s in kernels, 18 s from start to end``: of all sessions together, pauses between them included."""
    kernel = f"{duration(kernel_seconds)} in kernels"
    return kernel if wall_seconds is None else f"{kernel}, {duration(wall_seconds)} from start to end"


def session_title(told: Mapping[str, Any]) -> str:
    """Heading of what workers did: of the whole run, or of the session that finished it after others.

    ``told`` are the ``statistics`` of a provenance; older files do not tell whether there were others.
    """
    return "Whole run" if told.get("resumed") == 0 else "Last session"


def session_facts(told: Mapping[str, Any], samples: int) -> dict[str, str]:
    """What the workers of a session did, a line for each kind of thing.

    Parameters
    ----------
    told : the ``statistics`` of a provenance
    samples : int
        Of the whole run.
    """
    facts = {
        "Workers": f"{told['most_workers']:,} at once, {told['workers']:,} in all on {count(told['nodes'], 'node')}",
        "Time": time_of_run(told["kernel_seconds"], told["seconds"]),
    }
    if told["efficiency"] is not None:
        facts["Efficiency"] = (
            f"{told['efficiency']:.0%} of {duration(told['worker_seconds'])} of workers' time in kernels"
        )
    facts["Units"] = (
        f"{told['units_done']:,} done, {told['units_failed']:,} failed, {told['units_lost']:,} lost and computed again"
    )
    if told["samples_per_second"]:
        facts["Speed"] = f"{per_second(told['samples_per_second'])} ({count(told['samples'], 'sample')})"
    if told["slowest"] is not None and told["workers"] > 1:
        facts["Per worker"] = f"{per_second(told['slowest'])} to {per_second(told['fastest'])} in kernels"
    if told.get("resumed"):
        facts["Before it"] = f"{told['resumed']:,} of {count(samples, 'sample')} were done by earlier sessions"
    return facts


def provenance_facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Where a result comes from, a line for each kind of thing that is known."""
    environment, model, data = provenance.get("environment", {}), provenance["model"], provenance["data"]
    packages, inputs = environment.get("packages", {}), environment.get("inputs", {})
    normalisation = [f"{n} {inputs[n]}" for n in ("scale", "mean", "std") if inputs.get(n) is not None]
    facts = {
        "Name": environment.get("name"),
        "Command": environment.get("command"),
        "Model SHA-256": model["digest"],
        "Data SHA-256": data["digest"],
        "Values": ", ".join(normalisation),
        "Warnings": "; ".join(environment.get("warnings", ())),
        "Batch axis": {True: "yes, as was said", False: "no, as was said"}.get(inputs.get("batch_axis")),
        "Outputs": inputs.get("outputs"),
        "Reference": inputs.get("reference"),
        "Start": provenance["start"],
        "End": provenance["end"] or "not finished",
        "Host": environment.get("host"),
        "Platform": environment.get("platform"),
        "Python": environment.get("python"),
        "distverify": provenance["distverify_version"],
        "Packages": ", ".join(f"{name} {packages[name]}" for name in packages if name != "distverify"),
    }
    return {name: str(value) for name, value in facts.items() if value}


def printable(text: str) -> str:
    """``text`` without control characters: names and messages out of files must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
