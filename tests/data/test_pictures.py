"""Rings around pixels, against counting what is drawn."""

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from cifar10_s.data.pictures import MARK, ring

PATCH = [(2 + y, 2 + x) for y in range(3) for x in range(3)]


def drawn(positions, scale=10):
    panel = Image.new("RGB", (16 * scale, 16 * scale))
    ring(panel, np.array(positions, np.int64).reshape(-1, 2), scale)
    return (np.asarray(panel) == MARK).all(-1)


@pytest.mark.parametrize(
    ("positions", "rings"),
    [([], 0), ([(5, 5)], 1), (PATCH, 1), ([(2, 2), (3, 3)], 1), ([(2, 2), (2, 6)], 2), ([*PATCH, (12, 12)], 2)],
)
def test_pixels_that_touch_share_a_ring(positions, rings):
    assert ndimage.label(drawn(positions), np.ones((3, 3)))[1] == rings


@pytest.mark.parametrize("positions", [[(4, 7)], PATCH])
def test_a_ring_is_around_its_pixels(positions):
    mark = drawn(positions)
    inside = ndimage.binary_fill_holes(mark) & ~mark
    pixels = np.zeros_like(mark)
    for row, column in positions:
        pixels[10 * row : 10 * row + 10, 10 * column : 10 * column + 10] = True
    # The line may lie on the corners.
    assert (inside & pixels).sum() > 0.95 * pixels.sum()
    assert inside.sum() < 2.1 * pixels.sum()
