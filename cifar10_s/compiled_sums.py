"""Sums on the CPU, by the compiled kernel."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.moments import Int64Array, Moments, channel_pairs
from cifar10_s.parallel import chunks

# A column takes 4 bytes in each of C + 1 sums: with 16,384 columns they stay in a core's second-level cache.
MAX_TILE = 16_384
# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
FLUSH = 65_536


@dataclass(frozen=True, eq=False)
class _Tile:
    """Sums of 32 bits over some columns of an image's row of bytes, for each of K classes.

    ``sums`` (K, columns) and ``products`` (K, C, columns), where entry (k, s, p) is of byte p times byte p + s.
    """

    start: int
    sums: NDArray[np.uint32]
    products: NDArray[np.uint32]


class CompiledSums:
    """`Sums` of the compiled kernel: an image's bytes are one row, multiplied by itself shifted by 0 … C - 1.

    Sums are of 32 bits until so many images of a class are in them that one more could overflow.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        self._shape, self._size = shape, math.prod(shape)
        channels = shape[-1]
        self._tiles = [
            _Tile(part.start, np.zeros((classes, width), np.uint32), np.zeros((classes, channels, width), np.uint32))
            for part in chunks(self._size, MAX_TILE)
            if (width := part.stop - part.start)
        ]
        self._counts, self._pending = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        # What was carried over, (1 + C, H·W·C) by class; small sets of images need none of it.
        self._carried: dict[int, Int64Array] = {}

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """See `Sums.add`; one thread at a time."""
        from cifar10_s._kernel import accumulate

        rows = np.ascontiguousarray(pixels).reshape(len(pixels), self._size)
        for part in chunks(len(rows), FLUSH):
            counts = np.bincount(labels[part], minlength=len(self._counts))
            for label in np.flatnonzero(self._pending + counts > FLUSH).tolist():
                self._carry(label)
            # Numbers of 8 or 16 bits are sorted in one go.
            order = np.argsort(labels[part].astype(np.min_scalar_type(len(counts))), kind="stable")
            for tile in self._tiles:
                accumulate(rows[part], order, counts, tile.start, tile.sums, tile.products)
            self._pending += counts
            self._counts += counts

    def _carry(self, label: int) -> None:
        if label not in self._carried:
            self._carried[label] = np.zeros((1 + self._shape[-1], self._size), np.int64)
        self._carried[label] += self._gathered(label)
        for tile in self._tiles:
            tile.sums[label], tile.products[label] = 0, 0
        self._pending[label] = 0

    def _gathered(self, label: int) -> Int64Array:
        parts = [np.vstack([tile.sums[label], tile.products[label]]) for tile in self._tiles]
        return np.hstack(parts).astype(np.int64)

    def moments(self) -> Moments:
        """See `Sums.moments`."""
        height, width, channels = self._shape
        pairs, classes = channel_pairs(channels), len(self._counts)
        sums = np.empty((classes, *self._shape), np.int64)
        products = np.empty((classes, height, width, len(pairs)), np.int64)
        for label in range(classes):
            rows = self._gathered(label) + self._carried.get(label, 0)
            first, *shifted = rows.reshape(1 + channels, *self._shape)
            sums[label] = first
            for pair, (i, j) in enumerate(pairs):
                products[label, ..., pair] = shifted[j - i][..., i]
        return Moments(self._counts.copy(), sums, products)
