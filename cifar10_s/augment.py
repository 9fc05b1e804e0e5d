"""Crop and flip: the augmentation that is always on, batched on the device and differentiable."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The padding is this part of the shorter side: 4 pixels of 32.
PADDING = 1 / 8


@dataclass(frozen=True, eq=False)
class CropAndFlip:
    """One draw for a batch: where each image is cut from its padded self, and whether it is mirrored.

    Attributes
    ----------
    top, left : (B,) int64, 0 to twice the padding
    flip : (B,) bool
    padding
        Pixels of black around an image: 4 for 32×32, and in proportion for other sizes.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    padding: int

    @classmethod
    def draw(cls, random: np.random.Generator, images: Tensor) -> "CropAndFlip":
        """Draw for (B, H, W, C) images from all places, and mirror half; chance is the same on every device."""
        count, height, width, _ = images.shape
        padding = max(1, round(PADDING * min(height, width)))
        top, left = random.integers(0, 2 * padding + 1, (2, count))
        return cls(torch.from_numpy(top), torch.from_numpy(left), torch.from_numpy(random.random(count) < 0.5), padding)

    def __call__(self, images: Tensor) -> Tensor:
        """Cut and mirror (B, H, W, C) images of any dtype; gradients flow back to where each value came from."""
        count, height, width, channels = images.shape
        padded = torch.nn.functional.pad(images, (0, 0, self.padding, self.padding, self.padding, self.padding))
        top, left, flip = (
            part.to(images.device, non_blocking=True)[:, None] for part in (self.top, self.left, self.flip)
        )
        along = torch.arange(width, device=images.device)
        rows = top + torch.arange(height, device=images.device)
        columns = left + torch.where(flip, along.flip(0), along)
        places = (rows[:, :, None] * (width + 2 * self.padding) + columns[:, None, :]).view(count, -1, 1)
        cut = padded.view(count, -1, channels).gather(1, places.expand(-1, -1, channels))
        return cut.view(count, height, width, channels)
