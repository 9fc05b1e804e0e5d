"""Search for a shortcut that survives augmentation: pairs that no hole hides, in colours and bands of their own.

*Places.* The pixels of a class come in pairs: two pixels of one row, at columns x and W - 1 - x, so that a flip maps
the pair to itself. Both are at least the padding away from the sides, so that no crop loses them, and at least a hole's
width apart, so that no hole hides both. Rows are in bands: no crop moves a row to where one moves a row of another
band, and no translation of RandAugment, even after a crop, loses a band.

*Colours.* The levels are 0 and 128, which inversion leaves as it is, and in between for many classes. No colour is
grey.

*Slots.* A slot is a band and a colour or, if there are more classes than these, a band and two colours. Each class gets
a slot of its own, and in it the places where it is seen best. Slots are assigned so that the sum over the classes of
noise to signal is the least possible.

*Noise to signal.* With S = Σ_j |x_j - ξ_j|, the paper's score is E[S] / Var[S]. If a level ξ_j is neither 0 nor 255, S
does not follow from the moments. Two things near to it do, in exact integers: the signal Σ_j E[(x_j - ξ_j)²], and the
noise Var[Σ_j ±x_j], each x_j with the sign that it has in S if ξ_j is the lowest or the highest level.

*Patches.* Single pixels do not survive what smooths images, such as a median filter or JPEG. Square patches of one
colour do. They take the place of pixels above; noises and signals are sums over a patch.

*Two pairs of patches.* What moves a pair by many rows, or shuffles channels, leaves no band and no colour to tell. The
distance of two pairs is left, and which of them is brighter. So of three bands, at 0, 1 and 3 on a ruler, a class has
a pair in two, each black or bright grey: three distances times four brightnesses are 12 slots. Levels are 0 and 178:
the highest that solarize leaves at the benchmark's strength. For more classes, the palette grows by colours.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.options import Options
from cifar10_s.data.images import Images
from cifar10_s.errors import UsageError
from cifar10_s.shortcut.accumulate import check_classes, moments_by_class
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.layout import Layout, arrange, arrange_pairs
from cifar10_s.shortcut.moments import channel_pairs
from cifar10_s.shortcut.objectives import ratio, signed_variance
from cifar10_s.shortcut.shortcut import PATCHES, SPREAD, Shortcut, patch_side
from cifar10_s.shortcut.slots import Slots, brightest_level, highest_level, make_pair_slots, make_slots

# Two or four patches of 3×3 pixels. A median of 3×3 removes their corners alone, and smaller patches as a whole.
PATCH_PIXELS, FOUR_PATCHES = 18, 36
# The cost of as much noise as signal. Costs are integers below 2^31, so that sums over 4 million classes are exact.
UNIT = 1 << 24
# The cost of a mark that is not seen, as all images of the class have these colours there.
INVISIBLE = UNIT << 6


def find_spread(
    images: Images, options: Options, *, pixels: int = 2, augmentation: Augmentation | None = None
) -> Shortcut:
    """Find the pixels of a shortcut that survives augmentation, in one pass over the images.

    Parameters
    ----------
    images
        Clean training images.
    options
        Device and memory for the sums; the result is the same on every device.
    pixels
        Number of pixels per class, at least 2.
    augmentation
        What the shortcut must survive; by default what the benchmark does to images of this size.

    Raises
    ------
    UsageError
        If so many pixels or classes do not fit on such images, or a class has no images; and as for `search`.

    Examples
    --------
    >>> import cifar10_s
    >>> from cifar10_s.common.options import Options
    >>> from cifar10_s.shortcut.spread import find_spread
    >>> shortcut = find_spread(cifar10_s.load_images("sample"), Options.resolve(device="cpu"))
    >>> [pixel["column"] for pixel in shortcut.to_dict()["classes"][3]["pixels"]]
    [1, 6]
    """
    return _find_in(images, options, *check_spread(images, pixels, augmentation), SPREAD)


def find_patches(
    images: Images, options: Options, *, pixels: int = PATCH_PIXELS, augmentation: Augmentation | None = None
) -> Shortcut:
    """Find two or four patches of s×s pixels per class that survive augmentation.

    From s = 3 on, a median of 3×3 pixels leaves the middle of each patch.

    Parameters
    ----------
    images, options, augmentation
        See `find_spread`.
    pixels
        Number of pixels per class, 2·s² or 4·s² for a side s of 2 or more.

    Raises
    ------
    UsageError
        If neither two nor four squares have so many pixels; and as for `find_spread`.

    Examples
    --------
    >>> import numpy as np
    >>> from cifar10_s.common.options import Options
    >>> from cifar10_s.data.images import LabeledImages
    >>> from cifar10_s.shortcut.spread import find_patches
    >>> black = LabeledImages(np.zeros((2, 32, 32, 3), np.uint8), np.array([0, 1]), ("a", "b"))
    >>> find_patches(black, Options.resolve(device="cpu")).positions.shape
    (2, 18, 2)
    """
    return _find_in(images, options, *check_patches(images, pixels, augmentation), PATCHES)


def _find_in(images: Images, options: Options, layout: Layout, slots: Slots, objective: str) -> Shortcut:
    """Find the shortcut of a layout and slots."""
    check_classes(images)
    width = images.shape[2]
    marks = _Marks.of(slots, layout)
    found = [_find(*sums, layout, slots, marks) for sums in _by_class(images, options, layout)]
    chosen = [
        _pixels(found[label], slot, layout, slots, marks, width)
        for label, slot in enumerate(_assign(found, layout, slots, marks))
    ]
    positions, colors, scores = (np.stack(parts) for parts in zip(*chosen, strict=True))
    return Shortcut(objective, positions, colors, scores, images.class_names)


def check_spread(images: Images, pixels: int = 2, augmentation: Augmentation | None = None) -> tuple[Layout, Slots]:
    """Return where the pixels can be and what their colours are; raise UsageError if they do not fit: `find_spread`."""
    return _check(images, pixels, augmentation, 1)


def check_patches(
    images: Images, pixels: int = PATCH_PIXELS, augmentation: Augmentation | None = None
) -> tuple[Layout, Slots]:
    """Return where the patches can be and what their colours are; raise UsageError if they do not fit."""
    side = patch_side(pixels)
    if side < 2:
        raise UsageError(
            f"pixels: expected two or four squares of them per class with the objective {PATCHES}, such as 18 for two "
            f"patches of 3×3, got {pixels}"
        )
    height, width, channels = images.shape[1:]
    if side > min(height, width):
        raise UsageError(f"pixels: expected squares that fit images of {height}×{width}, got {side}×{side}")
    if pixels == 2 * side**2:
        return _check(images, 2, augmentation, side)
    augmentation = augmentation or Augmentation.of(height, width)
    layout = arrange_pairs(height, width, augmentation, side)
    classes, top = len(images.class_names), brightest_level(augmentation)
    return layout, make_pair_slots(channels, classes, len(layout.bands), top)


def _check(images: Images, pixels: int, augmentation: Augmentation | None, patch: int) -> tuple[Layout, Slots]:
    height, width, channels = images.shape[1:]
    augmentation = augmentation or Augmentation.of(height, width)
    layout = arrange(height, width, pixels, augmentation, patch)
    classes, top = len(images.class_names), highest_level(augmentation)
    return layout, make_slots(channels, classes, len(layout.bands), top, len(layout.parts))


@dataclass(frozen=True, eq=False)
class _Marks:
    """The colours that a unit can have: for its left and its right pixel.

    Attributes
    ----------
    colors : (T, 2) int64
        Indices into the palette.
    of_slots : (O, S, P) int64
        The mark of each part in each slot, for one or both orders of the slot's colours.
    """

    colors: Int64Array
    of_slots: Int64Array

    @classmethod
    def of(cls, slots: Slots, layout: Layout) -> "_Marks":
        """Return the marks of slots: one pair has a slot's two colours, and more parts have them in turn."""
        orders = np.stack([slots.colors] if slots.is_ordered else [slots.colors, slots.colors[:, ::-1]])
        if len(layout.parts) == 1:
            colors, index = np.unique(orders.reshape(-1, 2), axis=0, return_inverse=True)
            return cls(colors, index.reshape(len(orders), -1, 1))
        palette = np.arange(len(slots.palette))
        return cls(np.stack([palette, palette], 1), orders[:, :, np.arange(len(layout.parts)) % 2])


@dataclass(frozen=True, eq=False)
class _Found:
    """Where each unit of one class is seen best, by unit, band and mark.

    Attributes
    ----------
    costs : (U, B, T) int64
        Noise to signal, in `UNIT`.
    places : (U, B, T) int64
        Which of the unit's places; for a single pixel, the places once more for their right pixels.
    scores : (U, B, T, 2) float64
        Signal to noise of the left and the right pixel; of a single pixel, twice its own.
    """

    costs: Int64Array
    places: Int64Array
    scores: NDArray[np.float64]


def _by_class(images: Images, options: Options, layout: Layout) -> Iterator[tuple[int, NDArray[Any], NDArray[Any]]]:
    """Yield the number of images of each class, and their sums and products in the bands, (B, rows, W, …).

    The integers that follow from them cannot overflow.
    """
    rows = np.array(layout.bands)
    for moments in moments_by_class(images, options):
        for label, count in enumerate(moments.counts.tolist()):
            # Up to 2^53 a division of int64 rounds once; above, Python's does.
            is_large = 2 * (255 * images.shape[-1] * count * layout.patch) ** 2 > 2**53
            dtype = object if is_large else np.int64
            yield count, moments.sums[label][rows].astype(dtype), moments.products[label][rows].astype(dtype)
        # Freed before the sums of the next classes are allocated.
        del moments


def _noise_and_signal(
    count: int, sums: NDArray[Any], products: NDArray[Any], slots: Slots, patch: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return N² times the noise and the signal of every colour at every position, (B, rows, W, M) integers.

    Those of a patch are at its first pixel, so there are fewer rows and columns.
    """
    colors = slots.palette.astype(sums.dtype)
    signs = np.where(2 * slots.palette.astype(np.int64) < slots.top, 1, -1).astype(sums.dtype)
    noise = signed_variance(count, sums @ signs.T, products, signs)
    squares = products[..., [i == j for i, j in channel_pairs(sums.shape[-1])]].sum(-1)[..., np.newaxis]
    signal = count * (squares - 2 * (sums @ colors.T) + count * (colors**2).sum(1))
    return _sums_of_patches(noise, patch), _sums_of_patches(signal, patch)


def _sums_of_patches(values: NDArray[Any], patch: int) -> NDArray[Any]:
    """Return the sums over all patches of (B, rows, W, M) values."""
    return np.asarray(sliding_window_view(values, (patch, patch), (1, 2)).sum((-2, -1)))


def _find(
    count: int, sums: NDArray[Any], products: NDArray[Any], layout: Layout, slots: Slots, marks: _Marks
) -> _Found:
    """Find the place of least noise to signal for each unit, band and mark; of ties, the first."""
    noise, signal = _noise_and_signal(count, sums, products, slots, layout.patch)
    costs, chosen, scores = [], [], []
    for number, places in enumerate(layout.units):
        row, left = np.array(places).T
        right = noise.shape[2] - 1 - left
        is_single = layout.pixels == 2 * number + 1
        if is_single:
            row, left = np.tile(row, 2), np.concatenate([left, right])
            right = left
        # (2, B, places, T) integers: of the left and the right pixels.
        noises, signals = (
            np.stack([of[:, row, at][..., color] for at, color in zip((left, right), marks.colors.T, strict=True)])
            for of in (noise, signal)
        )
        cost = np.where(signals.sum(0) == 0, INVISIBLE, ratio(noises.sum(0), signals.sum(0)) * UNIT)
        cost = np.minimum(cost, INVISIBLE).astype(np.int64)
        best = cost.argmin(1)[:, np.newaxis]
        costs.append(np.take_along_axis(cost, best, 1)[:, 0])
        chosen.append(best[:, 0])
        signals, noises = (np.take_along_axis(of, best[np.newaxis], 2)[:, :, 0] for of in (signals, noises))
        scores.append(np.moveaxis(ratio(signals, noises), 0, -1))
    return _Found(np.stack(costs), np.stack(chosen), np.stack(scores))


def _slot_costs(found: _Found, layout: Layout, slots: Slots, marks: _Marks) -> Int64Array:
    """Return the cost of each slot for one class, in each order of its colours, (O, S) int64."""
    return np.asarray(found.costs[np.array(layout.parts), slots.bands, marks.of_slots].sum(-1))


def _assign(found: list[_Found], layout: Layout, slots: Slots, marks: _Marks) -> list[tuple[int, int]]:
    """Give each class a slot of its own, so that the sum of costs is least; return the order and the slot of each."""
    # Imported here: only this search needs it.
    from scipy.optimize import linear_sum_assignment

    costs = np.stack([_slot_costs(of_class, layout, slots, marks) for of_class in found])
    _, chosen = linear_sum_assignment(costs.min(1).astype(np.float64))
    orders = costs[np.arange(len(found)), :, chosen].argmin(1)
    return list(zip(orders.tolist(), chosen.tolist(), strict=True))


def _pixels(
    found: _Found, slot: tuple[int, int], layout: Layout, slots: Slots, marks: _Marks, width: int
) -> tuple[Int64Array, NDArray[np.uint8], NDArray[np.float64]]:
    """Return the positions, colours and scores of a class's pixels in a slot."""
    pixels = []
    for part, number in enumerate(layout.parts):
        places, band, mark = layout.units[number], slots.bands[slot[1], part], marks.of_slots[(*slot, part)]
        at = number, band, mark
        place = int(found.places[at])
        row, column = places[place % len(places)]
        sides = (column, width - layout.patch - column)
        # A single pixel is the left or the right one.
        wanted = [place // len(places)] if layout.pixels == 2 * number + 1 else [0, 1]
        for side in wanted:
            color = slots.palette[marks.colors[mark, side]]
            pixels += [
                ((layout.bands[band][row] + down, sides[side] + right), color, found.scores[at][side])
                for down, right in product(range(layout.patch), repeat=2)
            ]
    positions, colors, scores = zip(*pixels, strict=True)
    return np.array(positions, np.int64), np.array(colors), np.array(scores)
