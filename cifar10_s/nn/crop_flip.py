"""Random crop and flip, batched on the device and differentiable; all training uses it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The padding as a share of the shorter side: 4 pixels of 32.
PADDING_SHARE = 1 / 8


@dataclass(frozen=True, eq=False)
class CropAndFlip:
    """The crops and flips drawn for a batch.

    Attributes
    ----------
    top, left : (B,) int64, 0 to twice the padding
        The corner of each crop in the padded image.
    flip : (B,) bool
        Whether the image is mirrored.
    padding
        Black pixels added on each side of an image.
    """

    top: Tensor
    left: Tensor
    flip: Tensor
    padding: int

    @classmethod
    def draw(cls, random: np.random.Generator, images: Tensor) -> "CropAndFlip":
        """Draw a crop and a flip (probability ½) for each of (B, H, W, C) images, the same on every device."""
        count, height, width, _ = images.shape
        padding = max(1, round(PADDING_SHARE * min(height, width)))
        top, left = random.integers(0, 2 * padding + 1, (2, count))
        return cls(torch.from_numpy(top), torch.from_numpy(left), torch.from_numpy(random.random(count) < 0.5), padding)

    def __call__(self, images: Tensor) -> Tensor:
        """Crop and flip (B, H, W, C) images of any dtype; differentiable."""
        count, height, width, channels = images.shape
        padded = torch.nn.functional.pad(images, (0, 0, self.padding, self.padding, self.padding, self.padding))
        top, left, flip = (
            part.to(images.device, non_blocking=True)[:, None] for part in (self.top, self.left, self.flip)
        )
        along = torch.arange(width, device=images.device)
        rows = top + torch.arange(height, device=images.device)
        columns = left + torch.where(flip, along.flip(0), along)
        places = (rows[:, :, None] * (width + 2 * self.padding) + columns[:, None, :]).view(count, -1, 1)
        cropped = padded.view(count, -1, channels).gather(1, places.expand(-1, -1, channels))
        return cropped.view(count, height, width, channels)
