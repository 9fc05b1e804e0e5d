"""Count colours per class and position in NumPy: what `vote_kernel` does, for machines without numba."""

import numpy as np
from numpy.typing import NDArray


def vote_plain(
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
    """Add images to the votes of their classes; arguments as for `vote_kernel.vote`."""
    labels = np.repeat(np.arange(len(counts)), counts)
    for image, label in zip(order, labels, strict=True):
        row, color, lead = rows[image].reshape(-1, len(channels)), colors[label], leads[label]
        distances = np.abs(row.astype(np.int16) - centres[label].reshape(row.shape))
        near[label] += (distances <= reach).all(1)
        sums[label] += rows[image]
        packed = pack(row)
        is_free = lead == 0
        agrees = is_free | (color == packed)
        color[is_free] = packed[is_free]
        lead += np.where(agrees, 1, -1).astype(np.int32)


def count_plain(
    rows: NDArray[np.uint8],
    labels: NDArray[np.int64],
    positions: NDArray[np.int64],
    low: NDArray[np.uint8],
    high: NDArray[np.uint8],
    hits: NDArray[np.int64],
) -> None:
    """Add to ``hits``; arguments as for `vote_kernel.count`."""
    pixels = rows.reshape(len(rows), -1, low.shape[1])
    for f, position in enumerate(positions):
        levels = pixels[:, position]
        is_inside = ((low[f] <= levels) & (levels <= high[f])).all(1)
        hits[f] += np.bincount(labels[is_inside], minlength=hits.shape[1])


def pack(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Pack colours, (…, C) uint8, into one number each, (…,) uint32."""
    packed = np.zeros(pixels.shape[:-1], np.uint32)
    for channel in range(pixels.shape[-1]):
        packed = (packed << np.uint32(8)) | pixels[..., channel]
    return packed


def unpack(packed: NDArray[np.uint32], channels: int) -> NDArray[np.uint8]:
    """Return the colours, (…, C) uint8, that `pack` packed."""
    shifts = np.arange(8 * (channels - 1), -1, -8, dtype=np.uint32)
    return ((packed[..., None] >> shifts) & np.uint32(255)).astype(np.uint8)
