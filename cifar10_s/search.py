"""The search (paper, Eq. 2 and Algorithm 1): moments → a score for every candidate → a shortcut.

With a target ξ of 0 or 255 in each channel, the deviation S = Σ_j |x_j - ξ_j| is linear in x, so its sum and
its spread over a class's images follow from Σ x_j and Σ x_i·x_j. They are integers up to the last division:
candidates that are equal are exactly equal, and the result is the same on every machine.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError, unknown
from cifar10_s.images import Images
from cifar10_s.memory import Memory
from cifar10_s.moments import Moments, channel_pairs
from cifar10_s.seeds import generator
from cifar10_s.shortcut import Shortcut
from cifar10_s.summation import moments_by_class

Float64Array = NDArray[np.float64]


def candidate_colors(channels: int) -> NDArray[np.uint8]:
    """List the corners of the colour cube, (2^C, C) uint8 of 0 and 255, lowest first."""
    return np.array(list(product((0, 255), repeat=channels)), np.uint8)


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far the images of one class are from every candidate, in exact integers of levels.

    ``count`` images; ``sums`` (H, W, C) and ``products`` (H, W, C(C+1)/2) as in `Moments`.
    """

    count: int
    sums: NDArray[Any]
    products: NDArray[Any]

    @property
    def channels(self) -> int:
        """Channels C."""
        return int(self.sums.shape[-1])

    @cached_property
    def _colors(self) -> NDArray[Any]:
        return candidate_colors(self.channels).astype(self.sums.dtype)

    @cached_property
    def _signs(self) -> NDArray[Any]:
        return np.where(self._colors == 0, 1, -1).astype(self.sums.dtype)

    @cached_property
    def _signed(self) -> NDArray[Any]:
        return np.asarray(self.sums @ self._signs.T)

    @cached_property
    def total(self) -> NDArray[Any]:
        """Σ S over the images, (H, W, 2^C)."""
        return np.asarray(self.count * self._colors.sum(1) + self._signed)

    @cached_property
    def spread(self) -> NDArray[Any]:
        """N²·Var[S] = N·ΣS² - (ΣS)², (H, W, 2^C); ξ only shifts S, so the signs of x are all that counts."""
        weights = [
            self._signs[:, i] * self._signs[:, j] * (1 if i == j else 2) for i, j in channel_pairs(self.channels)
        ]
        return np.asarray(self.count * (self.products @ np.stack(weights)) - self._signed**2)

    @cached_property
    def pooled_spread(self) -> NDArray[Any]:
        """(N·C)² times the variance of |x_j - ξ_j| over images and channels, (H, W, 2^C)."""
        diagonal = [i == j for i, j in channel_pairs(self.channels)]
        near_zero = self.products[..., diagonal]
        near_full = 255 * 255 * self.count - 510 * self.sums + near_zero
        is_full = (self._colors != 0).astype(self.sums.dtype)
        squares = near_full @ is_full.T + near_zero @ (1 - is_full).T
        return np.asarray(self.count * self.channels * squares - self.total**2)


def mean_over_variance(deviations: Deviations) -> Float64Array:
    """Score E[S] / Var[S], S = Σ_j |x_j - ξ_j|, x in [0, 1]: the paper's Eq. 2."""
    return _ratio(255 * deviations.count * deviations.total, deviations.spread)


def mean_over_std(deviations: Deviations) -> Float64Array:
    """Score mean / standard deviation of |x_j - ξ_j| pooled over images and channels: the authors' code."""
    return np.sqrt(_ratio(deviations.total**2, deviations.pooled_spread))


def mean_minus_variance(deviations: Deviations) -> Float64Array:
    """Score E[S/C] - Var[S/C], x in [0, 1]: the Adversarial Robustness Toolbox."""
    scale = 255 * deviations.channels * deviations.count
    return np.asarray((scale * deviations.total - deviations.spread) / scale**2, np.float64)


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Float64Array:
    """Divide; infinite where the denominator is 0, but 0 where both are: what deviates from nothing."""
    ratio = np.where(numerator == 0, 0.0, np.inf)
    # Unsafe is what NumPy calls Python's integers becoming floats.
    return np.asarray(np.divide(numerator, denominator, out=ratio, where=denominator != 0, casting="unsafe"))


Objective = Callable[[Deviations], Float64Array]

OBJECTIVES: dict[str, Objective] = {
    "mean-over-variance": mean_over_variance,
    "mean-over-std": mean_over_std,
    "mean-minus-variance": mean_minus_variance,
}


def search(
    images: Images,
    *,
    objective: str = "mean-over-variance",
    pixels: int = 1,
    device: str = "auto",
    memory: Memory = None,
) -> Shortcut:
    """Find the shortcut of the given images.

    Classes are taken in order. Each takes its best candidate that no earlier class took, then the best at
    another position, and so on. Equal scores go to the larger mean, then the lower row, column, colour.

    Parameters
    ----------
    images
        Clean training images.
    objective
        A name of `OBJECTIVES`.
    pixels
        How many pixels a class gets, at as many positions.
    device
        See `summation.compute_moments`; the result is the same bits on each.
    memory
        See `summation.moments_by_class`.

    Raises
    ------
    UsageError
        For an unknown objective or device, a class without images, or more pixels than there are.
    """
    score = _objective(objective)
    check_pixels(pixels, images)
    return _choose(_by_class(images, device, memory), score, objective, pixels, images)


def score_maps(
    images: Images,
    *,
    objective: str = "mean-over-variance",
    device: str = "auto",
    memory: Memory = None,
    classes: int | None = None,
) -> Float64Array:
    """Give the best score at each position, over all colours, of each class or of the first: (K, H, W) float64."""
    return best_colors(images, objective=objective, device=device, memory=memory, classes=classes)[0]


def best_colors(
    images: Images,
    *,
    objective: str = "mean-over-variance",
    device: str = "auto",
    memory: Memory = None,
    classes: int | None = None,
) -> tuple[Float64Array, NDArray[np.uint8]]:
    """Give `score_maps` and the colours that have these scores: (K, H, W) float64 and (K, H, W, C) uint8.

    Of equal scores as in the search: the colour of the larger mean, then the lower one.
    """
    score = _objective(objective)
    maps, colors = [], []
    for deviations in islice(_by_class(images, device, memory, classes), classes):
        scored = score(deviations)
        maps.append(scored.max(-1))
        # No total is below 0.
        totals = np.where(scored == maps[-1][..., None], deviations.total, -1)
        colors.append(candidate_colors(deviations.channels)[totals.argmax(-1)])
    return np.stack(maps), np.stack(colors)


def random_pixels(
    images: Images, *, pixels: int = 1, seed: int = 0, device: str = "cpu", memory: Memory = None
) -> Shortcut:
    """Draw the control: for each class a random position and corner colour, no pair twice.

    The scores are those of ``mean-over-variance``, to be compared with the search's.
    """
    check_pixels(pixels, images)
    random = generator(seed, "random-pixel")

    def draw(deviations: Deviations) -> Float64Array:
        return random.random(deviations.total.shape)

    return _choose(_by_class(images, device, memory), draw, "random", pixels, images)


def check_pixels(pixels: int, images: Images) -> None:
    """Refuse a number of pixels that these images do not have."""
    height, width = images.shape[1:3]
    if not 1 <= pixels <= height * width:
        raise UsageError(
            f"pixels: expected 1 to {height * width}, the positions of {height}×{width} images, got {pixels}"
        )


def _objective(name: str) -> Objective:
    try:
        return OBJECTIVES[name]
    except KeyError:
        raise unknown("objective", name, OBJECTIVES) from None


def _by_class(images: Images, device: str, memory: Memory, classes: int | None = None) -> Iterator[Deviations]:
    """Give the deviations of each class, in order."""
    for moments in moments_by_class(images, device=device, memory=memory, classes=classes):
        for label in range(len(moments.counts)):
            yield _deviations(moments, label)
        # Or these sums would stay while those of the next classes are made.
        del moments


def _deviations(moments: Moments, label: int) -> Deviations:
    """Take one class out of the moments, in integers that neither overflow nor lose a bit."""
    count = int(moments.counts[label])
    # Every integer above is at most (255·C·N)². Up to 2^53 a division rounds once; beyond, Python's integers do that.
    is_large = (255 * moments.sums.shape[-1] * count) ** 2 > 2**53
    dtype = object if is_large else np.int64
    return Deviations(count, moments.sums[label].astype(dtype), moments.products[label].astype(dtype))


def _choose(classes: Iterable[Deviations], objective: Objective, name: str, pixels: int, images: Images) -> Shortcut:
    """Take the best candidates, class by class (paper, Algorithm 1).

    The control draws them by an objective of its own, and is scored by the paper's.
    """
    class_names, (height, width, channels) = images.class_names, images.shape[1:]
    for empty in np.flatnonzero(np.bincount(images.labels, minlength=len(class_names)) == 0):
        raise UsageError(f"class {empty} ({class_names[empty]}) has no images: expected at least one")
    colors = candidate_colors(channels)
    free = np.ones((height, width, len(colors)), bool)
    chosen: list[list[tuple[int, int, int]]] = []
    scores = np.empty((len(class_names), pixels))
    for label, deviations in enumerate(classes):
        scored = objective(deviations)
        told = mean_over_variance(deviations) if name == "random" else scored
        allowed = free.copy()
        chosen.append([])
        for i in range(pixels):
            if not allowed.any():
                raise UsageError(
                    f"no candidate is left for class {label} ({class_names[label]}): {len(class_names)} classes of "
                    f"{pixels} pixels need as many (position, colour) pairs, and {height}×{width} images "
                    f"have {free.size}; ask for fewer pixels"
                )
            best = _best(scored, deviations.total, allowed)
            chosen[label].append(best)
            scores[label, i] = told[best]
            free[best] = False
            allowed[best[:2]] = False
    picked = np.array(chosen, np.int64)
    return Shortcut(name, picked[..., :2], colors[picked[..., 2]], scores, class_names)


def _best(scored: Float64Array, total: NDArray[Any], allowed: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Find the allowed candidate of highest score, then largest mean, then lowest row, column, colour."""
    candidates = np.flatnonzero(allowed)
    values = scored.ravel()[candidates]
    ties = candidates[values == values.max()]
    winner = ties[np.argmax(total.ravel()[ties])]
    row, column, color = np.unravel_index(int(winner), scored.shape)
    return int(row), int(column), int(color)
