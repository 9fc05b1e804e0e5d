"""Augmentations of a batch, on its device.

Each takes (B, H, W, C) float levels 0-255, (B, K) target probabilities and a generator, and returns new levels and
targets. All randomness comes from the generator, so that it is the same on every device.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.benchmark.strategies.plasma import plasma
from cifar10_s.benchmark.strategies.randaugment import OPERATIONS, Limits, operate


def _permutation(random: np.random.Generator, levels: Tensor) -> Tensor:
    return torch.from_numpy(random.permutation(len(levels))).to(levels.device)


def _uniform(random: np.random.Generator, low: float, high: float, levels: Tensor) -> Tensor:
    """Draw one number per image, (B,) float32."""
    return torch.from_numpy(random.uniform(low, high, len(levels)).astype(np.float32)).to(levels.device)


def _draw_operations(
    random: np.random.Generator, magnitudes: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Draw an operation and the sign of its strength for each image."""
    signs = random.choice((-1.0, 1.0), len(magnitudes))
    return random.integers(len(OPERATIONS), size=len(magnitudes)), signs * magnitudes


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Mixes each image with another of its batch, and their targets too (Zhang et al., ICLR 2018).

    Attributes
    ----------
    alpha
        The first image's share is drawn from Beta(alpha, alpha), once per batch.
    """

    alpha: float = 1.0

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        share, other = float(random.beta(self.alpha, self.alpha)), _permutation(random, levels)
        return levels[other].lerp(levels, share), targets[other].lerp(targets, share)


@dataclass(frozen=True, kw_only=True)
class CutMix:
    """Takes a box of each image from another of its batch; mixes targets by area (Yun et al., ICCV 2019, Algorithm A1).

    Every batch is cut; the authors' command for CIFAR cuts half of them.

    Attributes
    ----------
    alpha
        The first image's share is drawn from Beta(alpha, alpha), once per batch. The box has the image's proportions
        and any centre, and is clipped at the border; the share then becomes that of the pixels that are left.
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
    """Fills a box of each image (DeVries & Taylor, 2017), with any centre and clipped at the border.

    The box is mid-grey, as DeVries & Taylor have it; that of the OPS authors' code is black (``cutout-black``).

    Attributes
    ----------
    share
        The sides of the box as a share of the image's: 16 of 32 pixels.
    level
        The level that fills it; networks see the default as 0.
    """

    share: float = 0.5
    level: float = 127.5

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        count, height, width, _ = levels.shape
        rows, columns = (self._span(random, count, size).to(levels.device) for size in (height, width))
        box = rows[:, :, None, None] & columns[:, None, :, None]
        return levels.masked_fill(box, self.level), targets

    def _span(self, random: np.random.Generator, count: int, size: int) -> Tensor:
        """Draw the rows, or the columns, of each image's box, (B, size) bool."""
        length = max(1, int(size * self.share))
        start = random.integers(size, size=(count, 1)) - length // 2
        along = np.arange(size)
        return torch.from_numpy((along >= start) & (along < start + length))


@dataclass(frozen=True, kw_only=True)
class RandAugment:
    """Applies operations that are drawn for each image (Cubuk et al., NeurIPS 2020).

    The strength of all operations grows with the magnitude, as in torchvision, where only solarize differs, by a
    level: here it inverts levels from 256 - 256·M/30, there from 255 - 255·M/30. Pixels from outside the image are
    black.

    Attributes
    ----------
    operations
        N, the number of operations per image; one may be drawn twice.
    magnitude, of
        M, and the magnitude of full strength.
    limits
        The effect of operations at full strength.
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

    All images get both plasmas, as in APBench's code; in the authors' module, each image gets each with probability ½.
    UEraser-max (``draws=5``) keeps each image's hardest draw; APBench's code chooses it with the network in training
    mode, ours in evaluation mode, so that the choice neither depends on the rest of the batch nor moves the statistics
    of batch normalisation.

    Attributes
    ----------
    roughness
        The range from which the roughness of both plasmas is drawn.
    intensity
        The range from which that of the brightness plasma is drawn; 1 moves levels by up to 255.
    contrast
        The largest factor of the contrast plasma.
    shuffle
        The share of images whose channels are shuffled.
    magnitudes
        TrivialAugment (Müller & Hutter, ICCV 2021) applies one of `randaugment.OPERATIONS`; its magnitude is drawn from
        0 to this, which is full strength.
    limits
        The effect of operations at full strength.
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
        roughness = _uniform(random, *self.roughness, levels)
        return plasma((count, channels, height, width), roughness, random).permute(0, 2, 3, 1)

    def _shuffled(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        count, channels = len(levels), levels.shape[3]
        order = random.permuted(np.tile(np.arange(channels), (count, 1)), axis=1)
        order[random.random(count) >= self.shuffle] = np.arange(channels)
        index = torch.from_numpy(order).to(levels.device)[:, None, None, :]
        return levels.gather(3, index.expand(levels.shape))
