"""Files that a command writes: refused where they would destroy what it reads, or could not hold what it writes."""

from __future__ import annotations

import os
from collections.abc import Iterable

from distverify.errors import SettingsError
from distverify.options.values import path_of

RESULT_SUFFIXES = (".h5", ".hdf5", ".nc", ".nc4", "")


def check_output(
    path: str | os.PathLike[str], suffixes: tuple[str, ...], read: Iterable[object] = (), name: str = "output"
) -> None:
    """Refuse to write ``path`` before anything is computed.

    Parameters
    ----------
    path : path
    suffixes : tuple of str
        Endings that its name may have; "" for none.
    read : iterable
        What the command reads; paths among it must not be ``path``, by any link.
    name : str
        Of the option, for the message.

    Raises
    ------
    SettingsError
    """
    target = path_of(name, path)
    if target.suffix.lower() not in suffixes:
        endings = ", ".join(s for s in suffixes if s)
        raise SettingsError(f"{name}: got {target.name!r}; its name must end in {endings}")
    if not os.path.lexists(target):
        return
    for source in read:
        if isinstance(source, str | os.PathLike) and os.path.exists(source) and os.path.samefile(source, target):
            raise SettingsError(f"{name}: {target} is what is read ({source}); name another file")
    if target.exists() and not target.is_file():
        raise SettingsError(f"{name}: {target} is no regular file (a folder, a device or a pipe); name another file")
