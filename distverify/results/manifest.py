"""What a run is: the identity that decides whether shards and results belong to it, and its circumstances."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from distverify.errors import ResultError
from distverify.results.schema import SCHEMA_VERSION
from distverify.settings import Settings
from distverify.work import Plan

_PACKAGES = ("distverify", "h5py", "numba", "numpy", "onnx", "ray", "scipy")
_COMMAND_CHARACTERS = 8192  # an HDF5 attribute holds 64 KB


@dataclass(frozen=True)
class Manifest:
    """Everything that is known when a run starts.

    Attributes
    ----------
    model, data : str
        Names for people; not part of the identity.
    model_digest, data_digest : str
        Hashes that stand for the network (with folded normalisation) and for the selected samples.
    input_size, output_size : int
    indices : tuple of int
        Each selected sample's index in the data set.
    settings : Settings
    distverify_version : str
    created : datetime
        When the run first started, with a time zone.
    environment : dict
        From :func:`describe_environment`; not part of the identity.
    names : tuple of str
        Of the property files, one per sample; empty for a data set. Not part of the identity.
    axis_names : dict "input" or "output" -> tuple of str
        What inputs and outputs are called, as far as that is known. Not part of the identity.
    features : int
        Of a sample, where inputs are parameters of a family of perturbations around it; else 0. Not part of the identity, as it
        follows from the model.
    plan : Plan or None
        How the run is cut, None until that is decided. Not part of the identity: it changes no number.
    schema_version : int
    """

    model: str
    model_digest: str
    input_size: int
    output_size: int
    data: str
    data_digest: str
    indices: tuple[int, ...]
    settings: Settings
    distverify_version: str
    created: datetime
    environment: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    axis_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    features: int = 0
    plan: Plan | None = None
    schema_version: int = SCHEMA_VERSION

    @property
    def samples(self) -> int:
        return len(self.indices)

    @property
    def sizes(self) -> dict[str, int]:
        """Length of every dimension of the result."""
        return {
            "sample": self.samples,
            "eps": len(self.settings.eps),
            "output": self.output_size,
            "input": self.input_size,
            "feature": self.features,
        }

    @cached_property
    def run_id(self) -> str:
        """Hash of the identity: two runs with the same id compute the same numbers."""
        return _run_id(
            self.schema_version,
            self.distverify_version,
            self.model_digest,
            self.data_digest,
            list(self.indices),
            self.settings.to_json(),
        )

    def provenance(self, end: datetime | None = None) -> dict[str, Any]:
        """The JSON of the root attribute; ``end`` is None while the run goes on."""
        return {
            "run_id": self.run_id,
            "model": {
                "name": self.model,
                "digest": self.model_digest,
                "inputs": self.input_size,
                "outputs": self.output_size,
                **({"features": self.features} if self.features else {}),
            },
            "data": {"name": self.data, "digest": self.data_digest, "samples": self.samples},
            "settings": self.settings.to_json(),
            "schema_version": self.schema_version,
            "distverify_version": self.distverify_version,
            "environment": self.environment,
            "start": self.created.isoformat(),
            "end": None if end is None else end.isoformat(),
        }

    @classmethod
    def from_provenance(
        cls, data: dict[str, Any], indices: tuple[int, ...], feature_eps: Iterable[float] | None = None,
        perturbation: Any = None,
    ) -> Manifest:  # fmt: skip
        """The manifest that :meth:`provenance` tells of, without its plan.

        ``feature_eps`` and ``perturbation`` are the values that the settings hold the hashes of.

        Raises
        ------
        ResultError
            If something is missing or of the wrong kind.
        """
        try:
            return cls(
                model=str(data["model"]["name"]),
                model_digest=str(data["model"]["digest"]),
                input_size=int(data["model"]["inputs"]),
                output_size=int(data["model"]["outputs"]),
                data=str(data["data"]["name"]),
                data_digest=str(data["data"]["digest"]),
                indices=indices,
                settings=Settings.from_json(data["settings"], feature_eps, perturbation),
                distverify_version=str(data["distverify_version"]),
                created=datetime.fromisoformat(data["start"]),
                environment=dict(data["environment"]),
                names=tuple(str(name) for name in data.get("names", ())),
                axis_names={str(axis): tuple(map(str, names)) for axis, names in data.get("axis_names", {}).items()},
                features=int(data["model"].get("features", 0)),
                schema_version=int(data["schema_version"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ResultError(
                f"provenance: cannot be read ({type(error).__name__}: {error}); the file is damaged, or was "
                "written by another version of distverify"
            ) from error

    def to_json(self) -> str:
        """The whole manifest as JSON text."""
        data = self.provenance()
        data["indices"] = list(self.indices)
        data["plan"] = None if self.plan is None else self.plan.to_json()
        data["names"] = list(self.names)
        data["axis_names"] = self.axis_names
        data["feature_eps"] = self.settings.feature_eps
        data["perturbation"] = self.settings.perturbation
        return json.dumps(data)

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ResultError
            If the file cannot be read or is not a manifest.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            indices = tuple(int(i) for i in data["indices"])
            plan = None if data.get("plan") is None else Plan.from_json(data["plan"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path}: not a manifest of distverify ({type(error).__name__}: {error})") from error
        return replace(cls.from_provenance(data, indices, data.get("feature_eps"), data.get("perturbation")), plan=plan)


def identity(provenance: dict[str, Any], indices: list[int]) -> str:
    """The ``run_id`` of the run that a provenance tells of, from what that says and the samples that the file has."""
    return _run_id(
        provenance["schema_version"],
        provenance["distverify_version"],
        provenance["model"]["digest"],
        provenance["data"]["digest"],
        indices,
        provenance["settings"],
    )


def _run_id(*identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]


def difference(this: Manifest, other: Manifest, other_name: str = "the interrupted run") -> list[str]:
    """What makes two runs different computations: one line each, empty if they are the same."""
    pairs = [
        ("schema version", str(this.schema_version), str(other.schema_version)),
        ("distverify version", this.distverify_version, other.distverify_version),
        ("model", _named(this.model, this.model_digest), _named(other.model, other.model_digest)),
    ]
    if this.model_digest == other.model_digest:
        pairs.pop()
    else:  # of the same file, read in another way
        pairs.append(("one input of the model", _shape_of(this), _shape_of(other)))
    if this.indices != other.indices:
        pairs.append(("samples", _selection(this), _selection(other)))
    elif this.data_digest != other.data_digest:
        pairs.append(("data", _named(this.data, this.data_digest), _named(other.data, other.data_digest)))
    mine, theirs = this.settings.to_json(), other.settings.to_json()
    pairs += [(k, _text(mine.get(k)), _text(theirs.get(k))) for k in {**mine, **theirs}]
    return [f"{name}: this run has {a}; {other_name} has {b}" for name, a, b in pairs if a != b]


def describe_environment(command: str | None) -> dict[str, Any]:
    """Where a run happens: command line, host, platform, versions of the packages that numbers depend on."""
    command = None if command is None else without_home(command)
    if command is not None and len(command) > _COMMAND_CHARACTERS:
        command = command[: _COMMAND_CHARACTERS - 1] + "…"
    return {
        "command": command,
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
    }


def without_home(text: str) -> str:
    """``text`` with ``~`` for the home folder of whoever runs this: a result is for others too."""
    home = os.path.expanduser("~").rstrip("/")
    return re.sub(rf"(?<![\w./~-]){re.escape(home)}(?=/|\s|$)", "~", text) if home.count("/") > 0 else text


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _shape_of(manifest: Manifest) -> str:
    told = manifest.environment.get("inputs", {})
    axis = {True: ", batch axis yes", False: ", batch axis no"}.get(told.get("batch_axis"), "")
    return f"shape {told.get('shape', [manifest.input_size])}{axis}"


def _named(name: str, digest: str) -> str:
    return f"{name} ({digest[:12]})"


def _selection(manifest: Manifest) -> str:
    shown = ", ".join(str(i) for i in manifest.indices[:3])
    more = f", ..., {manifest.indices[-1]}" if manifest.samples > 3 else ""
    return f"{manifest.samples} of {manifest.data} ({shown}{more})"


def _text(value: object) -> str:
    return ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
