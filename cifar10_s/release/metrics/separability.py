"""Separability of perturbations: how well a linear classifier predicts the class from the perturbation alone."""

import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import Images

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

# Maximum number of images and of their values (128 MiB as floats), and minimum number of images per class.
MAX_IMAGES, MAX_VALUES, MIN_IMAGES_PER_CLASS = 4_000, 1 << 25, 20
# Share of each class's images that the classifier is fitted on; it is scored on the rest.
FITTED_SHARE = 0.8
# Maximum number of steps of the fit, and the largest entry of the mean loss's gradient at which it stops. A tenth of
# this tolerance changes no accuracy by more than half a percentage point (CIFAR-10, JPEG copy).
MAX_STEPS, GRADIENT_TOLERANCE = 100, 2e-3
# Percentage points and scored images by which the accuracy may differ between machines.
TOLERANCE_POINTS, TOLERANCE_IMAGES = 0.5, 2


@dataclass(frozen=True)
class Separability:
    """Accuracy of a linear classifier on held-out perturbations.

    Attributes
    ----------
    accuracy
        Share of the held-out perturbations whose class it predicts, in percent; 100 / K at random for K classes.
    fitted, scored
        Number of images that it was fitted on and scored on.
    """

    accuracy: float
    fitted: int
    scored: int

    def agrees(self, accuracy: float) -> bool:
        """Return whether ``accuracy`` equals this one up to cross-machine rounding, as sums may be in another order.

        They may differ by half a percentage point, or by two of the scored images if that is more.
        """
        allowed = max(TOLERANCE_POINTS, 100 * TOLERANCE_IMAGES / self.scored)
        # Recorded accuracies are rounded.
        return abs(accuracy - self.accuracy) <= allowed + 1e-5

    def is_at_chance(self, classes: int) -> bool:
        """Return whether guessing among K classes is as good, up to three standard deviations of the images' number."""
        chance = 1 / classes
        deviation = math.sqrt(chance * (1 - chance) / self.scored)
        return self.accuracy / 100 <= chance + 3 * deviation


def choose(images: Images, *, max_images: int = MAX_IMAGES, max_values: int = MAX_VALUES) -> NDArray[np.bool_]:
    """Return a mask, (N,), of the images to measure on: the first of each class, the same number per class.

    The number per class is that of the smallest class, but at most ``max_images`` and ``max_values`` in total. The mask
    is empty if this is less than 20, or if there is only one class.
    """
    classes = len(images.class_names)
    order = np.argsort(images.labels, kind="stable")
    counts = np.bincount(images.labels, minlength=classes)
    limit = min(max_images, max_values // math.prod(images.shape[1:])) // classes
    each = min(int(counts.min()), limit)
    chosen = np.zeros(len(images), bool)
    if classes > 1 and each >= MIN_IMAGES_PER_CLASS:
        chosen[[row for start in np.cumsum(counts) - counts for row in order[start : start + each]]] = True
    return chosen


@cache
def load_classifier() -> "ThreadpoolController":
    """Load the classifier, and return what limits the threads of its linear algebra.

    Call this before you measure in a thread of its own. To list the libraries, threadpoolctl holds the linker's lock
    and waits for the interpreter; a thread that imports a compiled module holds the interpreter and waits for the lock.
    """
    import sklearn.linear_model  # noqa: F401 (the controller knows what is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def measure(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8], labels: NDArray[np.int64]) -> Separability | None:
    """Fit a classifier on the first images of each class and score it on the others.

    Yu et al., *Availability attacks create shortcuts*, KDD 2022, measured the separability of perturbations by the
    training accuracy of a linear classifier; here it is the accuracy on held-out perturbations. The classifier is a
    logistic regression on perturbed - clean, all values divided by their root mean square. It minimises
    Σ log-loss / (H·W·C) + ‖weights‖² / 2 by LBFGS.

    Parameters
    ----------
    clean, perturbed : (n, H, W, C) uint8
        The images that `choose` selects.
    labels : (n,) int64
        The same number of each class.

    Returns
    -------
    The accuracy, or None if there are no images or none is perturbed.
    """
    difference = np.subtract(perturbed, clean, dtype=np.float32)
    if not difference.any():
        return None
    rows = difference.reshape(len(difference), -1)
    # Squared levels are integers, so this sum is exact.
    rows /= np.sqrt(np.mean(np.square(rows), dtype=np.float64)).astype(np.float32)
    fitted, regularization = _first(labels), rows.shape[1]
    # A value that no image changes has a weight of 0; a shortcut leaves few others.
    rows = rows[:, rows.any(0)]
    right = _predict(rows[fitted], labels[fitted], rows[~fitted], regularization) == labels[~fitted]
    return Separability(round(100 * float(right.mean()), 6), int(fitted.sum()), len(right))


def measure_all(clean: Images, perturbed: Images) -> Separability | None:
    """Return the separability of a configuration: `measure` on the images that `choose` selects."""
    chosen = np.flatnonzero(choose(clean))
    return measure(clean.read(chosen), perturbed.read(chosen), clean.labels[chosen])


def _first(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a mask, (n,), of the first rows of each class, which the classifier is fitted on."""
    each = len(labels) // len(np.unique(labels))
    rank = np.empty_like(labels)
    rank[np.argsort(labels, kind="stable")] = np.arange(len(labels)) % each
    return rank < round(FITTED_SHARE * each)


def _predict(
    rows: NDArray[np.float32], labels: NDArray[np.int64], others: NDArray[np.float32], regularization: float
) -> NDArray[np.int64]:
    """Fit the classifier on rows with labels, and return the classes it predicts for other rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(C=1 / regularization, tol=GRADIENT_TOLERANCE, max_iter=MAX_STEPS)
    # One thread, so that the result does not depend on their number. More gain little, or lose if cores are shared.
    with load_classifier().limit(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(classifier.fit(rows, labels).predict(others))
