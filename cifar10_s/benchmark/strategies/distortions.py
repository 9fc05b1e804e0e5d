"""Distortions of a batch that defend against noise: displaced pixels, sharpening, and chains of augmentations.

They are augmentations; see `augmentations`.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from cifar10_s.benchmark.strategies.base import Augmentation
from cifar10_s.benchmark.strategies.defences import LowPass
from cifar10_s.data.images import LabeledImages


@dataclass(frozen=True, kw_only=True)
class Coin:
    """Takes each pixel from a random place near its own (COIN; Li, Wang et al., AAAI 2025).

    A place between pixels gives their bilinear mean. Images are continued periodically; the authors' ``mode="wrap"`` of
    SciPy has a period that is one pixel shorter. Levels are not rounded; theirs are cut to whole ones.

    Attributes
    ----------
    reach
        Displacements along rows and columns are drawn from -reach to reach, in pixels, for each pixel; all channels
        have the same.
    """

    reach: float = 2.0

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        count, height, width, channels = levels.shape
        draws = torch.from_numpy(random.random((2, count, height, width), dtype=np.float32)).to(levels.device)
        down, right = self.reach * (2 * draws - 1)
        row, down = _split(down + torch.arange(height, device=levels.device)[:, None], height)
        column, right = _split(right + torch.arange(width, device=levels.device), width)
        # With the first row and column again behind the last, the next pixel is always the next in memory.
        ring = pad(levels.permute(0, 3, 1, 2), (0, 1, 0, 1), mode="circular").permute(0, 2, 3, 1)
        start = torch.arange(count, device=levels.device)[:, None, None] * ((height + 1) * (width + 1))
        corner = (start + row * (width + 1) + column).flatten()
        flat = ring.reshape(-1, channels)
        # One share per level: repeating those of a pixel as lerp goes along takes three times as long.
        down, right = (share.reshape(-1, 1).expand(-1, channels).contiguous() for share in (down, right))
        upper, lower = (
            flat.index_select(0, corner + step).lerp_(flat.index_select(0, corner + step + 1), right)
            for step in (0, width + 1)
        )
        return upper.lerp_(lower, down).view(levels.shape), targets


def _split(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the pixel before each place on a ring of pixels, and the distance from it, 0 to 1."""
    before = places.floor()
    return before.long().remainder(size), places - before


@dataclass(frozen=True, kw_only=True)
class RandomSharpening:
    """Sharpens each image by a random 3×3 kernel (RSK; Kim & Sandoval-Segura, 2024, arXiv 2411.01742).

    The kernel's centre c is drawn first; each of its four direct neighbours is minus a draw around (c - 1) / 4, so that
    they sum to about 1. The corners are 0. All channels have the same kernel. Results are clipped to 0-255. Outside the
    image, its border is repeated; the authors' images become two pixels smaller.

    Attributes
    ----------
    centre
        The mean of c.
    deviation
        The standard deviation of all five draws.
    """

    centre: float = 2.5
    deviation: float = 0.1

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        draws = random.standard_normal((5, len(levels))) * self.deviation
        draws[0] += self.centre
        draws[1:] += (draws[0] - 1) / 4
        centre, *neighbours = torch.from_numpy(draws.astype(np.float32)).to(levels.device)[..., None, None, None]
        framed = pad(levels.permute(0, 3, 1, 2), (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
        _, height, width, _ = levels.shape
        sharpened = centre * levels
        for weight, (row, column) in zip(neighbours, ((0, 1), (1, 0), (1, 2), (2, 1)), strict=True):
            sharpened.addcmul_(weight, framed[:, row : row + height, column : column + width], value=-1)
        return sharpened.clamp_(0, 255), targets


@dataclass(frozen=True, kw_only=True)
class SmoothBatch:
    """Keeps the low frequencies of each batch, clipped to 0-255 but not rounded; see `LowPass`.

    Attributes
    ----------
    low_pass
        What is kept.
    """

    low_pass: LowPass = field(default_factory=LowPass)

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        return self.low_pass.smooth(levels).clamp(0, 255), targets


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Applies augmentations one after another.

    Attributes
    ----------
    parts
        The augmentations; those with a method ``fitted`` are fitted first (see `Strategy`).
    """

    parts: tuple[Augmentation, ...]

    def fitted(self, images: LabeledImages, random: np.random.Generator) -> "Chain":
        """Return the chain with its parts fitted to images."""
        fitted = (part.fitted(images, random) if hasattr(part, "fitted") else part for part in self.parts)
        return Chain(parts=tuple(fitted))

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        for part in self.parts:
            levels, targets = part(levels, targets, random)
        return levels, targets


@dataclass(frozen=True, kw_only=True)
class Sometimes:
    """Applies an augmentation to some batches only.

    Attributes
    ----------
    augment
        The augmentation.
    probability
        The probability with which a batch is changed.
    """

    augment: Augmentation
    probability: float = 0.5

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        if random.random() >= self.probability:
            return levels, targets
        return self.augment(levels, targets, random)
