"""Defences: what strategies do once to all training images, before crop and flip.

Each takes the images, the clean ones (or None, see `strategies.Strategy.needs_clean`) and a generator, and gives new
images; a part of them at a time is in memory as floats.
"""

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cifar10_s.benchmark.operations import grey_weights, kornia
from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages, to_uint8
from cifar10_s.parallel import chunks, thread_map

# Values of pixels that are worked on at a time.
VALUES = 1 << 20


def changed(images: LabeledImages, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> LabeledImages:
    """Change images, a part of them at a time, on all cores."""
    pixels = np.empty_like(images.pixels)

    def work(part: slice) -> None:
        pixels[part] = change(images.pixels[part])

    for _ in thread_map(work, chunks(len(images), max(1, VALUES // math.prod(pixels.shape[1:])))):
        pass
    return images.with_pixels(pixels)


class Filter(ABC):
    """A defence that changes each image by itself, without chance."""

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Give the changed images."""
        return changed(images, self.filter)

    @abstractmethod
    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Change (N, H, W, C) uint8 pixels.

        Raises
        ------
        UsageError
            Where it cannot be done to images of so many channels, or kornia is needed and not installed.
        """


@dataclass(frozen=True, kw_only=True)
class Grayscale(Filter):
    """All channels become the image's grey: the luma of three, else the channels' mean (Liu et al., ICML 2023)."""

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        grey = to_uint8(pixels @ np.array(grey_weights(pixels.shape[-1])))
        return np.broadcast_to(grey[..., None], pixels.shape)


@dataclass(frozen=True, kw_only=True)
class Jpeg(Filter):
    """JPEG, there and back (Liu et al., ICML 2023).

    Attributes
    ----------
    quality
        1 to 95; colour is stored at half the resolution (4:2:0).
    """

    quality: int = 10

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        if pixels.shape[-1] not in (1, 3):
            raise UsageError(f"JPEG: expected images of 1 or 3 channels, got {pixels.shape[-1]}: take another defence")
        return np.stack([self._compressed(image.squeeze(2) if image.shape[2] == 1 else image) for image in pixels])

    def _compressed(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Pillow alone, though imagecodecs is faster: the same pixels on a machine that has not got it.
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as stored:
            return np.asarray(stored).reshape(*image.shape[:2], -1)


@dataclass(frozen=True, kw_only=True)
class BitDepth(Filter):
    """The upper bits are kept, the others become 0, as in the code of Liu et al. (ICML 2023).

    Attributes
    ----------
    bits
        How many, 1 to 8.
    """

    bits: int = 2

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        return pixels & np.uint8(256 - (1 << (8 - self.bits)))


class Window(Filter):
    """A filter whose pixels depend on those around them; outside the image its border is repeated."""

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        levels = torch.from_numpy(np.ascontiguousarray(pixels)).float().permute(0, 3, 1, 2)
        return to_uint8(self.window(levels.contiguous()).permute(0, 2, 3, 1).numpy())

    @abstractmethod
    def window(self, levels: Tensor) -> Tensor:
        """Filter (N, C, H, W) float levels."""


@dataclass(frozen=True, kw_only=True)
class Median(Window):
    """Each value becomes the median of those around it.

    Attributes
    ----------
    size
        The window's side, odd.
    """

    size: int = 3

    def window(self, levels: Tensor) -> Tensor:
        """See `Window.window`."""
        filtered: Tensor = kornia("filters.median_blur")(levels, self.size, "replicate")
        return filtered


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Window):
    """Each value becomes a mean of those around it, weighed by distance.

    Attributes
    ----------
    size
        The window's side, odd.
    deviation
        The Gaussian's, in pixels. The usual one for this size; the code of Liu et al. (ICML 2023) and of APBench has
        0.1, which leaves every image as it is.
    """

    size: int = 3
    deviation: float = 0.8

    def window(self, levels: Tensor) -> Tensor:
        """See `Window.window`."""
        deviations = (self.deviation, self.deviation)
        filtered: Tensor = kornia("filters.gaussian_blur2d")(levels, self.size, deviations, "replicate")
        return filtered
