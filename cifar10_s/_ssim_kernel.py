"""The compiled inner loop of `ssim` on the CPU (numba)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s._compile import compiled

# The constants of SSIM, (K·L)² with L = 255, that keep its quotients from 0 / 0.
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2


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
