"""Images to measure on where there is no source."""

import numpy as np

from cifar10_s.data.images import LabeledImages


def synthetic(count: int) -> LabeledImages:
    """Make smooth random images with a little noise, about as compressible as photographs; at most 50,000 differ."""
    random = np.random.default_rng(0)
    distinct = min(count, 50_000)
    coarse = random.integers(16, 240, (distinct, 8, 8, 3)).astype(np.float32)
    blend = np.maximum(0, 1 - np.abs(np.linspace(0, 7, 32)[:, None] - np.arange(8))).astype(np.float32)
    smooth = np.einsum("yi,nijc,xj->nyxc", blend, coarse, blend, optimize=True)
    pixels = (smooth + random.integers(-8, 9, smooth.shape, dtype=np.int8)).astype(np.uint8)
    labels = random.integers(0, 10, distinct)
    copies = count // distinct
    return LabeledImages(np.tile(pixels, (copies, 1, 1, 1)), np.tile(labels, copies), tuple("abcdefghij"))
