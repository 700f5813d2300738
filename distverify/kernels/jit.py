"""JIT options, in one place.

No fast-math: a bound must not depend on reordered or contracted arithmetic that the rounding terms do not know of.
``cache`` keeps compiled kernels in the installed package, so that a machine compiles once. ``error_model="numpy"`` keeps
IEEE division (x / 0 = inf) instead of raising. Read-only arrays, which Ray delivers, are accepted without a second compile
because every signature is given eagerly and marked read-only where the kernel only reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache, wraps
from threading import Lock

from numba import njit, types

from distverify.kernels.cache import ensure_cache_folder, keep

ensure_cache_folder()

_log = logging.getLogger(__name__)
_OPTIONS = {"fastmath": False, "error_model": "numpy", "nogil": True}

f4 = types.float32
f8 = types.float64
i8 = types.int64
b1 = types.boolean
void = types.void
tuple_of = types.Tuple


def readonly(ndim: int, dtype: types.Type = f8) -> types.Array:
    """Type of a C-ordered array that a kernel only reads: accepts writable and read-only arrays."""
    return types.Array(dtype, ndim, "C", readonly=True)


def writable(ndim: int, dtype: types.Type = f8) -> types.Array:
    """Type of a C-ordered array that a kernel writes or returns."""
    return types.Array(dtype, ndim, "C")


def for_both(signature: Callable[[types.Type], object]) -> tuple[object, ...]:
    """The signature for large arrays of double and of single precision; vectors and scalars are always double."""
    return signature(f8), signature(f4)


def kernel(*signatures: object):
    """Compile ahead, with the project's options, for the given signatures."""

    def compiled(function: Callable[..., object]):
        made = keep(njit(**_OPTIONS)(function))
        for signature in signatures:
            made.compile(signature)
        made.disable_compile()
        if made.stats.cache_misses:
            _tell_once()
        return made

    return compiled


def kernel_on_demand(*signatures: object):
    """As :func:`kernel`, but compiled at the first call: for what most runs never call (searches, convolutions).

    Python alone may call it, not another kernel.
    """

    def deferred(function: Callable[..., object]):
        made: list[Callable[..., object]] = []
        lock = Lock()

        def compiled() -> Callable[..., object]:
            with lock:
                if not made:
                    made.append(kernel(*signatures)(function))
            return made[0]

        @wraps(function)
        def call(*arguments: object) -> object:
            return (made[0] if made else compiled())(*arguments)

        _ON_DEMAND.append(compiled)
        return call

    return deferred


_ON_DEMAND: list[Callable[[], Callable[..., object]]] = []


def compile_on_demand() -> list[Callable[..., object]]:
    """Every kernel on demand of the modules imported so far, compiled or loaded now."""
    return [compiled() for compiled in _ON_DEMAND]


@cache
def _tell_once() -> None:
    _log.warning("compiling kernels, once per installation; this may take a minute")


def helper(function: Callable[..., object]):
    """A function that kernels call: compiled with them."""
    return keep(njit(**_OPTIONS, inline="never")(function))
