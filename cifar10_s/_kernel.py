"""The compiled inner loops of `moments` and `ssim` on the CPU (numba)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cifar10_s._prefetch import LINE, prefetch

# Columns that are summed at a time: with them, what eight images' sums need stays in a core's first cache.
STRIP = 768
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
def fetch(row: Any) -> None:
    """Ask for a row's bytes ahead of their use: no processor foresees where the next image of a class lies."""
    for p in range(0, row.size, LINE):
        prefetch(row, p)


@compiled
def interleave(a: Any, b: Any, pairs: Any) -> None:
    """Write two images' bytes side by side, the second's in the upper half."""
    for p in range(a.size):
        pairs[p] = np.uint32(a[p]) | np.uint32(np.uint32(b[p]) << np.uint32(16))


@compiled
def multiply(halves: Any, p: int, s: int) -> Any:
    """Add up two images' products of their bytes p and p + s, which is one instruction for eight bytes.

    No such sum is below 0; that it is said keeps compilers from tearing it apart.
    """
    first = np.int32(halves[2 * p]) * np.int32(halves[2 * (p + s)])
    second = np.int32(halves[2 * p + 1]) * np.int32(halves[2 * (p + s) + 1])
    return max(np.int32(first + second), np.int32(0))


@compiled
def add_eight(pairs: Any, sums: Any, products: Any, start: int, stop: int) -> None:
    """Add columns of four pairs of images to ``sums``, and their products with those shifted by s to ``products[s]``.

    Eight images a call, because reading and writing the 32-bit sums costs more than the products.
    """
    sums, row = sums[start:stop], products[0][start:stop]
    a, b, c, d = pairs[0].view(np.int16), pairs[1].view(np.int16), pairs[2].view(np.int16), pairs[3].view(np.int16)
    for p in range(sums.size):
        both = np.uint32(pairs[0, p] + pairs[1, p] + pairs[2, p] + pairs[3, p])
        sums[p] += np.uint32(both & np.uint32(0xFFFF)) + np.uint32(both >> np.uint32(16))
        row[p] += np.uint32(multiply(a, p, 0) + multiply(b, p, 0) + multiply(c, p, 0) + multiply(d, p, 0))
    for s in range(1, products.shape[0]):
        row = products[s][start:stop]
        for p in range(row.size):
            row[p] += np.uint32(multiply(a, p, s) + multiply(b, p, s) + multiply(c, p, s) + multiply(d, p, s))


@compiled
def add_one(row: Any, sums: Any, products: Any) -> None:
    """Do the same with one image, of which ``row`` may end before the last shifted byte."""
    for p in range(sums.size):
        sums[p] += row[p]
    for s in range(products.shape[0]):
        of_shift = products[s]
        for p in range(min(sums.size, row.size - s)):
            of_shift[p] += np.uint32(np.int32(row[p]) * np.int32(row[p + s]))


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    start: int,
    sums: NDArray[np.uint32],
    products: NDArray[np.uint32],
) -> None:
    """Add columns ``start`` to ``start + P`` of images to the sums of their classes.

    With those before, at most `compiled_sums.FLUSH` of a class. ``rows`` is (N, D), an image a row; ``order`` (N,)
    their numbers, class by class, of which class k has ``counts[k]``. ``sums`` is (K, P); ``products`` (K, C, P), where
    entry (k, s, p) is the sum of byte p times byte p + s.
    """
    width, more = sums.shape[1], products.shape[1] - 1
    # A whole line of the cache more for what is shifted in, or loads would cross lines. Behind an image's end stands
    # anything: its products are none that are asked for.
    pairs = np.zeros((4, STRIP + LINE // 4), np.uint32)
    first = 0
    for label in range(counts.size):
        end = first + counts[label]
        whole = end - counts[label] % 8
        for n in range(first, whole, 8):
            for strip in range(0, width, STRIP):
                stop = min(strip + STRIP, width)
                for i in range(4):
                    for following in order[n + 8 + 2 * i : n + 10 + 2 * i]:
                        fetch(rows[following][start + strip : start + stop])
                    a, b = rows[order[n + 2 * i]], rows[order[n + 2 * i + 1]]
                    interleave(a[start + strip : start + stop + more], b[start + strip : start + stop + more], pairs[i])
                add_eight(pairs, sums[label], products[label], strip, stop)
        for n in range(whole, end):
            add_one(rows[order[n]][start : start + width + more], sums[label], products[label])
        first = end


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
