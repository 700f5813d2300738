"""Dataclasses of numbers and arrays as a few arrays, in which a number of them travel to workers, back, and into a journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np

from distverify.questions.pieces import Arrays

S = TypeVar("S")


@dataclass(frozen=True, eq=False)
class Stack(Generic[S]):
    """Instances of one dataclass, whose fields are arrays, floats or whole numbers.

    Attributes
    ----------
    kind : type
    count : int
    arrays : dict name -> array
        Of each field the values one after the other, flat; of an array field their shapes too.
    """

    kind: type[S]
    count: int
    arrays: Arrays

    @classmethod
    def of(cls, kind: type[S], items: Sequence[S]) -> Stack[S]:
        """``items``, all of type ``kind``."""
        arrays: Arrays = {}
        for field in fields(kind):  # type: ignore[arg-type]
            values = [np.asarray(getattr(item, field.name)) for item in items]
            if not values:
                continue
            if isinstance(getattr(items[0], field.name), np.ndarray):
                arrays[f"{field.name}.shape"] = np.array([v.shape for v in values], dtype=np.int64)
            arrays[field.name] = np.concatenate([v.reshape(-1) for v in values])
        return cls(kind, len(items), arrays)

    @classmethod
    def read(cls, kind: type[S], arrays: Arrays, prefix: str) -> Stack[S]:
        """The inverse of :meth:`named`."""
        own = {name[len(prefix) :]: values for name, values in arrays.items() if name.startswith(prefix)}
        count = int(own.pop("count")[0])
        return cls(kind, count, own)

    def named(self, prefix: str) -> Arrays:
        """The arrays with names that begin with ``prefix``."""
        named: Arrays = {prefix + name: values for name, values in self.arrays.items()}
        named[f"{prefix}count"] = np.array([self.count])
        return named

    def items(self) -> list[S]:
        """All of them, with arrays of their own."""
        columns: dict[str, list[Any]] = {}
        for field in fields(self.kind) if self.count else ():  # type: ignore[arg-type]
            values = self.arrays[field.name]
            if f"{field.name}.shape" not in self.arrays:
                columns[field.name] = values.tolist()
                continue
            shapes = [tuple(shape) for shape in self.arrays[f"{field.name}.shape"].tolist()]
            ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
            columns[field.name] = [
                values[first:last].reshape(shape).copy()
                for first, last, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
            ]
        return [self.kind(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
