"""Dilution: some of the training images are clean."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages


@dataclass(frozen=True, kw_only=True)
class Dilution:
    """Some images are replaced by their clean selves.

    Attributes
    ----------
    count
        How many.
    """

    count: int

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Give the images, diluted.

        Raises
        ------
        UsageError
            Where the clean images are missing or are not of the same labels and size.
        """
        if clean is None:
            raise UsageError("dilution: needs the clean images, got none: set `needs_clean` of its strategy")
        if clean.pixels.shape != images.pixels.shape or (clean.labels != images.labels).any():
            raise UsageError(
                f"dilution: expected clean images like those to dilute, of shape {images.pixels.shape} and with the "
                f"same labels, got {clean.pixels.shape}: take both from one release"
            )
        chosen, pixels = self.chosen(len(images), random), images.pixels.copy()
        pixels[chosen] = clean.pixels[chosen]
        return images.with_pixels(pixels)

    def check(self, total: int) -> None:
        """Refuse to replace more images than there are.

        Raises
        ------
        UsageError
            Where there are fewer images.
        """
        if self.count > total:
            raise UsageError(f"dilution: expected at most the {total} images there are, got {self.count}")

    def chosen(self, total: int, random: np.random.Generator) -> NDArray[np.int64]:
        """Draw which images are replaced; gives their indices, rising.

        Raises
        ------
        UsageError
            Where there are fewer images.
        """
        self.check(total)
        return np.sort(random.choice(total, self.count, replace=False))
