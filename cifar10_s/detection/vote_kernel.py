"""Count colours per class and position on the CPU: the inner loops of `votes`, compiled by numba.

Arrays
    ``rows``     (N, P·C) uint8: one image per row, P pixels one after another, the channels of a pixel side by side.
    ``order``    (N,) int64: the numbers of the images, sorted by class.
    ``counts``   (K,) int64: the number of images per class.
    ``channels``  the tuple 0 … C - 1, whose length is a constant of the compiled code.
    ``centres``  (K, P·C) uint8, and ``reach``: a pixel is near if every channel is at most ``reach`` from its centre.
    ``colors``, ``leads``, ``near``  (K, P) uint32, int32 and int32, and ``sums``, (K, P·C) int64: what is added to.

How
    Boyer and Moore's majority vote: a candidate and its lead per class and position. An image with the candidate's
    colour raises the lead, another lowers it, and at 0 the image's colour is the next candidate. A colour is packed
    into 32 bits. Each loop runs over the pixels of one image without branches, so that LLVM vectorises it.
"""

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.jit import compiled


@compiled
def vote(
    rows: NDArray[np.uint8],
    order: NDArray[np.int64],
    counts: NDArray[np.int64],
    channels: tuple[int, ...],
    centres: NDArray[np.uint8],
    reach: int,
    colors: NDArray[np.uint32],
    leads: NDArray[np.int32],
    near: NDArray[np.int32],
    sums: NDArray[np.int64],
) -> None:
    """Add images to the votes of their classes; the head of this file describes the arrays."""
    many, values, pixels = len(channels), rows.shape[1], colors.shape[1]
    far = np.zeros(values, np.uint8)
    packed, outside = np.zeros(pixels, np.uint32), np.zeros(pixels, np.uint8)
    first = 0
    for label in range(counts.size):
        color, lead, close, total, centre = colors[label], leads[label], near[label], sums[label], centres[label]
        for image in order[first : first + counts[label]]:
            row = rows[image]
            for i in range(values):
                far[i] = abs(np.int16(row[i]) - np.int16(centre[i])) > reach
            for i in range(values):
                total[i] += row[i]
            for p in range(pixels):
                value, away = np.uint32(0), np.uint8(0)
                for channel in range(many):
                    value = (value << np.uint32(8)) | np.uint32(row[many * p + channel])
                    away |= far[many * p + channel]
                packed[p], outside[p] = value, away
            for p in range(pixels):
                close[p] += np.int32(1) - np.int32(outside[p])
            for p in range(pixels):
                is_free = lead[p] == 0
                agrees = is_free | (color[p] == packed[p])
                color[p] = packed[p] if is_free else color[p]
                lead[p] += np.int32(1) if agrees else np.int32(-1)
        first += counts[label]


@compiled
def count(
    rows: NDArray[np.uint8],
    labels: NDArray[np.int64],
    positions: NDArray[np.int64],
    low: NDArray[np.uint8],
    high: NDArray[np.uint8],
    hits: NDArray[np.int64],
) -> None:
    """Add to ``hits``, (F, K), the images per class with a colour from ``low`` to ``high``, (F, C), at a position."""
    channels = low.shape[1]
    for image in range(labels.size):
        for f in range(positions.size):
            is_inside = True
            for channel in range(channels):
                level = rows[image, channels * positions[f] + channel]
                is_inside &= (low[f, channel] <= level) & (level <= high[f, channel])
            hits[f, labels[image]] += is_inside
