"""Result files as the first version laid them out: ``python -m tests.results.older_files OUT.h5``.

By h5py alone, so that changes of what writes results today cannot reach them. What is told of a run, its ``run_id`` included, is
what that version wrote: settings of eight fields, no digests, attributes of variable length, pages of metadata nowhere, five outcomes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SAMPLES, EPS, OUTPUTS, INPUTS = 6, (0.005, 0.01), 3, 6
MESSAGE = "später"
PROVENANCE: dict[str, Any] = {
    "run_id": "d162ccfce8e575c16c5d9e8a5c2a612a",
    "model": {"name": "net.onnx", "digest": "a" * 64, "inputs": INPUTS, "outputs": OUTPUTS},
    "data": {"name": "data.csv", "digest": "b" * 64, "samples": SAMPLES},
    "settings": {
        "norm": "inf", "eps": list(EPS), "compute": ["jacobian", "landscape", "lipschitz", "radius"], "method": "linear",
        "layer_bounds": "crown", "targets": "untargeted", "clip": None, "seed": 0,
    },
    "schema_version": 1,
    "distverify_version": "0.1.0",
    "environment": {
        "command": "distverify certify net.onnx data.csv -o out.h5", "host": "vm", "platform": "Linux", "python": "3.11.7",
        "packages": {"h5py": "3.16.0", "numpy": "2.4.6"},
    },
    "start": "2024-05-01T12:00:00+00:00",
    "end": "2024-05-01T12:01:00+00:00",
}  # fmt: skip
COORDINATES = {
    "sample": np.arange(100, 100 + SAMPLES),
    "eps": np.array(EPS),
    "output": np.arange(OUTPUTS),
    "input": np.arange(INPUTS),
}
NUMBERS = {
    "seconds": "sample",
    "logits": "sample output",
    "jacobian_lower": "sample eps output input",
    "jacobian_upper": "sample eps output input",
    "lipschitz": "sample eps output",
    "lipschitz_vector": "sample eps",
    "radius": "sample",
    "radius_crown": "sample",
    "radius_jacobian": "sample",
    "radius_target": "sample output",
    "stationary_free_radius": "sample output",
    "hull_lower": "eps output input",
    "hull_upper": "eps output input",
}
OUTCOMES = "pending ok misclassified failed timed_out"


def arrays() -> dict[str, np.ndarray[Any, Any]]:
    """Every number of the file."""
    generator = np.random.default_rng(0)
    made = {
        name: np.abs(generator.standard_normal([len(COORDINATES[d]) for d in dims.split()]))
        for name, dims in NUMBERS.items()
    }
    made["jacobian_lower"] = -made["jacobian_upper"]
    made["hull_lower"], made["hull_upper"] = made["jacobian_lower"].min(0), made["jacobian_upper"].max(0)
    return made


def write(path: Path) -> None:
    """A finished result of the first version."""
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        for name, values in COORDINATES.items():
            file.create_dataset(name, data=values).make_scale(name)
        dims = NUMBERS | dict.fromkeys(("label", "predicted", "status", "message"), "sample")
        text = h5py.string_dtype("utf-8", 256)
        whole: dict[str, Any] = {
            "label": np.arange(SAMPLES) % 3,
            "predicted": np.arange(SAMPLES) % 3,
            "status": np.ones(SAMPLES, dtype=np.int8),
            "message": np.array([MESSAGE.encode()] * SAMPLES, dtype=text),
        }
        for name, values in (arrays() | whole).items():
            dataset = file.create_dataset(
                name, data=values, chunks=values.shape, fletcher32=True, dtype=text if name == "message" else None
            )
            for axis, dim in enumerate(dims[name].split()):
                dataset.dims[axis].attach_scale(file[dim])
            dataset.attrs["long_name"], dataset.attrs["units"] = name, "s" if name == "seconds" else "1"
            if values.dtype == np.float64:
                dataset.attrs["_FillValue"] = np.array([np.nan])
        file["status"].attrs["flag_values"] = np.arange(5, dtype=np.int8)
        file["status"].attrs["flag_meanings"] = OUTCOMES
        file.attrs["Conventions"] = "CF-1.10"
        file.attrs["title"] = "Certification of a neural network by distverify"
        file.attrs["schema_version"] = np.int64(1)
        file.attrs["distverify_version"] = "0.1.0"
        file.attrs["provenance"] = json.dumps(PROVENANCE)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
