"""Take the noise out of a file that holds perturbed images instead, as several methods publish them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.images import Images, Rows
from cifar10_s.errors import UsageError

# Half of all images have a brighter value than this, unlike noise within any method's bound.
BRIGHT_LEVELS = 64
# Images that were scaled to another range keep a correlation with the clean ones near 1; noise has one near 0.
SCALED_CORRELATION = 0.9
# The first images, which are compared with the clean ones.
COMPARED = 64


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


def check_unscaled(path: Path, levels: NDArray[np.float32], clean: Images) -> None:
    """Check that noise is not perturbed images in another range, such as normalised ones or such in [-1, 1].

    Their values can be within a method's bound. The first images are compared, each channel by itself, since each
    may be scaled by its own mean and standard deviation.

    Parameters
    ----------
    path
        The file that it is from, for the message.
    levels : (N, H, W, C)
        The noise of each image.
    clean
        The clean images.

    Raises
    ------
    UsageError
        If every channel follows the clean images.
    """
    rows = np.arange(min(len(clean), COMPARED))
    pixels = clean.read(rows)
    if all(_correlation(levels[rows, ..., c], pixels[..., c]) > SCALED_CORRELATION for c in range(pixels.shape[-1])):
        raise UsageError(
            f"{path}: holds images of another range, not noise: its values follow the clean images, from "
            f"{levels.min():.3g} to {levels.max():.3g}; expected images in [0, 1] or 0 to 255: undo their "
            "normalisation, x * std + mean, or save their noise, perturbed - clean, as float32"
        )


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> float:
    first, second = (values.astype(np.float64) - values.mean(dtype=np.float64) for values in (one, other))
    scale = float(np.sqrt(np.square(first).sum() * np.square(second).sum()))
    return float((first * second).sum()) / scale if scale else 0.0


def _read(rows: Rows, pixels: NDArray[np.uint8]) -> tuple[Rows, NDArray[np.uint8]]:
    return rows, pixels
