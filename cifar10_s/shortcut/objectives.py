"""Score the candidates for a class's pixels (paper, Eq. 2), or rank them at random for the control.

With a target ξ of 0 or 255 in each channel, the deviation S = Σ_j |x_j - ξ_j| is linear in x, so its sum and
variance over a class's images follow from Σ x_j and Σ x_i·x_j. All is in integers up to the last division, so ties
are exact and the result is the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Float64Array
from cifar10_s.common.rng import generator
from cifar10_s.shortcut.moments import channel_pairs


def candidate_colors(channels: int) -> NDArray[np.uint8]:
    """Return the corners of the colour cube, (2^C, C) uint8 of 0 and 255, in lexicographic order."""
    return np.array(list(product((0, 255), repeat=channels)), np.uint8)


@dataclass(frozen=True, eq=False)
class Deviations:
    """How far the images of one class deviate from every candidate, in exact integers.

    Attributes
    ----------
    count
        Number of images.
    sums, products : (H, W, C) and (H, W, C(C+1)/2)
        See `Moments`.
    """

    count: int
    sums: NDArray[Any]
    products: NDArray[Any]

    @property
    def channels(self) -> int:
        """Number of channels C."""
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
        """Sum of S over the images, (H, W, 2^C)."""
        return np.asarray(self.count * self._colors.sum(1) + self._signed)

    @cached_property
    def spread(self) -> NDArray[Any]:
        """N²·Var[S] = N·ΣS² - (ΣS)², (H, W, 2^C); ξ only shifts S, so only the signs of x matter."""
        return signed_variance(self.count, self._signed, self.products, self._signs)

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
    """Return E[S] / Var[S], S = Σ_j |x_j - ξ_j|, x in [0, 1]: the paper's Eq. 2."""
    return ratio(255 * deviations.count * deviations.total, deviations.spread)


def mean_over_std(deviations: Deviations) -> Float64Array:
    """Return mean / standard deviation of |x_j - ξ_j| over images and channels: as in the authors' code."""
    return np.sqrt(ratio(deviations.total**2, deviations.pooled_spread))


def mean_minus_variance(deviations: Deviations) -> Float64Array:
    """Return E[S/C] - Var[S/C], x in [0, 1]: as in the Adversarial Robustness Toolbox."""
    scale = 255 * deviations.channels * deviations.count
    return np.asarray((scale * deviations.total - deviations.spread) / scale**2, np.float64)


def signed_variance(count: int, signed: NDArray[Any], products: NDArray[Any], signs: NDArray[Any]) -> NDArray[Any]:
    """Return N²·Var[Σ_j s_j x_j] for signs (M, C), (…, M), from Σ_j s_j Σ x_j, (…, M), and products as of `Moments`."""
    weights = [signs[:, i] * signs[:, j] * (1 if i == j else 2) for i, j in channel_pairs(signs.shape[1])]
    return np.asarray(count * (products @ np.stack(weights)) - signed**2)


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Float64Array:
    """Divide: infinity if only the denominator is 0; 0 if both are, as the images do not deviate at all."""
    quotient = np.where(numerator == 0, 0.0, np.inf)
    # NumPy calls it unsafe to convert Python's integers to floats.
    return np.asarray(np.divide(numerator, denominator, out=quotient, where=denominator != 0, casting="unsafe"))


Ranking = Callable[[Float64Array], Float64Array]


@dataclass(frozen=True)
class Objective:
    """How the pixels of a class are chosen.

    Attributes
    ----------
    name
        Its name in recipes.
    score
        Returns the score of every candidate, (H, W, 2^C) float64; the scores of chosen candidates are recorded.
    """

    name: str
    score: Callable[[Deviations], Float64Array]

    def ranking(self, seed: int) -> Ranking:
        """Return a function from the scores of a class's candidates to what they are ranked by: the scores."""
        return lambda scores: scores


@dataclass(frozen=True)
class RandomControl(Objective):
    """Ranks candidates at random; their scores are recorded for comparison with the search."""

    def ranking(self, seed: int) -> Ranking:
        """Return a function that draws random ranks, class after class."""
        random = generator(seed, "random-pixel")
        return lambda scores: random.random(scores.shape)


# Objectives of the search, by name.
SEARCHED: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("mean-over-variance", mean_over_variance),
        Objective("mean-over-std", mean_over_std),
        Objective("mean-minus-variance", mean_minus_variance),
    )
}
RANDOM = RandomControl("random", mean_over_variance)
# Objectives of recipes, by name.
OBJECTIVES: dict[str, Objective] = {**SEARCHED, RANDOM.name: RANDOM}
