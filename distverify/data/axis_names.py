"""What inputs and outputs are called, where options say it."""

from __future__ import annotations

import os

from distverify.data.vector import read_names
from distverify.errors import SettingsError
from distverify.options import parse
from distverify.options.run import Inputs
from distverify.settings import Settings


def axis_names(points: int, outputs: int, inputs: Inputs, settings: Settings) -> dict[str, tuple[str, ...]]:
    """The names of inputs and outputs that are said, checked; a parameter of perturbations has its family's.

    Raises
    ------
    SettingsError, DataError
    """
    called: dict[str, tuple[str, ...]] = {}
    if settings.family not in ("", "linear"):
        called["input"] = (settings.family,)
    given = {"input": (inputs.input_names, points), "output": (inputs.output_names, outputs)}
    for axis, (value, size) in given.items():
        if value is None:
            continue
        # A text is what was typed; a Path is a file.
        names = parse.names(value) if isinstance(value, str) else value
        if isinstance(names, os.PathLike):
            names = read_names(names)
        called[axis] = tuple(str(name).strip() for name in names)
        if len(called[axis]) != size or not all(called[axis]):
            got = "an empty name" if len(called[axis]) == size else f"{len(called[axis])} names"
            raise SettingsError(
                f"{axis}_names: got {got}; the network has {size} {axis}s, give a name for each with commas between them"
            )
    return called
