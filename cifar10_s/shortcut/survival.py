"""Measure how much of a shortcut is left in augmented views, in closed form: no image and no network is needed.

A *view* is a crop and a flip, then a hole or two operations of RandAugment, all drawn as in training. From it one sees
an *observation*: the places and colours of the class's pixels that are left in it. For each observation, count the
views of each class that show it. The best guess is the class with the most views. For classes of equal size, the
accuracy of this Bayes-optimal guess bounds what can be learned from the shortcut alone.

What RandAugment does is a table (`_operations`): where each operation shows a pixel, and what it makes of its colour.
Operations change levels, and a network does not tell every level from the next: so each channel is read as the nearest
level that the shortcut has. All counts are integers, divided once.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.grey import grey_weights
from cifar10_s.shortcut.augmentation import STRENGTH, Augmentation
from cifar10_s.shortcut.moments import Int64Array
from cifar10_s.shortcut.shortcut import Shortcut

# Maximum number of pixels, summed over all observations: more would take too long, and are not counted.
MAX_OBSERVED_PIXELS = 50_000_000
# What `measure_survival` measures.
AUGMENTATIONS = ("crop and flip", "Cutout", "RandAugment")
# The mean level of an image, towards which contrast and sharpness move a pixel; that of CIFAR-10 is 120.7.
MEAN_LEVEL = 120
# Degrees of rotation, share of a row's number that shears it, and change of a factor, at full strength (AutoAugment).
ROTATION, SHEAR, BLEND = 30.0, 0.3, 0.9
# Bits dropped at full strength.
POSTERIZE = 4


@dataclass(frozen=True)
class Survival:
    """In how many views a shortcut is left.

    Attributes
    ----------
    views
        Number of views, each as likely as the others.
    lost
        For each class, the number of views in which no pixel is left in its own colour.
    told
        Sum over all observations of the number of views from which the most likely class has it.
    """

    views: int
    lost: tuple[int, ...]
    told: int

    @property
    def lost_share(self) -> float:
        """The probability that a class's mark is lost, averaged over the classes."""
        return sum(self.lost) / (self.views * len(self.lost))

    @property
    def accuracy(self) -> float:
        """The accuracy of the best guess of the class from what is left, 1 / K to 1."""
        return self.told / (self.views * len(self.lost))


def measure_survival(shortcut: Shortcut, size: tuple[int, int]) -> dict[str, Survival | None]:
    """Return what is left of a shortcut on (H, W) images by each of `AUGMENTATIONS`, with the benchmark's sizes.

    It is None beyond `MAX_OBSERVED_PIXELS`. Results are kept: configurations share their shortcuts, and a build, its
    verification and its page ask for the same.
    """
    marks = shortcut.positions.tobytes(), shortcut.colors.tobytes(), shortcut.colors.shape
    return dict(zip(AUGMENTATIONS, _measured(_Keyed(marks, shortcut), size), strict=True))


@dataclass(frozen=True)
class _Keyed:
    """A shortcut that is the same as another one if its pixels are."""

    marks: tuple[bytes, bytes, tuple[int, ...]]
    shortcut: Shortcut = field(compare=False)


@lru_cache(maxsize=64)
def _measured(keyed: _Keyed, size: tuple[int, int]) -> tuple[Survival | None, ...]:
    shortcut, augmentation = keyed.shortcut, Augmentation.of(*size)
    return (
        crop_survival(shortcut, size, replace(augmentation, hole=(0, 0))),
        crop_survival(shortcut, size, augmentation),
        randaugment_survival(shortcut, size, augmentation),
    )


def crop_survival(shortcut: Shortcut, size: tuple[int, int], augmentation: Augmentation) -> Survival | None:
    """Return what is left after crop, flip and a hole, if the augmentation has one; None beyond `MAX_OBSERVED_PIXELS`.

    Parameters
    ----------
    shortcut
        The pixels.
    size
        (H, W) of the images.
    augmentation
        See `Augmentation`; a hole of (0, 0) is none.

    Examples
    --------
    >>> import cifar10_s
    >>> from cifar10_s.shortcut.augmentation import Augmentation
    >>> from cifar10_s.shortcut.survival import crop_survival
    >>> pairs = cifar10_s.search(cifar10_s.load_images("sample"), objective="spread", pixels=2)
    >>> crop_survival(pairs, (8, 8), Augmentation.of(8, 8)).lost_share
    0.0
    """
    (height, width), padding = size, augmentation.padding
    if _crops(augmentation) * shortcut.positions[..., 0].size > MAX_OBSERVED_PIXELS:
        return None
    sides = []
    for label, positions in enumerate(shortcut.positions):
        rows, columns = (at + np.arange(-padding, padding + 1)[:, np.newaxis] for at in positions.T)
        columns = np.concatenate([columns, width - 1 - columns])
        down, across = _Side.of(rows, height, augmentation.hole[0]), _Side.of(columns, width, augmentation.hole[1])
        # Where a hole covers no pixel along one side, what it covers along the other does not matter.
        covers = np.asarray(down.hidden.any(1))
        sides += [(label, down.of_views(covers), across), (label, down.of_views(~covers), _Side.of(columns, width, 0))]
    if sum(down.at.size * len(across.at) for _, down, across in sides) > MAX_OBSERVED_PIXELS:
        return None
    readings, counts = _Readings.of(shortcut), _Counts(len(shortcut.positions))
    for label, down, across in sides:
        codes = (down.at[:, np.newaxis] * width + across.at) * readings.number + readings.plain[label] + 1
        visible = down.inside[:, np.newaxis] & across.inside & ~(down.hidden[:, np.newaxis] & across.hidden)
        codes = (codes * visible).reshape(-1, codes.shape[-1])
        counts.add(label, codes, np.outer(down.views, across.views).ravel(), ~codes.any(1))
    return counts.survival(_crops(augmentation) * math.prod(size))


def randaugment_survival(shortcut: Shortcut, size: tuple[int, int], augmentation: Augmentation) -> Survival | None:
    """Return what is left after crop, flip and two operations of RandAugment; None beyond `MAX_OBSERVED_PIXELS`.

    If an operation shows a pixel twice, the first copy counts. Autocontrast and equalize are taken to leave colours as
    they are, and contrast and sharpness to see `MEAN_LEVEL` around a pixel: what they do depends on the image.

    Parameters
    ----------
    shortcut, size, augmentation
        See `crop_survival`; the hole does not matter.
    """
    readings, outside = _Readings.of(shortcut), math.prod(size)
    operations = _operations(size, augmentation)
    # Views of the same effect, as a move, another one, and the colours that are read, with their number.
    effects: dict[tuple[bytes, ...], tuple[Int64Array, Int64Array, Int64Array, int]] = {}
    for first, second in product(operations, repeat=2):
        read = readings.read(partial(_in_turn, first.change, second.change))
        effect = first.moves, second.moves, read
        key = tuple(array.tobytes() for array in effect)
        effects[key] = *effect, effects[key][-1] + 1 if key in effects else 1
    if len(effects) * _crops(augmentation) * readings.plain.size > MAX_OBSERVED_PIXELS:
        return None
    counts = _Counts(len(shortcut.positions))
    for label, positions in enumerate(shortcut.positions):
        cropped = _cropped(positions, size, augmentation.padding)
        for moves, more_moves, read, weight in effects.values():
            places = more_moves[moves[cropped]]
            visible = places < outside
            codes = np.where(visible, places * readings.number + read[label] + 1, 0)
            lost = ~(visible & (read[label] == readings.plain[label])).any(1)
            counts.add(label, codes, np.full(len(codes), weight), lost)
    return counts.survival(_crops(augmentation) * len(operations) ** 2)


def pixel_survival(size: tuple[int, int], augmentation: Augmentation) -> NDArray[np.float64]:
    """Return the probability that a pixel is left after crop, flip and a hole, (H, W): the bound for one pixel."""
    sides = []
    for length, hole in zip(size, augmentation.hole, strict=True):
        moved = np.arange(length)[:, np.newaxis] + np.arange(-augmentation.padding, augmentation.padding + 1)
        sides.append((_is_inside(moved, length), _hiding(moved, length, hole)))
    (rows, hidden_rows), (columns, hidden_columns) = sides
    kept = np.einsum("ra,cb->rc", rows.astype(np.int64), columns.astype(np.int64)) * math.prod(size)
    hidden = np.einsum("ra,cb->rc", rows * hidden_rows, columns * hidden_columns)
    either = (kept - hidden) + (kept - hidden)[:, ::-1]
    return np.asarray(either / (_crops(augmentation) * math.prod(size)))


@dataclass(frozen=True, eq=False)
class _Side:
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
    def of(cls, at: Int64Array, length: int, hole: int) -> "_Side":
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
        return cls(shown, _is_inside(shown, length), different[:, 1:] == 1, views)

    def of_views(self, chosen: NDArray[np.bool_]) -> "_Side":
        """Return some of the views, given a (V,) bool mask."""
        return _Side(self.at[chosen], self.inside[chosen], self.hidden[chosen], self.views[chosen])


@dataclass(frozen=True, eq=False)
class _Readings:
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
    def of(cls, shortcut: Shortcut) -> "_Readings":
        """Return the readings of a shortcut's colours."""
        return cls(shortcut.colors.astype(np.float64), np.unique(shortcut.colors).astype(np.float64))

    @property
    def number(self) -> int:
        """The number of different readings."""
        return int(len(self.levels) ** self.colors.shape[-1])

    @property
    def plain(self) -> Int64Array:
        """The readings of the colours as they are, (K, n) int64."""
        return self.read(lambda levels: levels)

    def read(self, change: "Change") -> Int64Array:
        """Return the readings of changed colours, (K, n) int64; of two levels as near, the lower."""
        nearest = np.abs(change(self.colors)[..., np.newaxis] - self.levels).argmin(-1)
        return np.asarray(nearest @ len(self.levels) ** np.arange(self.colors.shape[-1]))


class _Counts:
    """Counts of the views of each class in which an observation is made."""

    def __init__(self, classes: int) -> None:
        self._lost = [0] * classes
        self._parts: list[tuple[Int64Array, Int64Array, Int64Array]] = []

    def add(self, label: int, codes: Int64Array, weights: Int64Array, lost: NDArray[np.bool_]) -> None:
        """Add observations of a class: (V, n) codes of what is seen, 0 for nothing, and the number of views of each."""
        seen = weights > 0
        self._lost[label] += int(weights[lost].sum())
        # The order of a class's pixels is not seen.
        self._parts.append((np.sort(codes[seen], 1), np.full(int(seen.sum()), label), weights[seen]))

    def survival(self, views: int) -> Survival:
        """Return the result, for this number of views of each class."""
        codes, labels, weights = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        order = np.lexsort((labels, *codes.T))
        codes, labels, weights = codes[order], labels[order], weights[order]
        other = np.ones(len(codes), bool)
        other[1:] = (codes[1:] != codes[:-1]).any(1)
        other_class = other.copy()
        other_class[1:] |= labels[1:] != labels[:-1]
        of_class = np.add.reduceat(weights, np.flatnonzero(other_class))
        most = np.maximum.reduceat(of_class, np.flatnonzero(other[other_class]))
        return Survival(views, tuple(self._lost), int(most.sum()))


def _crops(augmentation: Augmentation) -> int:
    """Return the number of crops and flips."""
    return 2 * (2 * augmentation.padding + 1) ** 2


def _cropped(positions: Int64Array, size: tuple[int, int], padding: int) -> Int64Array:
    """Return where the crops and flips show pixels: row · W + column, or H·W outside, (V, n) int64."""
    (height, width), moves = size, range(-padding, padding + 1)
    down, right, flip = np.array(list(product(moves, moves, (0, 1)))).T[..., np.newaxis]
    rows, columns = positions[:, 0] + down, positions[:, 1] + right
    columns = np.where(flip == 1, width - 1 - columns, columns)
    inside = _is_inside(rows, height) & _is_inside(columns, width)
    return np.where(inside, rows * width + columns, height * width)


def _is_inside(at: Int64Array, length: int) -> NDArray[np.bool_]:
    return np.asarray((at >= 0) & (at < length))


def _interval(at: Int64Array, length: int, hole: int) -> tuple[Int64Array, Int64Array]:
    """Return the first and the last centre of a hole, along one side, that hides what is at a row or column."""
    return np.maximum(at + hole // 2 - hole + 1, 0), np.minimum(at + hole // 2, length - 1)


def _hiding(at: Int64Array, length: int, hole: int) -> Int64Array:
    """Return the number of centres of a hole, along one side, that hide what is at a row or column."""
    first, last = _interval(at, length, hole)
    return np.asarray(np.maximum(last - first + 1, 0))


# Takes colours, (…, C) levels as floats, and returns what an operation makes of them.
Change = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _in_turn(first: Change, second: Change, levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return second(first(levels))


@dataclass(frozen=True, eq=False)
class _Operation:
    """What an operation of RandAugment in one direction does to a pixel.

    Attributes
    ----------
    moves : (H·W + 1,) int64
        Where it shows each pixel, as `_cropped` counts; H·W for what is outside, and stays there.
    change
        What it makes of a colour.
    """

    moves: Int64Array
    change: Change


def _operations(size: tuple[int, int], augmentation: Augmentation) -> list[_Operation]:
    """Return the operations of RandAugment in both directions: each is as likely as the others."""
    stays = np.arange(math.prod(size) + 1)
    operations = []
    for sign in (STRENGTH, -STRENGTH):
        operations += [_Operation(stays, change) for change in _changes(sign, augmentation.inverted)]
        operations += [_Operation(moves, lambda levels: levels) for moves in _moves(size, augmentation, sign)]
    return operations


def _changes(strength: float, inverted: int) -> Iterator[Change]:
    """Yield what the operations that move no pixel do to colours; see `randaugment_survival` for three of them."""
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
    shows = np.flatnonzero(_is_inside(row, height) & _is_inside(column, width))
    moves = np.full(outside + 1, outside)
    np.minimum.at(moves, row[shows] * width + column[shows], shows)
    return moves
