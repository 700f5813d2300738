"""Part I of N of a run, for job arrays and several clusters: ``merge`` makes one result of all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from distverify.data.vnnlib.property import digest
from distverify.errors import DataError, SettingsError
from distverify.inputs import Prepared
from distverify.options.parse import part_of


def take_part(prepared: Prepared, part: str) -> Prepared:
    """The samples I - 1, I - 1 + N, ... of what is prepared; in :attr:`Prepared.part` what they are a part of.

    Neighbouring samples are often of one kind, so that each part gets its share of the slow ones.

    Parameters
    ----------
    prepared : Prepared
        Of the whole run.
    part : str
        "I/N".

    Returns
    -------
    Prepared
        Its ``part`` has ``number``, ``of``; ``digest`` and ``samples`` (their number) of the whole.

    Raises
    ------
    DataError
        More parts than samples.
    SettingsError
        No part.
    """
    try:
        number, of = part_of(part)
    except (ValueError, AttributeError) as error:
        raise SettingsError(f"part: {error}") from None
    positions = np.arange(number - 1, prepared.data.size, of, dtype=np.int64)
    if not positions.size:
        raise DataError(f"part: {part} holds none of {prepared.data.size} samples; give at most so many parts")
    told = {"number": number, "of": of, "digest": prepared.digest, "samples": prepared.data.size}
    taken = replace(prepared.take(positions), part=told)
    if prepared.properties:
        chosen = {int(i): prepared.properties[int(i)] for i in taken.data.indices}
        taken = replace(taken, properties=chosen, digest=digest(tuple(chosen.values())))
    return taken
