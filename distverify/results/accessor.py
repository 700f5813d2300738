"""``ds.dv`` of an xarray Dataset that was a result file: what one asks of a certification, with names and coordinates.

``Result.to_xarray`` and ``distverify.open_results`` bring it along; for files that xarray opened by itself, import this module.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from distverify.errors import ResultError, SettingsError, argument
from distverify.results.facts import certified_accuracy
from distverify.results.schema import IMAGE_AXES

xarray: Any = importlib.import_module("xarray")
_AXES = ("row", "column", "channel")


@xarray.register_dataset_accessor("dv")
class Certification:
    """A result in an xarray Dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        Of a result file.
    """

    def __init__(self, dataset: Any) -> None:
        if "status" not in dataset or "provenance" not in dataset.attrs:
            raise SettingsError(
                "dv: this Dataset is no result of distverify; open one (dv.open_result(path).to_xarray())"
            )
        self._dataset = dataset

    @property
    def provenance(self) -> dict[str, Any]:
        """Hashes of model and data, settings, command, packages, platform, start and end."""
        loaded: dict[str, Any] = json.loads(self._dataset.attrs["provenance"])
        return loaded

    def certified_accuracy(self, eps: ArrayLike) -> Any:
        """Share of the computed samples whose certified radius is at least ``eps``.

        Parameters
        ----------
        eps : array_like [n]
            Any radii, in the units of the result.

        Returns
        -------
        xarray.DataArray
            float64, with the dimension and coordinate ``eps``.

        Raises
        ------
        ResultError
            Without radii.
        """
        self._need("radius", f"compute it ({argument('compute', 'radius')})")
        arrays = {name: self._dataset[name].values for name in ("status", "radius")}
        radii = np.atleast_1d(np.asarray(eps, dtype=np.float64))
        attributes = {"long_name": "certified accuracy", "units": "1"}
        return xarray.DataArray(
            certified_accuracy(arrays, radii), {"eps": radii}, ("eps",), "certified_accuracy", attributes
        )

    def image(self, sample: int, variable: str = "x0") -> Any:
        """What a sample holds for each input, as an image.

        Parameters
        ----------
        sample : int
            Its index in the data set, as in the coordinate ``sample``.
        variable : str
            With the dimensions ``sample`` and ``input``: ``x0``, the sample itself (there with ``--compute jacobian``), or
            ``counterexample``.

        Returns
        -------
        xarray.DataArray
            With the dimensions ``row`` and ``column`` (and ``channel``) where the network takes images, else ``input``.

        Raises
        ------
        ResultError
            There is no such variable or sample.
        """
        return self._folded(self._of_sample(sample, variable))

    def derivative_map(self, sample: int, output: int, eps: float | None = None) -> Any:
        """The middle of the Jacobian bounds of one output, as an image, with the largest of lower and upper bounds beside.

        Parameters
        ----------
        sample, output : int
            Index in the data set, and output row.
        eps : float, optional
            One of the result's radii. Default: the smallest.

        Returns
        -------
        xarray.Dataset
            ``lower``, ``upper``, ``middle``: by ``row`` and ``column`` (and ``channel``), or ``input``.

        Raises
        ------
        ResultError
            Without Jacobians; no such sample, output or radius.
        """
        radii = self._dataset["eps"].values
        which = float(radii.min()) if eps is None else float(eps)
        if not np.isclose(radii, which, rtol=1e-12, atol=0.0).any():
            raise ResultError(
                f"eps: {which:g} is no radius of this result; there are {', '.join(f'{r:g}' for r in radii)}"
            )
        if not 0 <= output < self._dataset.sizes["output"]:
            raise ResultError(f"output: got {output}; there are 0 to {self._dataset.sizes['output'] - 1}")
        found = {}
        for end in ("lower", "upper"):
            one = self._of_sample(sample, f"jacobian_{end}").isel(output=output).sel(eps=which, method="nearest")
            found[end] = self._folded(one)
        return xarray.Dataset(found | {"middle": 0.5 * found["lower"] + 0.5 * found["upper"]})

    def _of_sample(self, sample: int, variable: str) -> Any:
        self._need(
            variable, f"compute it ({argument('compute', 'jacobian')} for x0 and Jacobians, attack for counterexamples)"
        )
        places = np.flatnonzero(self._dataset["sample"].values == sample)
        if not places.size:
            raise ResultError(f"sample: {sample} is not in this result; its coordinate sample lists those that are")
        return self._dataset[variable].isel(sample=int(places[0]))

    def _folded(self, values: Any) -> Any:
        """``values`` by row, column and channel where the result says where each input stands."""
        names = {axis: IMAGE_AXES[axis].name for axis in _AXES if IMAGE_AXES[axis].name in self._dataset}
        if "input" not in values.dims or not names:
            return values
        places = {axis: self._dataset[name].values for axis, name in names.items()}
        plain = values.drop_vars([n for n in values.coords if "input" in values[n].dims])
        index = importlib.import_module("pandas").MultiIndex.from_arrays(list(places.values()), names=list(places))
        coordinates = xarray.Coordinates.from_pandas_multiindex(index, "input")
        return plain.assign_coords(coordinates).unstack("input")

    def _need(self, variable: str, otherwise: str) -> None:
        if variable not in self._dataset:
            raise ResultError(f"{variable}: is not in this result; {otherwise}")


def open_results(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Any:
    """Several results as one xarray DataTree, a node for each file by its name.

    Parameters
    ----------
    paths : str, path, or a sequence of them
        A text may hold ``*``, ``?`` and ``**``.

    Returns
    -------
    xarray.DataTree
        Lazy; ``tree["name"].ds.dv`` is the accessor.

    Raises
    ------
    ResultError
        No file, or one that is no result; h5netcdf or xarray is not installed.
    SettingsError
        ``paths`` is none.
    """
    from distverify.results.reader import open_result

    if isinstance(paths, str | os.PathLike):
        found = sorted(glob.glob(os.fspath(paths), recursive=True))
        if not found:
            raise ResultError(f"{paths}: no such file; check the pattern")
    elif isinstance(paths, Sequence) and all(isinstance(p, str | os.PathLike) for p in paths):
        found = [os.fspath(p) for p in paths]
    else:
        raise SettingsError(
            f"paths: got {type(paths).__name__}; give a pattern such as 'runs/*.h5', or a list of paths"
        )
    names = [Path(path).stem for path in found]
    if len(set(names)) < len(names):
        names = [str(Path(path).with_suffix("")).strip("/").replace("..", "_") for path in found]
    return xarray.DataTree.from_dict(
        {name: open_result(path).to_xarray() for name, path in zip(names, found, strict=True)}
    )
