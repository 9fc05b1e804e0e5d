"""Dilute the training images with clean ones."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Dilution:
    """Replaces some images by their clean versions; their number stays the same. `Addition` keeps all images.

    Attributes
    ----------
    count
        The number of images that are replaced.
    """

    count: int

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Return the diluted images.

        Raises
        ------
        UsageError
            If the clean images are missing, or have other labels or another size.
        """
        clean, pixels = _checked(images, clean), images.pixels.copy()
        chosen = self.chosen(len(images), random)
        pixels[chosen] = clean.pixels[chosen]
        return images.with_pixels(pixels)

    def check(self, total: int) -> None:
        """Check that there are enough images.

        Raises
        ------
        UsageError
            If there are fewer than are chosen.
        """
        if self.count > total:
            raise UsageError(f"dilution: expected at most the {total} images there are, got {self.count}")

    def chosen(self, total: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw images, and return their indices in ascending order.

        Raises
        ------
        UsageError
            If there are fewer images.
        """
        self.check(total)
        return np.sort(random.choice(total, self.count, replace=False))


@dataclass(frozen=True, kw_only=True)
class Addition(Dilution):
    """Adds the clean versions of some images, as BridgePure (NeurIPS 2025) does; `Dilution` replaces images instead.

    Attributes
    ----------
    count
        The number of images that are added.
    """

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Return all images, and the clean ones after them; see `Dilution.__call__`."""
        clean = _checked(images, clean)
        chosen = self.chosen(len(images), random)
        pixels = np.concatenate([images.pixels, clean.pixels[chosen]])
        return replace(images, pixels=pixels, labels=np.concatenate([images.labels, images.labels[chosen]]))


def _checked(images: LabeledImages, clean: LabeledImages | None) -> LabeledImages:
    """Check that there are clean images, which are like those to dilute."""
    if clean is None:
        raise UsageError("dilution: needs the clean images, got none: set `needs_clean` of its strategy")
    if clean.pixels.shape != images.pixels.shape or (clean.labels != images.labels).any():
        raise UsageError(
            f"dilution: expected clean images like those to dilute, of shape {images.pixels.shape} and with the "
            f"same labels, got {clean.pixels.shape}: take both from one release"
        )
    return clean
