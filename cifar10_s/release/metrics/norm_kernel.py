"""Norms of perturbations on the CPU: the inner loop of `perceptibility.per_image`, compiled by numba.

What is computed
    For each pair of images: pixels that differ in any channel, the sum of the squared differences, and the largest
    difference. All are integers, so they are exact.

How
    A row at a time, so that a row without differences, of which a shortcut leaves most, is not searched for pixels.

What it gains
    `perceptibility.norms_plain` does the same in plain NumPy. It is the reference in the tests, and is used if numba is
    absent or does not compile this. On one core of an AMD EPYC (family 26, with AVX-512), 2026-11-27, a pair of 32×32×3
    takes 3.9 µs if all pixels differ and 0.8 µs if one does; in plain NumPy 5.3 µs.
"""

from typing import Any

import numpy as np

from cifar10_s.common.jit import compiled


@compiled
def norms(x: Any, y: Any, channels: int, changed: Any, squares: Any, largest: Any) -> None:
    """Write the norms, (N,) int64 each, of pairs of images, (N, H, W·C) uint8."""
    for n in range(x.shape[0]):
        changed[n], squares[n], largest[n] = 0, 0, 0
        for i in range(x.shape[1]):
            a, b = x[n, i], y[n, i]
            total, most = np.int64(0), np.int32(0)
            for p in range(a.size):
                difference = abs(np.int32(a[p]) - np.int32(b[p]))
                total += difference * difference
                most = max(most, difference)
            if most == 0:
                continue
            squares[n] += total
            largest[n] = max(largest[n], most)
            for p in range(0, a.size, channels):
                differs = False
                for c in range(channels):
                    differs |= a[p + c] != b[p + c]
                changed[n] += differs
