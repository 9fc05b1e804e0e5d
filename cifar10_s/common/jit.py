"""Compile inner loops with numba, or fall back to their plain versions."""

import logging
from collections.abc import Callable
from typing import Any

from numba import extending, njit

from cifar10_s.errors import one_line

logger = logging.getLogger(__name__)

Function = Callable[..., Any]


def compiled(function: Function) -> Any:
    """Compile a function on its first call, and cache the machine code on disk if there is a writable folder.

    The cache is valid until the function's own file changes, so constants that are compiled in belong in that file.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


def inlined(function: Function) -> Any:
    """Compile a function into its callers, together with the constants that they pass."""
    return njit(inline="always")(function)


def intrinsic(function: Function) -> Any:
    """Register a function that emits LLVM IR as a numba intrinsic; constants in a call arrive as literal types."""
    return extending.intrinsic(prefer_literal=True)(function)


def compiled_or_plain(kernel: Function, plain: Function, no_work: tuple[Any, ...]) -> Function:
    """Return a kernel if it compiles on this machine; otherwise warn, and return its plain version.

    Parameters
    ----------
    kernel, plain
        Two functions that compute the same; ``kernel`` is `compiled`.
    no_work
        Arguments of the types that the kernel is called with, but empty: a call that only compiles it.
    """
    try:
        kernel(*no_work)
    except Exception as error:  # numba, llvmlite and whatever emits LLVM IR raise what they like
        logger.warning(
            "%s does not compile here (%s): continuing with %s, slower", _name(kernel), one_line(error), _name(plain)
        )
        return plain
    return kernel


def _name(function: Function) -> str:
    return f"{function.__module__}.{function.__name__}"
