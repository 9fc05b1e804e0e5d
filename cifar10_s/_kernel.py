"""The compiled inner loop of `moments` on the CPU (numba)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
FLUSH = 65_536


def compiled(function: Callable[..., None]) -> Any:
    """Compile a function; keep the result on disk where this machine has a place to write it."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def add_four(a: Any, b: Any, c: Any, d: Any, sums: Any, products: Any) -> None:
    """Add four images' bytes to ``sums``, and their products with themselves shifted by s to ``products[s]``.

    Four images a call, because reading and writing the 32-bit sums costs more than the products.
    Sums of four bytes and products of two fit 16 bits, which twice as many lanes hold.
    """
    for p in range(sums.size):
        sums[p] += np.uint16(np.uint16(a[p]) + np.uint16(b[p]) + np.uint16(c[p]) + np.uint16(d[p]))
    for s in range(products.shape[0]):
        row = products[s]
        for p in range(min(sums.size, a.size - s)):
            row[p] += (
                np.uint32(np.uint16(np.uint16(a[p]) * np.uint16(a[p + s])))
                + np.uint32(np.uint16(np.uint16(b[p]) * np.uint16(b[p + s])))
                + np.uint32(np.uint16(np.uint16(c[p]) * np.uint16(c[p + s])))
                + np.uint32(np.uint16(np.uint16(d[p]) * np.uint16(d[p + s])))
            )


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    index: NDArray[np.int64],
    start: int,
    stop: int,
    total_sums: NDArray[np.int64],
    total_products: NDArray[np.int64],
) -> None:
    """Add columns ``start`` to ``stop`` of the images ``rows[index]`` to the totals.

    ``rows`` is (N, D), an image a row; ``total_sums`` (D,); ``total_products`` (C, D), where entry (s, p)
    is the sum of byte p times byte p + s.
    """
    shifts = total_products.shape[0]
    zeros = np.zeros(rows.shape[1] - start, np.uint8)
    for first in range(0, index.size, FLUSH):
        last = min(first + FLUSH, index.size)
        sums = np.zeros(stop - start, np.uint32)
        products = np.zeros((shifts, stop - start), np.uint32)
        for n in range(first, last, 4):
            a = rows[index[n], start:]
            b = rows[index[n + 1], start:] if n + 1 < last else zeros
            c = rows[index[n + 2], start:] if n + 2 < last else zeros
            d = rows[index[n + 3], start:] if n + 3 < last else zeros
            add_four(a, b, c, d, sums, products)
        for p in range(stop - start):
            total_sums[start + p] += sums[p]
            for s in range(shifts):
                total_products[s, start + p] += products[s, p]
