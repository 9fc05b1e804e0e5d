"""The pixel digest and all metrics of perturbed images, measured in one pass over them and the clean ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import Images, PixelDigest, Rows
from cifar10_s.release.metrics import separability
from cifar10_s.release.metrics.perceptibility import Perceptibility, measure_parts
from cifar10_s.release.metrics.separability import Separability


@dataclass(frozen=True)
class Surveyed:
    """Consecutive perturbed images, their metrics, and both versions of those that separability is measured on."""

    pixels: NDArray[np.uint8]
    perceptibility: Perceptibility
    chosen: tuple[NDArray[np.uint8], NDArray[np.uint8]]


@dataclass(frozen=True)
class Surveyor:
    """Measures consecutive images, on any core or machine; ``chosen`` is the mask of `separability.choose`."""

    chosen: NDArray[np.bool_]

    def __call__(self, rows: Rows, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Surveyed:
        """Measure the images ``rows``: ``before`` is clean, ``after`` perturbed, (n, H, W, C) uint8."""
        chosen = self.chosen[rows]
        return Surveyed(after, measure_parts(before, after), (before[chosen], after[chosen]))


class Survey:
    """Measurements of perturbed images, collected in a pass over them.

    Parameters
    ----------
    clean
        The clean images.
    labels
        The labels of the perturbed ones, by default the same.

    Attributes
    ----------
    surveyor
        Measures each part; `add` takes the results, in order.
    perceptibility
        The metrics of all parts.
    rows
        The number of images.
    """

    def __init__(self, clean: Images, labels: NDArray[np.int64] | None = None) -> None:
        self.surveyor = Surveyor(separability.choose(clean))
        if self.surveyor.chosen.any():
            separability.load_classifier()
        self.perceptibility = Perceptibility()
        self.rows = len(clean)
        self._labels = clean.labels[self.surveyor.chosen]
        self._digest = PixelDigest(clean.shape, clean.labels if labels is None else labels)
        self._chosen: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []

    def add(self, part: Surveyed) -> None:
        """Add the next images."""
        self._digest.update(part.pixels)
        self.perceptibility += part.perceptibility
        self._chosen.append(part.chosen)

    def digest(self) -> str:
        """Return the pixel digest."""
        return self._digest.hexdigest()

    def separability(self) -> Separability | None:
        """Return the separability; this takes about a second on one core, and may be in a thread of its own."""
        before, after = (np.concatenate(images) for images in zip(*self._chosen, strict=True))
        return separability.measure(before, after, self._labels)
