"""Pixels as pictures: in RGB, with rings around some, and as PNG within HTML."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cifar10_s.common.html import data_uri

MARK = (220, 20, 60)


def rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (…, C) uint8 pixels, C from 1 to 4, as RGB, (…, 3) uint8.

    One channel becomes grey; of two, the second becomes green and blue; of four, the last is dropped.
    """
    channels = pixels.shape[-1]
    return pixels.repeat(3, -1) if channels == 1 else pixels[..., [0, 1, -1 if channels == 2 else 2]]


def without_channel(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (…, 1) pixels as (…), the shape that libraries take for grey; other pixels as they are."""
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def to_pil(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return an (H, W, C) image as Pillow's: grey, grey with alpha, RGB or RGBA."""
    return Image.fromarray(without_channel(pixels))


def ring(panel: Image.Image, positions: NDArray[np.int64], scale: float) -> None:
    """Draw rings around (n, 2) rows and columns of a panel, on which a pixel is a square of ``scale`` pixels.

    Pixels that touch, also at a corner, share a ring.
    """
    if not len(positions):
        return
    # Imported here: few commands draw.
    from scipy import ndimage

    is_ringed = np.zeros(positions.max(0) + 1, bool)
    is_ringed[tuple(positions.T)] = True
    draw, (groups, _) = ImageDraw.Draw(panel), ndimage.label(is_ringed, np.ones((3, 3)))
    for box in ndimage.find_objects(groups):
        y, x = ((side.start + side.stop) / 2 * scale for side in box)
        down, across = (max(7, scale * (side.stop - side.start) * 4 // 5) for side in box)
        draw.ellipse((x - across, y - down, x + across, y + down), outline=MARK, width=2)


def png(pixels: NDArray[np.uint8]) -> str:
    """Return (H, W, C) uint8 pixels, C 3 or 4, as the data URI of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return data_uri(file.getvalue(), "image/png")
