"""JIT options, in one place; Numba itself is imported when the first kernel is called.

No fast-math: a bound must not depend on reordered or contracted arithmetic that the rounding terms do not know of.
``cache`` keeps compiled kernels in the installed package, so that a machine compiles once. ``error_model="numpy"`` keeps
IEEE division (x / 0 = inf) instead of raising. Read-only arrays, which Ray delivers, are accepted without a second compile
because every signature is given in full and marked read-only where the kernel only reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache, wraps
from threading import RLock
from types import CodeType
from typing import Any

from distverify.kernels.cache import ensure_cache_folder, keep

_log = logging.getLogger(__name__)
_OPTIONS = {"fastmath": False, "error_model": "numpy", "nogil": True}
# One kernel is compiled at a time.
_LOCK = RLock()


class NumbaType:
    """A type of Numba's, or the signature that a call with the arguments' types makes, once Numba is there.

    Parameters
    ----------
    make : callable () -> the type
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __call__(self, *arguments: NumbaType) -> NumbaType:
        return NumbaType(lambda: self.make()(*(a.make() for a in arguments)))


def _named(name: str) -> NumbaType:
    def make() -> Any:
        from numba import types

        return getattr(types, name)

    return NumbaType(make)


f4, f8, i4, i8, b1, void = map(_named, ("float32", "float64", "int32", "int64", "boolean", "void"))


def _array(ndim: int, dtype: NumbaType, readonly: bool) -> NumbaType:
    def make() -> Any:
        from numba import types

        return types.Array(dtype.make(), ndim, "C", readonly=readonly)

    return NumbaType(make)


def readonly(ndim: int, dtype: NumbaType = f8) -> NumbaType:
    """Type of a C-ordered array that a kernel only reads: accepts writable and read-only arrays."""
    return _array(ndim, dtype, readonly=True)


def writable(ndim: int, dtype: NumbaType = f8) -> NumbaType:
    """Type of a C-ordered array that a kernel writes or returns."""
    return _array(ndim, dtype, readonly=False)


def for_both(signature: Callable[[NumbaType], NumbaType]) -> tuple[NumbaType, ...]:
    """The signature for large arrays of double and of single precision; vectors and scalars are always double."""
    return signature(f8), signature(f4)


class Deferred:
    """What compiled code refers to by a global name, and what is made when that code is compiled.

    Parameters
    ----------
    make : callable () -> what stands for it in compiled code
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._made = make, None

    @property
    def made(self) -> Any:
        with _LOCK:
            if self._made is None:
                self._made = self._make()
            return self._made

    def __call__(self, *arguments: object) -> object:
        return self.made(*arguments)


def prepared(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, once all deferred objects that its code names are made, and stand in their module's place."""
    start()
    names = function.__globals__
    for name in _names_of(function.__code__):
        found = names.get(name)
        found = getattr(found, "deferred", found)
        if isinstance(found, Deferred):
            names[name] = found.made
    return function


def _names_of(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of(constant)


_AT_START: list[Callable[[], None]] = [ensure_cache_folder]


def at_start(function: Callable[[], None]) -> Callable[[], None]:
    """Have ``function`` called once, before anything that refers to it is compiled or loaded."""
    if start.cache_info().currsize:
        function()
    else:
        _AT_START.append(function)
    return function


@cache
def start() -> None:
    """Get ready to compile."""
    for function in _AT_START:
        function()


def _compiled(function: Callable[..., object], signatures: tuple[NumbaType, ...]) -> Any:
    from numba import njit

    made = keep(njit(**_OPTIONS)(prepared(function)))
    for signature in signatures:
        made.compile(signature.make())
    made.disable_compile()
    if made.stats.cache_misses:
        _tell_once()
    return made


def _called_from_python(
    function: Callable[..., object], signatures: tuple[NumbaType, ...], known: list[Deferred]
) -> Any:
    deferred = Deferred(lambda: _compiled(function, signatures))
    ready: list[Any] = []

    @wraps(function)
    def call(*arguments: object) -> object:
        if not ready:
            ready.append(deferred.made)
        if _BEFORE_CALLS:
            _get_ready()
        return ready[0](*arguments)

    call.deferred = deferred  # type: ignore[attr-defined]
    known.append(deferred)
    return call


_BEFORE_CALLS: list[Callable[[], None]] = []


def before_next_call(function: Callable[[], None]) -> None:
    """Have ``function`` called before the next kernel is."""
    with _LOCK:
        _BEFORE_CALLS.append(function)


def _get_ready() -> None:
    with _LOCK:
        for function in _BEFORE_CALLS:
            function()
        _BEFORE_CALLS.clear()


_COMMON: list[Deferred] = []
_ON_DEMAND: list[Deferred] = []


def kernel(*signatures: NumbaType):
    """Compile, with the project's options, for the given signatures: at the first call, or as a run warms up."""
    return lambda function: _called_from_python(function, signatures, _COMMON)


def kernel_on_demand(*signatures: NumbaType):
    """As :func:`kernel`, for what most runs never call (searches, convolutions): they do not warm it up."""
    return lambda function: _called_from_python(function, signatures, _ON_DEMAND)


def compile_kernels(on_demand: bool = False) -> list[Any]:
    """Every kernel of the modules imported so far, compiled or loaded now; those on demand only if they are asked for."""
    return [deferred.made for deferred in (*_COMMON, *(_ON_DEMAND if on_demand else ()))]


@cache
def _tell_once() -> None:
    _log.warning("compiling kernels, once per installation; this may take a minute")


def helper(function: Callable[..., object]) -> Any:
    """A function that kernels call: compiled with them."""

    def make() -> Any:
        from numba import njit

        return keep(njit(**_OPTIONS, inline="never")(prepared(function)))

    return Deferred(make)


def instruction(function: Callable[..., object]) -> Any:
    """A function of Numba's typing context that kernels call, and that writes its own machine code."""

    def make() -> Any:
        from numba.extending import intrinsic

        return intrinsic(function)

    return Deferred(make)
