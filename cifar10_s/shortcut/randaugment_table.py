"""What the operations of RandAugment do to a pixel: where they show it, and what they make of its colour."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.grey import grey_weights
from cifar10_s.shortcut.augmentation import STRENGTH, Augmentation
from cifar10_s.shortcut.views import is_inside

# The mean level of an image, towards which contrast and sharpness move a pixel; that of CIFAR-10 is 120.7.
MEAN_LEVEL = 120
# Degrees of rotation, share of a row's number that shears it, and change of a factor, at full strength (AutoAugment).
ROTATION, SHEAR, BLEND = 30.0, 0.3, 0.9
# Bits dropped at full strength.
POSTERIZE = 4

# Takes colours, (…, C) levels as floats, and returns what an operation makes of them.
Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Operation:
    """What an operation of RandAugment in one direction does to a pixel.

    Attributes
    ----------
    moves : (H·W + 1,) int64
        Where it shows each pixel, as `views.cropped` counts; H·W for what is outside, and stays there.
    change
        What it makes of a colour.
    """

    moves: Int64Array
    change: Change


def pixel_operations(size: tuple[int, int], augmentation: Augmentation) -> list[Operation]:
    """Return the operations of RandAugment in both directions: each is as likely as the others."""
    stays = np.arange(math.prod(size) + 1)
    found = []
    for sign in (STRENGTH, -STRENGTH):
        found += [Operation(stays, change) for change in _changes(sign, augmentation.inverted)]
        found += [Operation(moves, lambda levels: levels) for moves in _moves(size, augmentation, sign)]
    return found


def _changes(strength: float, inverted: int) -> Iterator[Change]:
    """Yield what the operations that move no pixel do to colours; `randaugment_survival` says what three assume."""
    factor, step = 1 + strength * BLEND, 2 ** round(abs(strength) * POSTERIZE)

    def blended(levels: NDArray[np.float64], other: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(np.clip(np.rint(other + factor * (levels - other)), 0, 255))

    # Identity, autocontrast, equalize.
    yield from (lambda levels: levels,) * 3
    yield lambda levels: np.where(levels >= inverted, 255 - levels, levels)
    yield lambda levels: levels // step * step
    yield lambda levels: blended(levels, _grey(levels))
    # Contrast, brightness, sharpness.
    yield lambda levels: blended(levels, MEAN_LEVEL)
    yield lambda levels: blended(levels, 0)
    yield lambda levels: blended(levels, (5 * levels + 8 * MEAN_LEVEL) / 13)


def _grey(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the grey of colours, with equal weights if they do not have three channels."""
    weights = enumerate(grey_weights(levels.shape[-1]))
    return np.asarray(np.rint(sum(levels[..., i] * weight for i, weight in weights)))[..., np.newaxis]


def _moves(size: tuple[int, int], augmentation: Augmentation, strength: float) -> Iterator[Int64Array]:
    """Yield the moves of rotation, two shears and two translations.

    Each operation takes what it shows at (x, y) from a place that is linear in x and y.
    """
    height, width = size
    y, x = np.divmod(np.arange(height * width), width)
    angle, shear = math.radians(strength * ROTATION), strength * SHEAR
    cosine, sine, middle_x, middle_y = math.cos(angle), math.sin(angle), (width - 1) / 2, (height - 1) / 2
    down, right = (round(math.copysign(shift, strength)) for shift in augmentation.shift)
    yield _shown(
        sine * (x - middle_x) + cosine * (y - middle_y) + middle_y,
        cosine * (x - middle_x) - sine * (y - middle_y) + middle_x,
        size,
    )
    yield _shown(y, x + shear * y, size)
    yield _shown(y + shear * x, x, size)
    yield _shown(y, x + right, size)
    yield _shown(y + down, x, size)


def _shown(rows: NDArray[np.generic], columns: NDArray[np.generic], size: tuple[int, int]) -> Int64Array:
    """Return where pixels are shown, (H·W + 1,), if each place shows the pixel nearest to a row and a column."""
    (height, width), outside = size, math.prod(size)
    row, column = (np.rint(at).astype(np.int64) for at in (rows, columns))
    shows = np.flatnonzero(is_inside(row, height) & is_inside(column, width))
    moves = np.full(outside + 1, outside)
    np.minimum.at(moves, row[shows] * width + column[shows], shows)
    return moves
