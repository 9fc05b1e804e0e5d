"""Measure how much of a shortcut is left in augmented views, in closed form: no image and no network is needed.

A *view* is a crop and a flip, then a hole or two operations of RandAugment, all drawn as in training. From it one sees
an *observation*: the places and colours of the class's pixels that are left in it. For each observation, count the
views of each class that show it. The best guess is the class with the most views. For classes of equal size, the
accuracy of this Bayes-optimal guess bounds what can be learned from the shortcut alone.

What RandAugment does is a table (`randaugment_table`): where each operation shows a pixel, and what it makes of its
colour. Operations change levels, and a network does not tell every level from the next: so each channel is read
as the nearest level that the shortcut has. All counts are integers, divided once.
"""

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.randaugment_table import pixel_operations
from cifar10_s.shortcut.readings import Readings
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.views import Side, count_crops, cropped, hiding, is_inside

# Maximum number of pixels, summed over all observations: more would take too long, and are not counted.
MAX_OBSERVED_PIXELS = 50_000_000
# What `measure_survival` measures.
AUGMENTATIONS = ("crop and flip", "Cutout", "RandAugment")


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
    if count_crops(augmentation) * shortcut.positions[..., 0].size > MAX_OBSERVED_PIXELS:
        return None
    sides = []
    for label, positions in enumerate(shortcut.positions):
        rows, columns = (at + np.arange(-padding, padding + 1)[:, np.newaxis] for at in positions.T)
        columns = np.concatenate([columns, width - 1 - columns])
        down, across = Side.of(rows, height, augmentation.hole[0]), Side.of(columns, width, augmentation.hole[1])
        # Where a hole covers no pixel along one side, what it covers along the other does not matter.
        covers = np.asarray(down.hidden.any(1))
        sides += [(label, down.of_views(covers), across), (label, down.of_views(~covers), Side.of(columns, width, 0))]
    if sum(down.at.size * len(across.at) for _, down, across in sides) > MAX_OBSERVED_PIXELS:
        return None
    readings, counts = Readings.of(shortcut), _Counts(len(shortcut.positions))
    plain = readings.plain
    for label, down, across in sides:
        codes = (down.at[:, np.newaxis] * width + across.at) * readings.number + plain[label] + 1
        visible = down.inside[:, np.newaxis] & across.inside & ~(down.hidden[:, np.newaxis] & across.hidden)
        codes = (codes * visible).reshape(-1, codes.shape[-1])
        counts.add(label, codes, np.outer(down.views, across.views).ravel(), ~codes.any(1))
    return counts.survival(count_crops(augmentation) * math.prod(size))


def randaugment_survival(shortcut: Shortcut, size: tuple[int, int], augmentation: Augmentation) -> Survival | None:
    """Return what is left after crop, flip and two operations of RandAugment; None beyond `MAX_OBSERVED_PIXELS`.

    If an operation shows a pixel twice, the first copy counts. Autocontrast and equalize are taken to leave colours as
    they are, and contrast and sharpness to see `randaugment_table.MEAN_LEVEL` around a pixel: what they do depends on
    the image.

    Parameters
    ----------
    shortcut, size, augmentation
        See `crop_survival`; the hole does not matter.
    """
    readings, outside = Readings.of(shortcut), math.prod(size)
    plain = readings.plain
    operations = pixel_operations(size, augmentation)
    # Views of the same effect, as a move, another one, and the colours that are read, with their number.
    effects: dict[tuple[bytes, ...], tuple[Int64Array, Int64Array, Int64Array, int]] = {}
    for first, second in product(operations, repeat=2):
        read = readings.read(first.change, second.change)
        effect = first.moves, second.moves, read
        key = tuple(array.tobytes() for array in effect)
        effects[key] = *effect, effects[key][-1] + 1 if key in effects else 1
    if len(effects) * count_crops(augmentation) * plain.size > MAX_OBSERVED_PIXELS:
        return None
    counts = _Counts(len(shortcut.positions))
    for label, positions in enumerate(shortcut.positions):
        shown = cropped(positions, size, augmentation.padding)
        for moves, more_moves, read, weight in effects.values():
            places = more_moves[moves[shown]]
            visible = places < outside
            codes = np.where(visible, places * readings.number + read[label] + 1, 0)
            lost = ~(visible & (read[label] == plain[label])).any(1)
            counts.add(label, codes, np.full(len(codes), weight), lost)
    return counts.survival(count_crops(augmentation) * len(operations) ** 2)


def pixel_survival(size: tuple[int, int], augmentation: Augmentation) -> NDArray[np.float64]:
    """Return the probability that a pixel is left after crop, flip and a hole, (H, W): the bound for one pixel."""
    sides = []
    for length, hole in zip(size, augmentation.hole, strict=True):
        moved = np.arange(length)[:, np.newaxis] + np.arange(-augmentation.padding, augmentation.padding + 1)
        sides.append((is_inside(moved, length), hiding(moved, length, hole)))
    (rows, hidden_rows), (columns, hidden_columns) = sides
    kept = np.einsum("ra,cb->rc", rows.astype(np.int64), columns.astype(np.int64)) * math.prod(size)
    hidden = np.einsum("ra,cb->rc", rows * hidden_rows, columns * hidden_columns)
    either = (kept - hidden) + (kept - hidden)[:, ::-1]
    return np.asarray(either / (count_crops(augmentation) * math.prod(size)))


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
