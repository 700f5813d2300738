"""Values that Python callers give, as what they should be, or a sentence that says which is not."""

from __future__ import annotations

import dataclasses
import numbers as abstract
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distverify.errors import SettingsError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_LONGEST = 60
# What is said of a field by the names in its annotation, and what counts as such.
_KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "bool": ("True or False", (bool,)),
    "int": ("a whole number", (abstract.Integral,)),
    "float": ("a number", (abstract.Real,)),
    "str": ("a text", (str,)),
}


def shown(value: Any) -> str:
    """``value`` for a message: itself where it is short, else its type."""
    text = repr(value) if isinstance(value, str | int | float | bool | type(None)) else type(value).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def check_kinds(options: Any, but: Iterable[str] = ()) -> None:
    """Refuse values of a dataclass that are of another kind than its fields, where those are plain ones.

    Raises
    ------
    SettingsError
    """
    for field in dataclasses.fields(options):
        names = [name for name in str(field.type).split(" | ") if name != "None"]
        value = getattr(options, field.name)
        if field.name in but or not set(names) <= set(_KINDS) or (value is None and "None" in str(field.type)):
            continue
        accepted = tuple(kind for name in names for kind in _KINDS[name][1])
        if not isinstance(value, accepted) or (isinstance(value, bool) and "bool" not in names):
            wanted = " or ".join(_KINDS[name][0] for name in names)
            raise SettingsError(f"{field.name}: got {shown(value)}; give {wanted}")


def whole(name: str, value: Any, least: int) -> int:
    """``value`` as a whole number of at least ``least``.

    Raises
    ------
    SettingsError
    """
    if isinstance(value, bool) or not isinstance(value, abstract.Integral) or int(value) < least:
        raise SettingsError(f"{name}: got {shown(value)}; give a whole number of at least {least}")
    return int(value)


def number(name: str, value: Any, what: str) -> float:
    """``value`` as a float; ``what`` says what to give."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}: got {shown(value)}; give {what}") from None


def numbers(name: str, value: Any, what: str) -> NDArray[np.float64]:
    """``value`` as float64.

    Raises
    ------
    SettingsError
        Not numbers; ``what`` says what to give.
    """
    import numpy as np  # not at the top: `--help` must not wait for it

    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise SettingsError(f"{name}: got {shown(value)}; give {what}") from None


def path_of(name: str, value: Any) -> Path:
    """``value`` as a path.

    Raises
    ------
    SettingsError
    """
    if not isinstance(value, str | os.PathLike):
        raise SettingsError(f"{name}: got {shown(value)}; give the path of a file")
    return Path(value)
