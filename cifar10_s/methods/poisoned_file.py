"""Take the noise out of a file that holds perturbed images instead, as several methods publish them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import Images, Rows
from cifar10_s.errors import UsageError

# Half of all images have a brighter value than this, unlike noise within any method's bound.
BRIGHT_LEVELS = 64


def are_images(lowest: NDArray[np.float64], highest: NDArray[np.float64]) -> bool:
    """Return whether arrays look like images: no value is negative, and most arrays have bright ones.

    Parameters
    ----------
    lowest, highest : (N,)
        The extremes of each, in levels.
    """
    return bool(lowest.min() >= 0 and np.median(highest) > BRIGHT_LEVELS)


def subtract(path: Path, levels: NDArray[np.float32], clean: Images, linf: float) -> None:
    """Subtract the clean images from perturbed ones, in place, so that their noise remains.

    Parameters
    ----------
    path
        The file that they are from, for the message.
    levels : (N, H, W, C)
        The perturbed images in levels, in the order of the clean ones.
    clean
        The clean images.
    linf
        How far an image may differ from the clean one, in levels.

    Raises
    ------
    UsageError
        If an image differs by more, as if they were in another order or others.
    """
    reach = np.empty(len(clean))

    for rows, pixels in clean.map_batches(_read):
        noise = levels[rows] - pixels
        reach[rows] = np.abs(noise).max((1, 2, 3))
        levels[rows] = noise
    beyond = np.flatnonzero(~(reach <= linf))
    if len(beyond):
        first = beyond[0]
        raise UsageError(
            f"{path}: holds images, not noise: {len(beyond)} of {len(clean)} differ from the clean ones by more than "
            f"{int(linf)} levels, the method's bound, first image {first} by {reach[first]:.4g}; put them in the order "
            "of the source's images, or save their noise, perturbed - clean, as float32"
        )


def _read(rows: Rows, pixels: NDArray[np.uint8]) -> tuple[Rows, NDArray[np.uint8]]:
    return rows, pixels
