"""The compiled inner loops of `moments` and `ssim` on the CPU (numba)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cifar10_s._prefetch import LINE, prefetch

# Pixels summed at a time: what eight images' sums need stays in a core's cache. It is here because numba, which keeps
# compiled code, compiles anew where this file changes, and looks at no other.
STRIP = 512

# The constants of SSIM, (K·L)² with L = 255, that keep its quotients from 0 / 0.
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function; keep the result on disk where this machine has a place to write it."""
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:
        return njit(nogil=True, **options)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into those that call it, with the constants that they give it."""
    return njit(inline="always")(function)


# For whole numbers only: others lose other bits where a processor multiplies and adds in one go.
compiled_with_fma = partial(compiled, fastmath={"contract"})


@compiled
def fetch(row: Any) -> None:
    """Ask for a row's bytes ahead of their use: no processor foresees where the next image of a class lies."""
    for p in range(0, row.size, LINE):
        prefetch(row, p)


@inlined
def separate_by(channels: int, row: Any, planes: Any) -> None:
    """Write each of so many channels of a row of pixels into a strip of its own."""
    for p in range(row.size // channels):
        for channel in range(channels):
            planes[channel * STRIP + p] = row[channels * p + channel]


@compiled
def separate(row: Any, channels: int, planes: Any) -> None:
    """Do that with a number of 1 to 4 that is known as the loop is compiled, which then takes many pixels at a time."""
    if channels == 1:
        separate_by(1, row, planes)
    elif channels == 2:
        separate_by(2, row, planes)
    elif channels == 3:
        separate_by(3, row, planes)
    else:
        separate_by(4, row, planes)


@compiled_with_fma
def add_colors(planes: Any, totals: Any, size: int) -> None:
    """Add eight images' separated colours, and the products of each two, to the totals of a strip.

    All at once, because reading bytes and totals costs as much as the products. In float32 a processor multiplies and
    adds in one go, and whole numbers below 2²⁴ are exact.
    """
    for p in range(min(size, STRIP)):
        r = g = b = rr = rg = rb = gg = gb = bb = np.float32(0)
        for image in range(8):
            start = 3 * STRIP * image
            x = np.float32(planes[start + p])
            y = np.float32(planes[start + STRIP + p])
            z = np.float32(planes[start + 2 * STRIP + p])
            r, g, b = r + x, g + y, b + z
            rr, rg, rb = rr + x * x, rg + x * y, rb + x * z
            gg, gb, bb = gg + y * y, gb + y * z, bb + z * z
        totals[p] += np.uint32(np.int32(r))
        totals[STRIP + p] += np.uint32(np.int32(g))
        totals[2 * STRIP + p] += np.uint32(np.int32(b))
        totals[3 * STRIP + p] += np.uint32(np.int32(rr))
        totals[4 * STRIP + p] += np.uint32(np.int32(rg))
        totals[5 * STRIP + p] += np.uint32(np.int32(rb))
        totals[6 * STRIP + p] += np.uint32(np.int32(gg))
        totals[7 * STRIP + p] += np.uint32(np.int32(gb))
        totals[8 * STRIP + p] += np.uint32(np.int32(bb))


@compiled
def strip_of(rows: Any, number: int, size: int) -> Any:
    """Give a row of strips that lie one after another."""
    return rows[number * STRIP : number * STRIP + size]


@compiled
def add_level(x: Any, totals: Any) -> None:
    """Add a channel of an image."""
    for p in range(totals.size):
        totals[p] += x[p]


@compiled
def add_product(x: Any, y: Any, totals: Any) -> None:
    """Add the product of two."""
    for p in range(totals.size):
        totals[p] += np.uint32(np.int32(x[p]) * np.int32(y[p]))


@compiled
def add_image(planes: Any, channels: int, totals: Any, size: int) -> None:
    """Do the same with one image's channels, of any number."""
    kind = channels
    for i in range(channels):
        x = strip_of(planes, i, size)
        add_level(x, strip_of(totals, i, size))
        for j in range(i, channels):
            add_product(x, strip_of(planes, j, size), strip_of(totals, kind, size))
            kind += 1


@compiled
def take(rows: Any, order: Any, n: int, channels: int, start: int, stop: int, planes: Any) -> None:
    """Separate the channels of some pixels of image n of the order; ask for those of the one that is eight later."""
    for following in order[n + 8 : n + 9]:
        fetch(rows[following][channels * start : channels * stop])
    separate(rows[order[n]][channels * start : channels * stop], channels, planes)


@compiled
def accumulate(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    channels: int,
    totals: NDArray[np.uint32],
) -> None:
    """Add images to the totals of their classes.

    With those before, at most `compiled_sums.FLUSH` of a class. ``rows`` is (N, P·C), an image's P pixels a row;
    ``order`` (N,) their numbers, class by class, of which class k has ``counts[k]``. ``totals`` is
    (K, P / STRIP, (C + C·(C + 1) / 2)·STRIP): for some pixels at a time the sums of each channel, then of the products
    of each two, in the order of `moments.channel_pairs`.
    """
    planes = np.zeros(8 * 3 * STRIP, np.uint8)
    size = rows.shape[1] // channels
    first = 0
    for label in range(counts.size):
        end = first + counts[label]
        whole = end - counts[label] % 8 if channels == 3 else first
        for strip in range(totals.shape[1]):
            start, stop = strip * STRIP, min((strip + 1) * STRIP, size)
            for n in range(first, whole, 8):
                for i in range(8):
                    take(rows, order, n + i, 3, start, stop, planes[3 * STRIP * i : 3 * STRIP * (i + 1)])
                add_colors(planes, totals[label, strip], stop - start)
            for n in range(whole, end):
                take(rows, order, n, channels, start, stop, planes)
                add_image(planes, channels, totals[label, strip], stop - start)
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
