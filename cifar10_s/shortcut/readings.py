"""How the colours of a shortcut are read from a view: each channel as the nearest of the shortcut's levels."""

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.shortcut.randaugment_table import Change
from cifar10_s.shortcut.shortcut import Shortcut


@dataclass(frozen=True, eq=False)
class Readings:
    """The colours of a shortcut as they are read: each channel as the nearest of the shortcut's levels.

    Attributes
    ----------
    colors : (K, n, C) float64
        The shortcut's colours.
    levels : (L,) float64
        The levels that they have.
    """

    colors: NDArray[np.float64]
    levels: NDArray[np.float64]

    @classmethod
    def of(cls, shortcut: Shortcut) -> "Readings":
        """Return the readings of a shortcut's colours."""
        return cls(shortcut.colors.astype(np.float64), np.unique(shortcut.colors).astype(np.float64))

    @property
    def number(self) -> int:
        """The number of different readings."""
        return int(len(self.levels) ** self.colors.shape[-1])

    @property
    def plain(self) -> Int64Array:
        """The readings of the colours as they are, (K, n) int64."""
        return self.read()

    def read(self, *changes: Change) -> Int64Array:
        """Return the readings of colours after changes in turn, (K, n) int64; of two levels as near, the lower."""
        colors = reduce(lambda levels, change: change(levels), changes, self.colors)
        nearest = np.abs(colors[..., np.newaxis] - self.levels).argmin(-1)
        return np.asarray(nearest @ len(self.levels) ** np.arange(colors.shape[-1]))
