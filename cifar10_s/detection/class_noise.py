"""Find noise that is added to all images of a class: a pattern of single pixels in the mean of the class.

A class's mean image is smooth, and so is its difference to the mean of all other images; noise that differs from pixel
to pixel is not. Three numbers decide. The difference ``d`` is taken on some of the images, filtered by the mixed
difference ``h(d) = d[y, x] - d[y, x-1] - d[y-1, x] + d[y-1, x-1]``, and the other images are scored by the scalar
product of their own ``h`` with it.

separable
    The share of pairs, an image of the class and one of another, in which the first has the larger score.
whiteness
    The root mean square of ``h(d)`` over that of the same filter at twice the distance: 1 if the pixels of the pattern
    are independent, 0.25 if it is smooth, about 0.5 for drawings with contours at fixed places.
p-value
    Of the images that score as high as the n best, n the number of the class's: the probability that so many are of
    the class if labels are given to the images at random (`significance.log10_tail`), times the number of classes.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Float64Array
from cifar10_s.common.threads import chunks
from cifar10_s.detection.findings import NOISE, Finding
from cifar10_s.detection.rules import Rules
from cifar10_s.detection.significance import corrected, log10_tail

# Chosen on clean and perturbed images, see docs/audit.md.
MIN_SEPARABLE, MIN_WHITENESS = 0.75, 0.75
# Images that are scored at a time.
SCORED_IMAGES = 256


def find_noise(
    counts: NDArray[np.int64],
    sums: NDArray[np.int64],
    sample: NDArray[np.uint8],
    labels: NDArray[np.int64],
    masked: NDArray[np.bool_],
    class_names: tuple[str, ...],
    rules: Rules,
) -> Iterator[Finding]:
    """Yield a finding for each class whose images share a pattern.

    Parameters
    ----------
    counts : (K,) int64
        Number of images per class that the pattern is taken from.
    sums : (K, H, W, C) int64
        Σ x over these images.
    sample : (n, H, W, C) uint8
        Other images, which are scored.
    labels : (n,) int64
        Their classes.
    masked : (H, W) bool
        Positions to leave out, since a colour was found there.
    class_names
        Names of the K classes.
    rules
        The largest p-value.
    """
    if min(sums.shape[1:3]) < 3 or (counts > 0).sum() < 2:
        return
    fine, coarse = _usable(masked, 1), _usable(masked, 2)
    present = np.flatnonzero((counts > 0) & (np.bincount(labels, minlength=len(counts)) > 0))
    total, count = sums.sum(0), counts.sum()
    patterns: list[Float64Array] = []
    whiteness = []
    for label in present.tolist():
        difference = sums[label] / counts[label] - (total - sums[label]) / (count - counts[label])
        patterns.append(np.where(fine, _mixed_difference(difference, 1), 0))
        below = _root_mean_square(_mixed_difference(difference, 2), coarse)
        whiteness.append(_root_mean_square(patterns[-1], fine) / below if below else 0.0)
    scores = _score(sample, np.stack([_weights(pattern).ravel() for pattern in patterns], 1))
    for label, pattern, white, scored in zip(present.tolist(), patterns, whiteness, scores.T, strict=True):
        of_class = labels == label
        n, highest = int(of_class.sum()), scored >= np.sort(scored)[-int(of_class.sum())]
        hits, marked = int((highest & of_class).sum()), int(highest.sum())
        log10_p = corrected(log10_tail(len(labels), marked, n, hits), len(counts))
        is_significant = log10_p <= np.log10(rules.significance)
        if is_significant and white >= MIN_WHITENESS and separable(scored, of_class) >= MIN_SEPARABLE:
            # White noise of unit variance has a mixed difference of variance 4.
            amplitude = _root_mean_square(pattern, fine) / 2
            yield Finding(
                NOISE, label, class_names[label], np.empty((0, 2), np.int64), np.empty((0, sample.shape[-1]), np.uint8),
                0, hits / n, (marked - hits) / (len(labels) - n), log10_p, round(amplitude, 2),
            )  # fmt: skip


def separable(scores: Float64Array, of_class: NDArray[np.bool_]) -> float:
    """Return the share of pairs, one of the class and one not, of which the first scores higher; ties count half."""
    ours, others = scores[of_class], np.sort(scores[~of_class])
    below, up_to = (np.searchsorted(others, ours, side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(ours) * len(others)))


def _mixed_difference(levels: Float64Array, step: int) -> Float64Array:
    """Return the mixed difference of (…, H, W, C) levels at a distance, (…, H - step, W - step, C)."""
    rows = levels[..., step:, :, :] - levels[..., :-step, :, :]
    return rows[..., step:, :] - rows[..., :-step, :]


def _usable(masked: NDArray[np.bool_], step: int) -> NDArray[np.bool_]:
    """Return where a mixed difference has no masked position, (H - step, W - step, 1)."""
    rows = masked[step:] | masked[:-step]
    return ~(rows[:, step:] | rows[:, :-step])[..., None]


def _root_mean_square(values: Float64Array, usable: NDArray[np.bool_]) -> float:
    """Return it over the usable positions, (H, W, 1), of (H, W, C) values; 0 if there are none."""
    chosen = values[usable[..., 0]]
    return float(np.sqrt(np.mean(np.square(chosen)))) if chosen.size else 0.0


def _weights(pattern: Float64Array) -> Float64Array:
    """Return the weights, (H, W, C), by which levels are multiplied to score their mixed difference by a pattern."""
    padded = np.pad(pattern, ((1, 1), (1, 1), (0, 0)))
    return _mixed_difference(padded, 1)


def _score(sample: NDArray[np.uint8], weights: Float64Array) -> Float64Array:
    """Return the scalar product of each image and each column of weights, (H·W·C, P): (n, P)."""
    scores = np.empty((len(sample), weights.shape[1]))
    for part in chunks(len(sample), SCORED_IMAGES):
        levels = sample[part].astype(np.float64)
        scores[part] = levels.reshape(len(levels), -1) @ weights
    return scores
