"""How inner loops are compiled (numba)."""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function; keep the result on disk where this machine has a place to write it.

    What is kept is used until the function's own file changes: numbers that it is compiled with belong there.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


def instruction(function: Callable[..., Any]) -> Any:
    """Make a word of a function that writes the machine's code for it; it is given the numbers that stand in a call."""
    return intrinsic(prefer_literal=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into those that call it, with the constants that they give it."""
    return njit(inline="always")(function)
