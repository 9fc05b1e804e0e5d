"""Galleries of a few images per class, side by side, as PNG within the page."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import LabeledImages
from cifar10_s.data.pictures import png, rgb
from cifar10_s.errors import SourceError
from cifar10_s.report.figures import EXAMPLES_PER_CLASS

# The most raw pixels of all galleries of a page; with more, they show fewer images per class.
MAX_GALLERY_BYTES = 3_000_000
# Transparent columns between two images.
GAP_COLUMNS = 1


@dataclass(frozen=True)
class Strip:
    """Some images of one class, side by side.

    Attributes
    ----------
    src
        The PNG, as a data URI.
    count, width, height
        The number of images, and the size of the strip in pixels.
    """

    src: str
    count: int
    width: int
    height: int


def examples(clean: LabeledImages, configurations: int) -> list[NDArray[np.int64]]:
    """Return the rows of the first images per class: `EXAMPLES_PER_CLASS`, or fewer if the galleries are too large."""
    bytes_per_example = configurations * len(clean.class_names) * clean.pixels[0].size
    count = min(EXAMPLES_PER_CLASS, max(1, MAX_GALLERY_BYTES // bytes_per_example))
    return [np.flatnonzero(clean.labels == label)[:count] for label in range(len(clean.class_names))]


def gallery(images: LabeledImages, chosen: list[NDArray[np.int64]]) -> list[Strip | None]:
    """Draw a strip per class; None for a class without images."""
    return [strip(images.pixels[rows]) if len(rows) else None for rows in chosen]


def strip(pixels: NDArray[np.uint8]) -> Strip:
    """Draw (N, H, W, C) images side by side."""
    count, height, width = pixels.shape[:3]
    canvas = np.zeros((height, count * (width + GAP_COLUMNS) - GAP_COLUMNS, 4), np.uint8)
    for place, image in enumerate(rgb(pixels)):
        left = place * (width + GAP_COLUMNS)
        canvas[:, left : left + width, :3] = image
        canvas[:, left : left + width, 3] = 255
    return Strip(png(canvas), count, canvas.shape[1], height)


def check_order(clean: LabeledImages, perturbed: LabeledImages, name: str) -> None:
    """Check that the images of a configuration are in the order of the clean ones.

    Raises
    ------
    SourceError
        If their labels differ.
    """
    if not np.array_equal(clean.labels, perturbed.labels):
        raise SourceError(f"{name}: expected the labels of 'clean', in the same order, got others: build it again")
