"""Images as thumbnails, a row per class, as a notebook shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifar10_s.common.html import html_table
from cifar10_s.data.pictures import png, rgb, ring

SIDE = 64
GAP = 4
PER_CLASS = 4
MAX_CLASSES = 10


@dataclass(frozen=True)
class Rings:
    """Positions to ring in the thumbnails of each class, kept with images (`Images.keep`): (K, n, 2) int64."""

    positions: NDArray[np.int64]


def thumbnails(
    title: str,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    rings: Rings | None = None,
) -> str:
    """Return a table in HTML: for each of the first classes its name, number of images and first images.

    Parameters
    ----------
    title
        A line above the table; like the names, it is escaped.
    pixels : (N, H, W, C) uint8
    labels : (N,) int64
    class_names
        Names of the K classes.
    rings
        Positions to ring.
    """
    from markupsafe import Markup

    rows = []
    for label, name in enumerate(class_names[:MAX_CLASSES]):
        members = np.flatnonzero(labels == label)
        positions = np.empty((0, 2), np.int64) if rings is None else rings.positions[label]
        drawn = [_thumbnail(image, positions) for image in pixels[members[:PER_CLASS]]]
        strip = Markup('<img alt="" src="{}">').format(png(_side_by_side(drawn))) if drawn else ""
        rows.append((name, f"{len(members):,}", strip))
    if len(class_names) > MAX_CLASSES:
        title += f", of which the first {MAX_CLASSES}"
    return html_table(title, ("class", "images", f"first {PER_CLASS}"), rows)


def _thumbnail(pixels: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return (H, W, C) pixels in RGB, the longer side about `SIDE`, with rings around some positions."""
    height, width = pixels.shape[:2]
    scale: float = SIDE / max(height, width)
    image = Image.fromarray(rgb(pixels))
    if scale >= 1:
        scale = int(scale)
        image = image.resize((width * scale, height * scale), Image.Resampling.NEAREST)
    else:
        image.thumbnail((SIDE, SIDE))
    ring(image, positions, scale)
    return np.asarray(image)


def _side_by_side(drawn: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return RGB images of one size in a row, as RGBA, with transparent gaps."""
    height, width = drawn[0].shape[:2]
    row = np.zeros((height, len(drawn) * (width + GAP), 4), np.uint8)
    for number, image in enumerate(drawn):
        place = row[:, number * (width + GAP) :][:, :width]
        place[..., :3], place[..., 3] = image, 255
    return row
