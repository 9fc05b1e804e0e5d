"""The marks by which the classes of a shortcut that survives augmentation are told apart (see `spread`)."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.errors import UsageError
from cifar10_s.shortcut.augmentation import Augmentation

WHITE = 255
# Inverted, by solarize at any strength or by invert, it is 127, the same but for the last bit.
MIDDLE = 128
# The highest level if nothing is inverted: posterize drops the last bit.
POSTERIZED = 254
# Levels of a channel are at least this far apart.
DISTANCE = 10


@dataclass(frozen=True, eq=False)
class Slots:
    """The marks that are told apart: slot s is one or two bands, and two colours, which may be the same.

    Attributes
    ----------
    top
        The highest level of a colour.
    palette : (M, C) uint8
        The colours.
    bands : (S, P) int64
        The band of each of a slot's P parts.
    colors : (S, 2) int64
        Indices into the palette. If there is one part, its pair has both; else the parts have them in turn.
    is_ordered
        Whether the same two colours in the other order are another slot.
    """

    top: int
    palette: NDArray[np.uint8]
    bands: Int64Array
    colors: Int64Array
    is_ordered: bool = False


def highest_level(augmentation: Augmentation) -> int:
    """Return the highest level of a colour, which augmentation does not change: see `MIDDLE` and `POSTERIZED`."""
    return POSTERIZED if augmentation.inverted > WHITE else MIDDLE


def brightest_level(augmentation: Augmentation) -> int:
    """Return the highest even level that is not inverted; at least `MIDDLE`, which inversion leaves as it is."""
    return max((augmentation.inverted - 1) // 2 * 2, MIDDLE)


def make_slots(channels: int, classes: int, bands: int, top: int, parts: int = 1) -> Slots:
    """Return at least as many slots as classes, of as few colours as possible; all parts of a slot are in one band.

    Raises
    ------
    UsageError
        If there are more classes than slots.
    """
    corners = list(_colors(channels, 2, top))
    if bands * len(corners) >= classes:
        return _slots(corners, [(i, i) for i in range(len(corners))], bands, top, parts)
    ordered = corners
    for levels in range(2, 2 + top // DISTANCE):
        ordered = corners + [color for color in _colors(channels, levels, top) if not set(color) <= {0, top}]
        if bands * len(ordered) * (len(ordered) + 1) // 2 >= classes:
            break
    most = bands * len(ordered) * (len(ordered) + 1) // 2
    if most < classes:
        raise UsageError(
            f"{classes} classes are more than the {most} marks of two colours of {channels} channel"
            f"{'s' * (channels > 1)} in {bands} band{'s' * (bands > 1)} of rows that can be told apart: "
            f"expected at most {most}; use larger images, fewer classes, or another objective"
        )
    needed = next(n for n in range(1, len(ordered) + 1) if bands * n * (n + 1) // 2 >= classes)
    pairs = [(i, i) for i in range(needed)] + list(combinations(range(needed), 2))
    return _slots(ordered[:needed], pairs, bands, top, parts)


def make_pair_slots(channels: int, classes: int, bands: int, top: int) -> Slots:
    """Return at least as many slots of two bands and their colours as classes, of as few colours as possible.

    The first two colours are black and a bright grey: of any light, filter or order of channels, they leave which is
    the brighter one.

    Raises
    ------
    UsageError
        If there are more classes than slots.
    """
    places = list(combinations(range(bands), 2))
    first = list(dict.fromkeys([(0,) * channels, (top,) * channels, *_colors(channels, 2, top)]))
    for levels in range(2, 2 + top // DISTANCE):
        palette = first + [color for color in _colors(channels, levels, top) if color not in first]
        if len(places) * len(palette) ** 2 >= classes:
            break
    most = len(places) * len(palette) ** 2
    if most < classes:
        raise UsageError(
            f"{classes} classes are more than the {most} marks of two pairs of patches of {channels} "
            f"channel{'s' * (channels > 1)} that can be told apart: expected at most {most}; use fewer classes, or "
            "another objective"
        )
    needed = next(n for n in range(2, len(palette) + 1) if len(places) * n * n >= classes)
    of_slots = list(product(places, product(range(needed), repeat=2)))
    bands_of, colors = (np.array([slot[part] for slot in of_slots], np.int64) for part in (0, 1))
    return Slots(top, np.array(palette[:needed], np.uint8), bands_of, colors, is_ordered=True)


def _colors(channels: int, levels: int, top: int) -> Iterator[tuple[int, ...]]:
    """Yield the colours whose channels have equally distant levels from 0 to the top, in lexicographic order.

    If there is more than one channel, greys are left out: borders, holes and shadows have them too.
    """
    for color in product([top * i // (levels - 1) for i in range(levels)], repeat=channels):
        if channels == 1 or len(set(color)) > 1:
            yield color


def _slots(colors: list[tuple[int, ...]], pairs: list[tuple[int, int]], bands: int, top: int, parts: int) -> Slots:
    """Return the slots of every band and pair of colours."""
    both = np.array(pairs, np.int64)
    of_slots = np.repeat(np.arange(bands), len(both))
    return Slots(top, np.array(colors, np.uint8), np.tile(of_slots[:, np.newaxis], parts), np.tile(both, (bands, 1)))
