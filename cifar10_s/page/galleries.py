"""Galleries: a few images of each class, side by side, as PNG within the page."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifar10_s.errors import SourceError
from cifar10_s.figures import EXAMPLES, rgb
from cifar10_s.images import LabeledImages

# Bytes of raw pixels that all galleries of a page may hold before there are fewer images a class.
ROOM = 3_000_000
# Transparent columns between two images.
SEAM = 1


@dataclass(frozen=True)
class Strip:
    """Some images of one class, side by side.

    Attributes
    ----------
    src
        The address of the PNG: its bytes.
    count, width, height
        How many images, and their size together in pixels.
    """

    src: str
    count: int
    width: int
    height: int


def examples(clean: LabeledImages, configurations: int) -> list[NDArray[np.int64]]:
    """Choose the first images of each class: `EXAMPLES`, or fewer where so many configurations would fill the page."""
    one_a_class = configurations * len(clean.class_names) * clean.pixels[0].size
    count = min(EXAMPLES, max(1, ROOM // one_a_class))
    return [np.flatnonzero(clean.labels == label)[:count] for label in range(len(clean.class_names))]


def gallery(images: LabeledImages, chosen: list[NDArray[np.int64]]) -> list[Strip | None]:
    """Draw a strip a class; None for a class that has no images."""
    return [strip(images.pixels[places]) if len(places) else None for places in chosen]


def strip(pixels: NDArray[np.uint8]) -> Strip:
    """Draw (N, H, W, C) images side by side."""
    count, height, width = pixels.shape[:3]
    canvas = np.zeros((height, count * (width + SEAM) - SEAM, 4), np.uint8)
    for place, image in enumerate(rgb(pixels)):
        left = place * (width + SEAM)
        canvas[:, left : left + width, :3] = image
        canvas[:, left : left + width, 3] = 255
    return Strip(png(canvas), count, canvas.shape[1], height)


def png(pixels: NDArray[np.uint8]) -> str:
    """Give (H, W, C) pixels, three or four channels, as the address of a PNG that holds them."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return address(file.getvalue(), "image/png")


def address(content: bytes, kind: str) -> str:
    """Give the address (data: URI) of some content: the content itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def check_order(clean: LabeledImages, perturbed: LabeledImages, name: str) -> None:
    """Refuse a configuration whose images are not in the order of the clean ones.

    Raises
    ------
    SourceError
        Where labels differ.
    """
    if not np.array_equal(clean.labels, perturbed.labels):
        raise SourceError(f"{name}: its labels are not those of 'clean', so no image is beside its own: build it again")
