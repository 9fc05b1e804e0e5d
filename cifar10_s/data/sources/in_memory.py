"""Images in memory from arrays of pixels and numbers, as several small datasets are published."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.columns import NO_LABEL, named_by_numbers
from cifar10_s.data.sources.found import UnlabelledError
from cifar10_s.errors import SourceError

# More than any dataset has: without a limit, one broken label would create that many class names.
MAX_CLASSES = 1 << 20
MAX_CHANNELS = 4


def numbered_images(pixels: NDArray[Any], labels: NDArray[Any], name: str, provenance: Provenance) -> LabeledImages:
    """Return images whose classes are named by their numbers.

    Parameters
    ----------
    pixels
        (N, H, W) or (N, H, W, C) uint8, C from 1 to 4.
    labels
        (N,) or (N, 1) whole numbers from 0.
    name
        How errors call the split.
    provenance
        Where the images came from.

    Raises
    ------
    UnlabelledError
        If every label is -1.
    SourceError
        If pixels or labels are of another form.
    """
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or not 1 <= pixels.shape[-1] <= MAX_CHANNELS or 0 in pixels.shape:
        raise SourceError(
            f"{name}: expected uint8 pixels of shape (images, height, width), or with 1 to {MAX_CHANNELS} channels, "
            f"got {pixels.dtype} of shape {pixels.shape}"
        )
    count = len(pixels)
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise SourceError(
            f"{name}: expected one whole number per image as its label, ({count},), got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    labels = labels.reshape(count)
    if (labels == NO_LABEL).all():
        raise UnlabelledError(f"{name}: has no labels: all of them are {NO_LABEL}")
    for row in np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))[:1]:
        raise SourceError(f"{name}: image {row}: expected a label from 0 to {MAX_CLASSES - 1}, got {labels[row]}")
    labels, names = named_by_numbers(labels.astype(np.int64), name)
    return LabeledImages(np.ascontiguousarray(pixels), labels, names, provenance)
