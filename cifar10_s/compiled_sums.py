"""Sums on the CPU, by the compiled kernel (numba)."""

import math

import numpy as np
from numpy.typing import NDArray

from cifar10_s._kernel import STRIP, accumulate, gather
from cifar10_s.moments import Int64Array, Moments, channel_pairs, no_moments
from cifar10_s.parallel import chunks

# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
FLUSH = 65_536


def totals_shape(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Give the shape of a class's totals: for each strip of pixels the sums of channels, then of products of each two.

    They lie together, at distances that are known as the kernel is compiled.
    """
    height, width, channels = shape
    return -(-height * width // STRIP), (channels + len(channel_pairs(channels))) * STRIP


def class_bytes(shape: tuple[int, int, int], images: int) -> int:
    """Give what the sums of a class of so many images take: of 32 bits, and where it is large of 64 too."""
    return (4 if images <= FLUSH else 12) * math.prod(totals_shape(shape))


class CompiledSums:
    """`Sums` of the compiled kernel.

    Totals are of 32 bits until so many images of a class are in them that one more could overflow.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        self._shape, self._channels = shape, shape[-1]
        self._totals = np.zeros((classes, *totals_shape(shape)), np.uint32)
        self._counts, self._pending = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        # What was carried over, by class; small sets of images need none of it.
        self._carried: dict[int, Int64Array] = {}

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """See `Sums.add`; one thread at a time."""
        rows = np.ascontiguousarray(pixels).reshape(len(pixels), math.prod(self._shape))
        for part in chunks(len(rows), FLUSH):
            counts = np.bincount(labels[part], minlength=len(self._counts))
            for label in np.flatnonzero(self._pending + counts > FLUSH).tolist():
                self._carry(label)
            # Numbers of 8 or 16 bits are sorted in one go.
            order = np.argsort(labels[part].astype(np.min_scalar_type(len(counts))), kind="stable")
            accumulate(rows[part], order, counts, self._channels, self._totals)
            self._pending += counts
            self._counts += counts

    def _carry(self, label: int) -> None:
        self._carried[label] = self._totals[label].astype(np.int64) + self._carried.get(label, 0)
        self._totals[label], self._pending[label] = 0, 0

    def moments(self, before: Moments | None = None) -> Moments:
        """See `Sums.moments`."""
        moments = before or no_moments(self._shape, len(self._counts))
        sums, products = (
            array.reshape(len(array), math.prod(self._shape[:2]), -1) for array in (moments.sums, moments.products)
        )
        gather(self._totals, sums, products)
        for label, carried in self._carried.items():
            gather(carried[np.newaxis], sums[label : label + 1], products[label : label + 1])
        moments.counts[:] += self._counts
        return moments
