"""Search for the shortcut of a data set (paper, Algorithm 1)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Float64Array
from cifar10_s.common.machine import Memory
from cifar10_s.common.options import Options
from cifar10_s.common.threads import thread_map
from cifar10_s.data.images import Images
from cifar10_s.errors import UsageError, look_up, unknown
from cifar10_s.shortcut.accumulate import check_classes, moments_by_class
from cifar10_s.shortcut.moments import Moments, has_few_pixels
from cifar10_s.shortcut.objectives import OBJECTIVES, SEARCHED, Deviations, Objective, candidate_colors
from cifar10_s.shortcut.shortcut import JOINT, PATCHES, SPREAD, Shortcut
from cifar10_s.shortcut.spread import check_patches, check_spread, find_patches, find_spread


def search(
    images: Images,
    *,
    objective: str = "mean-over-variance",
    pixels: int = 1,
    device: str = "auto",
    memory: Memory = None,
) -> Shortcut:
    """Find the shortcut of the given images.

    Classes choose in order. Each takes its best candidate that no earlier class took, then the best one at another
    position, and so on. Ties go to the larger mean deviation, then the lower row, column and colour. With ``spread``
    or ``patches``, all classes choose together, so that the shortcut survives augmentation (`spread.find_spread`,
    `spread.find_patches`).

    Parameters
    ----------
    images
        Clean training images.
    objective
        A name of `objectives.SEARCHED`, ``spread`` or ``patches``.
    pixels
        Number of pixels per class, each at a position of its own.
    device, memory
        See `Options.resolve`; the result is bit-identical on every device.

    Raises
    ------
    UsageError
        If the objective is unknown, the images have no room for so many pixels or classes, a class has no images, or
        memory is insufficient for the sums of one class; and as for `Options.resolve`.

    Examples
    --------
    >>> import cifar10_s
    >>> images = cifar10_s.load_images("sample")
    >>> shortcut = cifar10_s.search(images)
    >>> shortcut.positions.shape, shortcut.colors.shape
    ((10, 1, 2), (10, 1, 1))
    >>> poisoned = shortcut.stamp(images)
    """
    options = Options.resolve(device=device, memory=memory)
    if objective not in (known := (*SEARCHED, *JOINT)):
        raise unknown("objective", objective, known)
    return SEARCHES[objective].find(images, options, pixels)


def score_maps(
    images: Images,
    *,
    objective: str = "mean-over-variance",
    device: str = "auto",
    memory: Memory = None,
    classes: int | None = None,
) -> Float64Array:
    """Return the best score over all colours at each position, per class: (K, H, W) float64.

    Parameters
    ----------
    images, device, memory
        See `search`.
    objective
        A name of `objectives.SEARCHED`: the others have no scores of single positions.
    classes
        Number of classes, from the first on; by default all.

    Raises
    ------
    UsageError
        As for `search`, and if ``classes`` is less than 1.

    Examples
    --------
    >>> import cifar10_s
    >>> cifar10_s.score_maps(cifar10_s.load_images("sample")).shape
    (10, 8, 8)
    """
    return best_colors(images, Options.resolve(device=device, memory=memory), objective=objective, classes=classes)[0]


def best_colors(
    images: Images, options: Options, *, objective: str, classes: int | None = None
) -> tuple[Float64Array, NDArray[np.uint8]]:
    """Return `score_maps` and the colours that have these scores: (K, H, W) float64 and (K, H, W, C) uint8.

    Ties are broken as in the search: the larger mean deviation, then the lower colour. Errors are as for `score_maps`.
    """
    score = look_up("objective", objective, SEARCHED).score
    check_classes(images)
    if classes is not None and classes < 1:
        raise UsageError(f"classes: expected at least 1, got {classes}")
    maps, colors = [], []
    for deviations in islice(_by_class(images, options, classes), classes):
        scored = score(deviations)
        maps.append(scored.max(-1))
        # Totals are never negative.
        totals = np.where(scored == maps[-1][..., None], deviations.total, -1)
        colors.append(candidate_colors(deviations.channels)[totals.argmax(-1)])
    return np.stack(maps), np.stack(colors)


def find_pixels(images: Images, objective: Objective, options: Options, *, pixels: int) -> Shortcut:
    """Find the pixels that an objective chooses; only the random control uses the seed. See `search`."""
    check_pixels(images, pixels)
    return _choose(_by_class(images, options), objective, pixels, images, options.seed)


def check_pixels(images: Images, pixels: int) -> None:
    """Raise UsageError if the images have fewer than ``pixels`` positions."""
    height, width = images.shape[1:3]
    if not 1 <= pixels <= height * width:
        raise UsageError(
            f"pixels: expected 1 to {height * width}, the positions of {height}×{width} images, got {pixels}"
        )


def _by_class(images: Images, options: Options, classes: int | None = None) -> Iterator[Deviations]:
    """Yield the deviations of each class, in order."""
    for moments in moments_by_class(images, options, classes=classes):
        for label in range(len(moments.counts)):
            yield _deviations(moments, label)
        # Freed before the sums of the next classes are allocated.
        del moments


def _deviations(moments: Moments, label: int) -> Deviations:
    """Return the deviations of one class, in integers that are exact."""
    count = int(moments.counts[label])
    # Every integer of a score is at most (255·C·N)². Up to 2^53 a float64 holds it, which NumPy multiplies fastest;
    # above, Python's integers do. Either division rounds once.
    is_large = (255 * moments.sums.shape[-1] * count) ** 2 > 2**53
    dtype = object if is_large else np.float64
    return Deviations(count, moments.sums[label].astype(dtype), moments.products[label].astype(dtype))


def _choose(classes: Iterable[Deviations], objective: Objective, pixels: int, images: Images, seed: int) -> Shortcut:
    """Take the highest-ranked candidates, class by class (paper, Algorithm 1)."""
    class_names, (height, width, channels) = images.class_names, images.shape[1:]
    check_classes(images)
    colors = candidate_colors(channels)
    free = np.ones((height, width, len(colors)), bool)
    chosen: list[list[tuple[int, int, int]]] = []
    scores = np.empty((len(class_names), pixels))
    ranking = objective.ranking(seed)

    def score(deviations: Deviations) -> tuple[Float64Array, NDArray[Any]]:
        return objective.score(deviations), deviations.total

    for label, (scored, total) in enumerate(thread_map(score, classes, few=has_few_pixels(images.shape[1:]))):
        ranks = ranking(scored)
        allowed = free.copy()
        chosen.append([])
        for i in range(pixels):
            if not allowed.any():
                raise UsageError(
                    f"no candidate is left for class {label} ({class_names[label]}): {len(class_names)} classes of "
                    f"{pixels} pixels need as many (position, colour) pairs, and {height}×{width} images "
                    f"have {free.size}; ask for fewer pixels"
                )
            best = _best(ranks, total, allowed)
            chosen[label].append(best)
            scores[label, i] = scored[best]
            free[best] = False
            allowed[best[:2]] = False
    picked = np.array(chosen, np.int64)
    return Shortcut(objective.name, picked[..., :2], colors[picked[..., 2]], scores, class_names)


def _best(ranks: Float64Array, total: NDArray[Any], allowed: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the allowed candidate of highest rank; of ties, the largest total, then lowest row, column, colour."""
    values = np.where(allowed, ranks, -np.inf).ravel()
    ties = np.flatnonzero(values == values.max())
    winner = ties[np.argmax(total.ravel()[ties])]
    row, column, color = np.unravel_index(int(winner), ranks.shape)
    return int(row), int(column), int(color)


@dataclass(frozen=True)
class Search:
    """A search of recipes.

    Attributes
    ----------
    find
        Finds the shortcut of clean images, with options and a number of pixels per class.
    check
        Raises UsageError if the images have no room for so many pixels, before anything is read.
    """

    find: Callable[[Images, Options, int], Shortcut]
    check: Callable[[Images, int], object]


def _by(objective: Objective) -> Search:
    return Search(lambda images, options, pixels: find_pixels(images, objective, options, pixels=pixels), check_pixels)


# By the name of the objective.
SEARCHES: dict[str, Search] = {
    **{name: _by(objective) for name, objective in OBJECTIVES.items()},
    SPREAD: Search(lambda images, options, pixels: find_spread(images, options, pixels=pixels), check_spread),
    PATCHES: Search(lambda images, options, pixels: find_patches(images, options, pixels=pixels), check_patches),
}
