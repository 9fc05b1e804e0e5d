"""Where augmented views show the pixels of a shortcut: crops, flips, and holes that hide some."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.shortcut.augmentation import Augmentation


@dataclass(frozen=True, eq=False)
class Side:
    """The rows or the columns of n pixels in all views. A hole hides a pixel if it covers both its row and its column.

    Attributes
    ----------
    at : (V, n) int64
        Where the pixels are.
    inside : (V, n) bool
        Whether they are in the image.
    hidden : (V, n) bool
        Whether the hole covers them along this side.
    views : (V,) int64
        The number of the hole's centres along this side that give this.
    """

    at: Int64Array
    inside: NDArray[np.bool_]
    hidden: NDArray[np.bool_]
    views: Int64Array

    @classmethod
    def of(cls, at: Int64Array, length: int, hole: int) -> "Side":
        """Return what there is to see if the pixels are at (M, n) places, and the hole is centred anywhere."""
        first, last = (end[:, np.newaxis] for end in _interval(at, length, hole))
        centers = np.arange(length)[:, np.newaxis]
        hidden = (first <= centers) & (centers <= last)
        # Centres that hide the same are one: first those in a row, since sorting takes longer.
        starts = np.ones(hidden.shape[:2], bool)
        starts[:, 1:] = (hidden[:, 1:] != hidden[:, :-1]).any(-1)
        index = np.flatnonzero(starts)
        runs = np.column_stack([index // length, hidden.reshape(-1, at.shape[1])[index]])
        different, which = np.unique(runs, axis=0, return_inverse=True)
        views = np.bincount(which.ravel(), np.diff(index, append=starts.size)).astype(np.int64)
        shown = at[different[:, 0]]
        return cls(shown, is_inside(shown, length), different[:, 1:] == 1, views)

    def of_views(self, chosen: NDArray[np.bool_]) -> "Side":
        """Return some of the views, given a (V,) bool mask."""
        return Side(self.at[chosen], self.inside[chosen], self.hidden[chosen], self.views[chosen])


def count_crops(augmentation: Augmentation) -> int:
    """Return the number of crops and flips."""
    return 2 * (2 * augmentation.padding + 1) ** 2


def cropped(positions: Int64Array, size: tuple[int, int], padding: int) -> Int64Array:
    """Return where the crops and flips show pixels: row · W + column, or H·W outside, (V, n) int64."""
    (height, width), moves = size, range(-padding, padding + 1)
    down, right, flip = np.array(list(product(moves, moves, (0, 1)))).T[..., np.newaxis]
    rows, columns = positions[:, 0] + down, positions[:, 1] + right
    columns = np.where(flip == 1, width - 1 - columns, columns)
    inside = is_inside(rows, height) & is_inside(columns, width)
    return np.where(inside, rows * width + columns, height * width)


def is_inside(at: Int64Array, length: int) -> NDArray[np.bool_]:
    """Return whether rows or columns are in the image, given its length along that side."""
    return np.asarray((at >= 0) & (at < length))


def _interval(at: Int64Array, length: int, hole: int) -> tuple[Int64Array, Int64Array]:
    """Return the first and the last centre of a hole, along one side, that hides what is at a row or column."""
    return np.maximum(at + hole // 2 - hole + 1, 0), np.minimum(at + hole // 2, length - 1)


def hiding(at: Int64Array, length: int, hole: int) -> Int64Array:
    """Return the number of centres of a hole, along one side, that hide what is at a row or column."""
    first, last = _interval(at, length, hole)
    return np.asarray(np.maximum(last - first + 1, 0))
