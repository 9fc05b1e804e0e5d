"""Notice noise that was made for images in another order."""

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.rng import generator

# Methods whose noise, in the order of the images, a linear classifier assigns to the right class: Yu et al.,
# *Availability attacks create shortcuts*, KDD 2022.
TELLS_CLASSES = frozenset({"em", "tap", "lsp"})
# The number of images that are used, and of shuffles of the labels.
MAX_IMAGES, SHUFFLES = 4000, 50
# How many standard deviations beyond shuffled labels the spread between classes is, if noise certainly depends on the
# labels, and at most if it does not.
DEPENDS, IS_FREE = 30.0, 6.0


def is_sorted_by_class(levels: NDArray[np.float32], labels: NDArray[np.int64]) -> bool:
    """Return whether noise depends on the class of images that are sorted by class, and not on these labels.

    So is noise that was made for a folder with one sub-folder per class, and is given for images in CIFAR-10's order.
    It is certain only if the mean noise differs between classes; otherwise the result is False.

    Parameters
    ----------
    levels : (N, H, W, C)
        One noise per image.
    labels : (N,)
        The images' labels.
    """
    chosen = np.linspace(0, len(labels) - 1, min(len(labels), MAX_IMAGES)).astype(np.int64)
    noise = levels[chosen].reshape(len(chosen), -1)
    return _dependence(noise, labels[chosen]) < IS_FREE and _dependence(noise, np.sort(labels)[chosen]) > DEPENDS


def _dependence(noise: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return by how many standard deviations the spread between classes exceeds that of shuffled labels."""
    random = generator(0, "noise-order")
    centred = noise - noise.mean(0)
    shuffled = [_spread(centred, random.permutation(labels)) for _ in range(SHUFFLES)]
    spread = _spread(centred, labels)
    deviation = float(np.std(shuffled)) or 1.0  # without one, there is nothing to exceed
    return (spread - float(np.mean(shuffled))) / deviation


def _spread(centred: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the sum of squares between classes."""
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.zeros((len(classes), len(labels)), np.float32)
    members[index, np.arange(len(labels))] = 1
    return float((np.square(members @ centred, dtype=np.float64).sum(1) / counts).sum())
