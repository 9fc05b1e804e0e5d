"""Augmentations: what strategies do to each batch, on the device it is on.

Each takes (B, H, W, C) float levels 0-255, (B, K) target probabilities and a generator, and gives new levels and
targets. Chance comes from the generator alone, so that it is the same on every device.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.benchmark.operations import OPERATIONS, Limits, kornia, operate


def _permutation(random: np.random.Generator, levels: Tensor) -> Tensor:
    return torch.from_numpy(random.permutation(len(levels))).to(levels.device)


def _uniform(random: np.random.Generator, low: float, high: float, levels: Tensor) -> Tensor:
    """Draw one number an image, (B,) float32."""
    return torch.from_numpy(random.uniform(low, high, len(levels)).astype(np.float32)).to(levels.device)


def _draw_operations(
    random: np.random.Generator, magnitudes: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Draw each image's operation and the sign of its strength."""
    signs = random.choice((-1.0, 1.0), len(magnitudes))
    return random.integers(len(OPERATIONS), size=len(magnitudes)), signs * magnitudes


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Each image is mixed with another of its batch, and so are their targets (Zhang et al., ICLR 2018).

    Attributes
    ----------
    alpha
        The first image's share is drawn from Beta(alpha, alpha), one for the batch.
    """

    alpha: float = 1.0

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        share, other = float(random.beta(self.alpha, self.alpha)), _permutation(random, levels)
        return levels[other].lerp(levels, share), targets[other].lerp(targets, share)


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """A box of each image comes from another of its batch; targets mix by area (Yun et al., ICCV 2019, Algorithm A1).

    Every batch is cut; the authors' command for CIFAR cuts half of them.

    Attributes
    ----------
    alpha
        The first image's share is drawn from Beta(alpha, alpha), one for the batch; its box, of that form, is
        centred anywhere and clipped, and the share becomes what is left of the image.
    """

    alpha: float = 1.0

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        _, height, width, _ = levels.shape
        side, other = np.sqrt(1 - random.beta(self.alpha, self.alpha)), _permutation(random, levels)
        rows, columns = self._span(height, side, random), self._span(width, side, random)
        mixed = levels.clone()
        mixed[:, rows, columns] = levels[other, rows, columns]
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, targets[other].lerp(targets, 1 - area / (height * width))

    def _span(self, size: int, share: float, random: np.random.Generator) -> slice:
        length, centre = int(size * share), int(random.integers(size))
        start = centre - length // 2
        return slice(max(start, 0), min(start + length, size))


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """Each image has a hole (DeVries & Taylor, 2017): its centre is anywhere, and it is clipped at the border.

    Attributes
    ----------
    share
        The hole's sides, as a share of the image's: 16 of 32 pixels.
    level
        What fills it: what networks are given as 0.
    """

    share: float = 0.5
    level: float = 127.5

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        count, height, width, _ = levels.shape
        rows, columns = (self._hole(random, count, size).to(levels.device) for size in (height, width))
        hole = rows[:, :, None, None] & columns[:, None, :, None]
        return levels.masked_fill(hole, self.level), targets

    def _hole(self, random: np.random.Generator, count: int, size: int) -> Tensor:
        """Draw which rows, or columns, each image's hole takes, (B, size) bool."""
        length = max(1, int(size * self.share))
        start = random.integers(size, size=(count, 1)) - length // 2
        along = np.arange(size)
        return torch.from_numpy((along >= start) & (along < start + length))


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Each image goes through operations drawn for it alone (Cubuk et al., NeurIPS 2020).

    Strength grows with the magnitude for all operations, as in torchvision; what moves in leaves black behind.

    Attributes
    ----------
    operations
        How many, N; one may come twice.
    magnitude, of
        M, and the magnitude of full strength.
    limits
        What operations do at full strength.
    """

    operations: int = 2
    magnitude: float = 9.0
    of: float = 30.0
    limits: Limits = field(default_factory=Limits)

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        for _ in range(self.operations):
            drawn, strengths = _draw_operations(random, np.full(len(levels), self.magnitude / self.of))
            levels = operate(levels, drawn, strengths, self.limits)
        return levels, targets


@dataclass(frozen=True, kw_only=True)
class UEraser:
    """Brightness and contrast by plasma fractals, shuffled channels, TrivialAugment (Qin et al., 2023).

    Both plasmas are always on, as in the authors' training code; APBench's has them for half of the images.

    Attributes
    ----------
    roughness
        Of both plasmas, drawn from this range.
    intensity
        Of the brightness plasma, drawn from this range; 1 moves levels by up to 255.
    contrast
        The largest factor of the contrast plasma.
    shuffle
        The share of images whose channels change places.
    magnitudes
        TrivialAugment's (Müller & Hutter, ICCV 2021): one of `operations.OPERATIONS`, its magnitude drawn from
        0 to this, which is full strength.
    limits
        What operations do at full strength.
    """

    roughness: tuple[float, float] = (0.3, 0.7)
    intensity: tuple[float, float] = (0.5, 1.0)
    contrast: float = 4.0
    shuffle: float = 0.5
    magnitudes: int = 30
    limits: Limits = field(default_factory=Limits)

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        intensity = _uniform(random, *self.intensity, levels)[:, None, None, None]
        levels = (levels + 255 * intensity * (2 * self._plasma(levels, random) - 1)).clamp(0, 255)
        levels = ((levels - 127.5) * self.contrast * self._plasma(levels, random) + 127.5).clamp(0, 255)
        magnitudes = random.integers(self.magnitudes + 1, size=len(levels)) / self.magnitudes
        return operate(self._shuffled(levels, random), *_draw_operations(random, magnitudes), self.limits), targets

    def _plasma(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        """Draw a fractal for each channel of each image, (B, H, W, C) float32, 0 to 1."""
        count, height, width, channels = levels.shape

        def draw(shape: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
            return torch.from_numpy(random.random(tuple(shape), dtype=np.float32)).to(device, dtype)

        plasma: Tensor = kornia("contrib.diamond_square")(
            (count, channels, height, width), roughness=_uniform(random, *self.roughness, levels),
            random_fn=draw, device=levels.device, dtype=levels.dtype,
        )  # fmt: skip
        return plasma.permute(0, 2, 3, 1)

    def _shuffled(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        count, channels = len(levels), levels.shape[3]
        order = random.permuted(np.tile(np.arange(channels), (count, 1)), axis=1)
        order[random.random(count) >= self.shuffle] = np.arange(channels)
        index = torch.from_numpy(order).to(levels.device)[:, None, None, :]
        return levels.gather(3, index.expand(levels.shape))
