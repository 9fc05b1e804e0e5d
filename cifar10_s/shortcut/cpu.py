"""Sum up images per class on the CPU, with the kernel of `cpu_kernel` or its plain version."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.jit import compiled_or_plain
from cifar10_s.common.read_only import read_only
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.shortcut.cpu_kernel import STRIP, accumulate, accumulate_plain, gather
from cifar10_s.shortcut.moments import Moments, channel_pairs, has_few_pixels, no_moments

# A product of two levels is at most 255² = 65,025: 66,051 of them fit 32 unsigned bits.
FLUSH = 65_536


def totals_shape(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the shape of a class's totals: the number of strips, and of entries per strip (see `cpu_kernel`)."""
    height, width, channels = shape
    return -(-height * width // STRIP), (channels + len(channel_pairs(channels))) * STRIP


def class_bytes(shape: tuple[int, int, int], images: int) -> int:
    """Return the bytes of the sums of a class with this many images: 32 bits each, and 64 more if it is large."""
    return (4 if images <= FLUSH else 12) * math.prod(totals_shape(shape))


@cache
def _kernel(channels: int) -> Callable[..., None]:
    """Return `accumulate`, or `accumulate_plain` if the kernel does not compile here; decided once."""
    no_rows, no_numbers = np.empty((0, channels), np.uint8), np.empty(0, np.int64)
    no_totals = np.empty((0, 0, 0), np.uint32)
    nothing = read_only(no_rows), no_numbers, no_numbers, tuple(range(channels)), no_totals
    return compiled_or_plain(accumulate, accumulate_plain, nothing)


class CompiledSums:
    """Exact sums over images on the CPU; see `Sums`.

    Totals are of 32 bits. Before those of a class could overflow, they are carried over to 64 bits.

    Parameters
    ----------
    shape
        (H, W, C) of an image.
    classes
        Number of classes.
    flush
        Images of a class that 32-bit totals hold; at most the default.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, *, flush: int = FLUSH) -> None:
        self._shape, self._channels, self._flush = shape, tuple(range(shape[-1])), flush
        self._accumulate = _kernel(shape[-1])
        self._totals = np.zeros((classes, *totals_shape(shape)), np.uint32)
        self._counts, self._pending = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
        # What was carried over, by class; empty for small sets of images.
        self._carried: dict[int, Int64Array] = {}

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """See `Sums.add`; one thread at a time."""
        rows = read_only(pixels).reshape(len(pixels), math.prod(self._shape))
        for part in chunks(len(rows), self._flush):
            counts = np.bincount(labels[part], minlength=len(self._counts))
            for label in np.flatnonzero(self._pending + counts > self._flush).tolist():
                self._carry(label)
            # NumPy sorts integers of 8 or 16 bits by radix sort.
            order = np.argsort(labels[part].astype(np.min_scalar_type(len(counts))), kind="stable")
            self._accumulate(rows[part], order, counts, self._channels, self._totals)
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

        def gather_class(label: int) -> None:
            one = slice(label, label + 1)
            gather(self._totals[one], sums[one], products[one])

        for _ in thread_map(gather_class, range(len(sums)), few=has_few_pixels(self._shape)):
            pass
        for label, carried in self._carried.items():
            gather(carried[np.newaxis], sums[label : label + 1], products[label : label + 1])
        moments.counts[:] += self._counts
        return moments
