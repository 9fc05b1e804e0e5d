"""The compiled inner loops of `moments` and `ssim` on the CPU (numba)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
FLUSH = 65_536

# The constants of SSIM, (K·L)² with L = 255, that keep its quotients from 0 / 0.
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function; keep the result on disk where this machine has a place to write it."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


@compiled
def add_eight(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, sums: Any, products: Any) -> None:
    """Add eight images' bytes to ``sums``, and their products with themselves shifted by s to ``products[s]``.

    Eight images a call, because reading and writing the 32-bit sums costs more than the products.
    """
    for p in range(sums.size):
        low = np.uint16(np.uint16(a[p]) + np.uint16(b[p]) + np.uint16(c[p]) + np.uint16(d[p]))
        sums[p] += np.uint16(low + np.uint16(e[p]) + np.uint16(f[p]) + np.uint16(g[p]) + np.uint16(h[p]))
    for s in range(products.shape[0]):
        row = products[s]
        for p in range(min(sums.size, a.size - s)):
            low = square(a, p, s) + square(b, p, s) + square(c, p, s) + square(d, p, s)
            row[p] += np.uint32(low + square(e, p, s) + square(f, p, s) + square(g, p, s) + square(h, p, s))


@compiled
def square(row: Any, p: int, s: int) -> Any:
    """Multiply two bytes of a row; of 32 bits, since compilers then find the instruction that also adds."""
    return np.int32(row[p]) * np.int32(row[p + s])


@compiled
def add_one(a: Any, sums: Any, products: Any) -> None:
    """Do the same with one image."""
    for p in range(sums.size):
        sums[p] += a[p]
    for s in range(products.shape[0]):
        row = products[s]
        for p in range(min(sums.size, a.size - s)):
            row[p] += np.uint32(square(a, p, s))


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    index: NDArray[np.int64],
    start: int,
    sums: NDArray[np.uint32],
    products: NDArray[np.uint32],
) -> None:
    """Add columns ``start`` to ``start + P`` of the images ``rows[index]`` to sums over `FLUSH` images at most.

    ``rows`` is (N, D), an image a row; ``sums`` (P,); ``products`` (C, P), where entry (s, p) is the sum of byte p
    times byte p + s.
    """
    whole = index.size - index.size % 8
    for n in range(0, whole, 8):
        a, b, c, d = rows[index[n]], rows[index[n + 1]], rows[index[n + 2]], rows[index[n + 3]]
        e, f, g, h = rows[index[n + 4]], rows[index[n + 5]], rows[index[n + 6]], rows[index[n + 7]]
        add_eight(
            a[start:], b[start:], c[start:], d[start:], e[start:], f[start:], g[start:], h[start:], sums, products
        )
    for n in range(whole, index.size):
        add_one(rows[index[n], start:], sums, products)


@compiled
def blur(values: Any, start: int, step: int, weights: Any, blurred: Any) -> None:
    """Put Σ_t weights[t]·values[start + t·step + p] into ``blurred[p]``; the weights are symmetric, an odd number."""
    half = weights.size // 2
    middle = values[start + half * step :]
    for p in range(blurred.size):
        blurred[p] = weights[half] * middle[p]
    for t in range(half):
        first, last = values[start + t * step :], values[start + (weights.size - 1 - t) * step :]
        for p in range(blurred.size):
            blurred[p] += weights[t] * (first[p] + last[p])


@compiled
def fill(x: Any, y: Any, planes: Any, start: int) -> None:
    """Write from ``start`` on what SSIM averages: x, y, x² + y² and x·y."""
    a, b, squares, product = planes[0, start:], planes[1, start:], planes[2, start:], planes[3, start:]
    for p in range(x.size):
        a[p], b[p] = np.float64(x[p]), np.float64(y[p])
        squares[p] = a[p] * a[p] + b[p] * b[p]
        product[p] = a[p] * b[p]


@compiled
def sum_ssim(means: Any) -> float:
    """Sum up the SSIM of windows from their means of x, y, x² + y² and x·y, (4, P); ``means[0]`` is overwritten."""
    a, b, squares, product = means[0], means[1], means[2], means[3]
    for p in range(a.size):
        ab, aa_bb = a[p] * b[p], a[p] * a[p] + b[p] * b[p]
        similar = (2 * ab + SSIM_C1) * (2 * (product[p] - ab) + SSIM_C2)
        a[p] = similar / ((aa_bb + SSIM_C1) * (squares[p] - aa_bb + SSIM_C2))
    total = 0.0
    for p in range(a.size):
        total += a[p]
    return total


@compiled
def mean_ssim(
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    channels: int,
    weights: NDArray[np.float64],
    ssim: NDArray[np.float64],
) -> None:
    """Write each pair's mean SSIM over the windows that lie in the image.

    ``x`` and ``y`` are (N, H, W·C); ``weights`` those of a window's rows and of its columns; ``ssim`` (N,).
    Windows in which nothing differs have SSIM 1 to the last bit, so rows of such are counted, not computed.
    """
    _, height, row = x.shape
    side, inner = weights.size, row - (weights.size - 1) * channels
    planes, means = np.empty((4, height * row)), np.empty((4, inner))
    blurred = np.empty(row)
    for n in range(x.shape[0]):
        total, unchanged = 0.0, 0
        for i in range(height):
            fill(x[n, i], y[n, i], planes, i * row)
            unchanged = unchanged + 1 if np.array_equal(x[n, i], y[n, i]) else 0
            if unchanged >= side:
                total += inner
            elif i >= side - 1:
                for k in range(4):
                    blur(planes[k], (i - side + 1) * row, row, weights, blurred)
                    blur(blurred, 0, channels, weights, means[k])
                total += sum_ssim(means)
        ssim[n] = total / ((height - side + 1) * inner)
