"""Defences, which change all training images once, before crop and flip.

Each takes the images, the clean ones (or None, see `Strategy.needs_clean`) and a generator, and returns new images;
only a chunk of them at a time is in memory as floats.
"""

import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cifar10_s.common.extras import require
from cifar10_s.common.grey import grey_weights
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.errors import UsageError

# The number of pixel values that a task filters at a time.
CHUNK_VALUES = 1 << 20


def filter_in_chunks(
    images: LabeledImages, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], *, chunk_values: int = CHUNK_VALUES
) -> LabeledImages:
    """Return images whose pixels a function changes, a chunk at a time, on all cores."""
    pixels = np.empty_like(images.pixels)

    def work(part: slice) -> None:
        pixels[part] = change(images.pixels[part])

    for _ in thread_map(work, chunks(len(images), max(1, chunk_values // math.prod(pixels.shape[1:])))):
        pass
    return images.with_pixels(pixels)


class Filter(ABC):
    """A defence that changes each image by itself, without randomness."""

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Return the changed images."""
        return filter_in_chunks(images, self.filter)

    @abstractmethod
    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return changed (N, H, W, C) uint8 pixels.

        Raises
        ------
        UsageError
            If the filter does not apply to images of C channels, or kornia is needed and not installed.
        """


@dataclass(frozen=True, kw_only=True)
class Grayscale(Filter):
    """Replaces all channels by the luma of RGB, or by the mean of other channels (Liu et al., ICML 2023)."""

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        grey = to_uint8(pixels @ np.array(grey_weights(pixels.shape[-1])))
        return np.broadcast_to(grey[..., None], pixels.shape)


@dataclass(frozen=True, kw_only=True)
class Jpeg(Filter):
    """JPEG compression and decompression (Liu et al., ICML 2023).

    Attributes
    ----------
    quality
        1 to 95; colour is subsampled to half the resolution (4:2:0).
    """

    quality: int = 10

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        if pixels.shape[-1] not in (1, 3):
            raise UsageError(f"JPEG: expected images of 1 or 3 channels, got {pixels.shape[-1]}: take another defence")
        return np.stack([self._compressed(image.squeeze(2) if image.shape[2] == 1 else image) for image in pixels])

    def _compressed(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # Pillow, although imagecodecs is faster, since other decoders return other pixels.
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=self.quality, subsampling="4:2:0")
        with Image.open(file) as stored:
            return np.asarray(stored).reshape(*image.shape[:2], -1)


@dataclass(frozen=True, kw_only=True)
class BitDepth(Filter):
    """Keeps the upper bits and sets the others to 0, as in the code of Liu et al. (ICML 2023).

    Attributes
    ----------
    bits
        The number of bits that are kept, 1 to 8.
    """

    bits: int = 2

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        return pixels & np.uint8(256 - (1 << (8 - self.bits)))


@dataclass(frozen=True, kw_only=True)
class LowPass(Filter):
    """Keeps the low frequencies of the discrete cosine transform (Kim & Sandoval-Segura, 2024, arXiv 2411.01742).

    Attributes
    ----------
    share
        The share of the rows and of the columns that are kept, rounded down, but at least one: 9 of 32.
    """

    share: float = 0.3

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        return to_uint8(self.smooth(torch.from_numpy(np.ascontiguousarray(pixels)).float()).numpy())

    def smooth(self, levels: Tensor) -> Tensor:
        """Return filtered (N, H, W, C) float levels, which may be out of 0-255."""
        rows, columns = (self.projection(size).to(levels) for size in levels.shape[1:3])
        # The transform, its mask and its inverse are one matrix for each side.
        return torch.einsum("ij,njwc->niwc", rows, torch.einsum("vw,nhwc->nhvc", columns, levels))

    def projection(self, size: int) -> Tensor:
        """Return the matrix that keeps the low frequencies of a side, (size, size) float32."""
        frequency, place = np.arange(max(1, int(size * self.share)))[:, None], np.arange(size)
        cosines = np.cos(np.pi * frequency * (2 * place + 1) / (2 * size)) * np.sqrt(2 / size)
        cosines[0] /= np.sqrt(2)
        return torch.from_numpy((cosines.T @ cosines).astype(np.float32))


class Window(Filter):
    """A filter over a window of pixels; outside the image, its border is repeated."""

    def filter(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Filter.filter`."""
        levels = torch.from_numpy(np.ascontiguousarray(pixels)).float().permute(0, 3, 1, 2)
        return to_uint8(self.window(levels.contiguous()).permute(0, 2, 3, 1).numpy())

    @abstractmethod
    def window(self, levels: Tensor) -> Tensor:
        """Return filtered (N, C, H, W) float levels."""


def _kornia_filters() -> Any:
    return require("kornia.filters", extra="bench", what="this strategy")


@dataclass(frozen=True, kw_only=True)
class Median(Window):
    """Replaces each value by the median of a window around it.

    Attributes
    ----------
    size
        The window's side, odd.
    """

    size: int = 3

    def window(self, levels: Tensor) -> Tensor:
        """See `Window.window`."""
        filtered: Tensor = _kornia_filters().median_blur(levels, self.size, "replicate")
        return filtered


@dataclass(frozen=True, kw_only=True)
class GaussianBlur(Window):
    """Replaces each value by a Gaussian-weighted mean of a window around it.

    Attributes
    ----------
    size
        The window's side, odd.
    deviation
        The standard deviation of the Gaussian in pixels; the default is usual for this size. The code of Liu et al.
        (ICML 2023) and of APBench has 0.1, which leaves every image as it is.
    """

    size: int = 3
    deviation: float = 0.8

    def window(self, levels: Tensor) -> Tensor:
        """See `Window.window`."""
        deviations = (self.deviation, self.deviation)
        filtered: Tensor = _kornia_filters().gaussian_blur2d(levels, self.size, deviations, "replicate")
        return filtered
