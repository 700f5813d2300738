"""The engine ``distverify`` of xarray: result files with texts as text and with the accessor ``dv``.

Texts are UTF-8 of a fixed length, which checksums and the views of unfinished runs cover; strings of variable length are reached by
neither. xarray's engine ``netcdf4`` shows them as text, its engine ``h5netcdf`` as bytes, and the attribute ``_Encoding`` that would
tell the second one to decode them makes the first one fail.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

_backends: Any = importlib.import_module("xarray.backends")


class ResultBackend(_backends.BackendEntrypoint):  # type: ignore[misc]
    """What ``xarray.open_dataset(path, engine="distverify")`` opens a result by."""

    description = "Result files of distverify: texts as text, and the accessor dv"
    url = "https://github.com/distverify/distverify/blob/main/docs/RESULTS.md"
    open_dataset_parameters = ("filename_or_obj", "drop_variables")

    def open_dataset(self, filename_or_obj: Any, *, drop_variables: Any = None) -> Any:
        """A result as a lazy Dataset; its texts are read at once.

        Parameters
        ----------
        filename_or_obj : path or stream
        drop_variables : str or sequence of str, optional

        Returns
        -------
        xarray.Dataset
        """
        importlib.import_module("distverify.results.accessor")
        data = _backends.H5netcdfBackendEntrypoint().open_dataset(filename_or_obj, drop_variables=drop_variables)
        texts = {name: values for name, values in data.variables.items() if values.dtype.kind == "S"}
        for name, values in texts.items():
            data[name] = (values.dims, np.char.decode(values.values, "utf-8", "replace"), values.attrs)
        return data
