"""Exact integer sums over the images of each class, from which the score of every candidate follows."""

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array

# Values per image up to which threads do not pay.
FEW_VALUES = 64 * 64 * 3


def channel_pairs(channels: int) -> list[tuple[int, int]]:
    """List the pairs (i, j), i ≤ j, in the order of `Moments.products`."""
    return list(combinations_with_replacement(range(channels), 2))


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the images of each class; they are exact, so parts add up to the same bits in any order.

    Attributes
    ----------
    counts : (K,) int64
        Number of images per class.
    sums : (K, H, W, C) int64
        Σ x, x in levels 0-255.
    products : (K, H, W, C(C+1)/2) int64
        Σ x_i·x_j for the channel pairs of `channel_pairs`.
    """

    counts: Int64Array
    sums: Int64Array
    products: Int64Array

    def __iadd__(self, other: "Moments") -> "Moments":
        """Add the moments of other images in place."""
        for mine, theirs in zip(self._arrays, other._arrays, strict=True):
            mine += theirs
        return self

    def __getitem__(self, classes: slice) -> "Moments":
        """Return a view of consecutive classes; what is added to the view is added here."""
        return Moments(*(array[classes] for array in self._arrays))

    @property
    def _arrays(self) -> tuple[Int64Array, ...]:
        return self.counts, self.sums, self.products


def no_moments(shape: tuple[int, int, int], classes: int) -> Moments:
    """Return zeros, to which the moments of (H, W, C) images can be added."""
    products = classes, *shape[:2], len(channel_pairs(shape[2]))
    return Moments(np.zeros(classes, np.int64), np.zeros((classes, *shape), np.int64), np.zeros(products, np.int64))


def has_few_pixels(shape: tuple[int, int, int]) -> bool:
    """Return whether work on a class's moments takes less time than starting threads for it, given (H, W, C)."""
    return math.prod(shape) <= FEW_VALUES


class Sums(Protocol):
    """Sums over images that are added piece by piece."""

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """Add (n, H, W, C) images of the classes 0 to K - 1."""

    def moments(self, before: Moments | None = None) -> Moments:
        """Return the moments of the images added so far, added in place to ``before`` if given."""
