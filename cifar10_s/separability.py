"""Separability: how well a linear classifier tells the class from the perturbation alone."""

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import Images

# At most so many images, and so many values of them (128 MiB as floats), in all; at least so many of each class.
IMAGES, VALUES, PER_CLASS = 4_000, 1 << 25, 20
# The part of each class's images that the classifier is fitted on; it is scored on the rest.
FITTED = 0.8
# Steps of the fit at most, and the largest entry of the mean loss's gradient at which it ends; a tenth of it moves
# no accuracy by more than half a point (CIFAR-10, JPEG copy).
STEPS, GRADIENT = 100, 2e-3
# Percentage points, and scored images, by which the accuracy may differ between machines.
POINTS, SCORED = 0.5, 2


@dataclass(frozen=True)
class Separability:
    """What a linear classifier made of perturbations it had not seen.

    Attributes
    ----------
    accuracy
        The part of them whose class it told, in percent; chance is 100 / K for K classes.
    fitted, scored
        How many images it was fitted on and scored on.
    """

    accuracy: float
    fitted: int
    scored: int

    def to_dict(self) -> dict[str, Any]:
        """Give the record, as the manifest has it."""
        return asdict(self)

    def agrees(self, accuracy: Any) -> bool:
        """Tell whether another machine can have measured this accuracy: the order of its sums may be another.

        They may differ by half a percentage point, or by two of the scored images where that is more.
        """
        allowed = max(POINTS, 100 * SCORED / self.scored)
        # Recorded accuracies are rounded.
        return isinstance(accuracy, float) and abs(accuracy - self.accuracy) <= allowed + 1e-5


def choose(images: Images) -> NDArray[np.bool_]:
    """Mark the images to measure on, (N,): the first of each class, the same number of each; none if that is too few.

    As many as the smallest class has, but at most 4,000 images and 2²⁵ values in all; at least 20 of each class, and
    two classes.
    """
    classes = len(images.class_names)
    order = np.argsort(images.labels, kind="stable")
    counts = np.bincount(images.labels, minlength=classes)
    limit = min(IMAGES, VALUES // math.prod(images.shape[1:])) // classes
    each = min(int(counts.min()), limit)
    chosen = np.zeros(len(images), bool)
    if classes > 1 and each >= PER_CLASS:
        chosen[[row for start in np.cumsum(counts) - counts for row in order[start : start + each]]] = True
    return chosen


def measure(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8], labels: NDArray[np.int64]) -> Separability | None:
    """Fit a classifier on the first images of each class and score it on the others.

    Yu et al., *Availability attacks create shortcuts*, KDD 2022, measured with a linear classifier whether
    perturbations can be told apart, on those it was fitted on; here it is scored on others. The classifier is a
    logistic regression on perturbed - clean, all values divided by their root mean square. It minimises
    Σ log-loss / (H·W·C) + ‖weights‖² / 2 by LBFGS.

    Parameters
    ----------
    clean, perturbed : (n, H, W, C) uint8, the images that `choose` marks
    labels : (n,) int64, the same number of each class

    Returns
    -------
    None where there are no images or none is perturbed.
    """
    difference = np.subtract(perturbed, clean, dtype=np.float32)
    if not difference.any():
        return None
    rows = difference.reshape(len(difference), -1)
    # Squared levels are whole numbers, so this sum of them is exact.
    rows /= np.sqrt(np.mean(np.square(rows), dtype=np.float64)).astype(np.float32)
    fitted = _first(labels)
    right = _predict(rows[fitted], labels[fitted], rows[~fitted]) == labels[~fitted]
    return Separability(round(100 * float(right.mean()), 6), int(fitted.sum()), len(right))


def measure_all(clean: Images, perturbed: Images) -> Separability | None:
    """Measure a configuration: `measure` on the images that `choose` marks."""
    chosen = np.flatnonzero(choose(clean))
    return measure(clean.read(chosen), perturbed.read(chosen), clean.labels[chosen])


def _first(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Mark the first rows of each class, (n,): those that the classifier is fitted on."""
    each = len(labels) // len(np.unique(labels))
    rank = np.empty_like(labels)
    rank[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % each
    return rank < round(FITTED * each)


def _predict(rows: NDArray[np.float32], labels: NDArray[np.int64], others: NDArray[np.float32]) -> NDArray[np.int64]:
    """Fit the classifier on rows with labels and give the classes that it tells for other rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    classifier = LogisticRegression(C=1 / rows.shape[1], tol=GRADIENT, max_iter=STEPS)
    # One thread, so that their number changes no sum. More of them gain little here, and where cores are shared lose.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(classifier.fit(rows, labels).predict(others))
