"""The random views of contrastive learning, batched and differentiable (SimCLR; Chen et al., ICML 2020)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.common.grey import grey_weights

# Attempts to draw a crop within the image; then it is the whole image, or as much of it as the ratios allow.
ATTEMPTS = 10
RATIOS = (3 / 4, 4 / 3)
# The changes of colour, in the order of `ContrastiveView.factors`.
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)


@dataclass(frozen=True, eq=False)
class ContrastiveView:
    """The crops, flips and colours drawn for a batch.

    Attributes
    ----------
    boxes : (4, B) int64
        Top, left, height and width of each crop, which is resized to the image's size.
    flip : (B,) bool
        Whether the crop is mirrored.
    factors : (4, B) float32
        Of brightness, contrast and saturation, 1 for no change; and by how much the hue turns, of 1 in all.
    order
        The order of these four, the same for the batch.
    jittered, grey : (B,) bool
        Whether the colours change, and whether the image then becomes grey.
    """

    boxes: Tensor
    flip: Tensor
    factors: Tensor
    order: tuple[int, ...]
    jittered: Tensor
    grey: Tensor

    @classmethod
    def draw(
        cls, random: np.random.Generator, images: Tensor, strength: float, *, least_area: float | None = None
    ) -> "ContrastiveView":
        """Draw a view for each of (B, H, W, C) images, the same on every device.

        Parameters
        ----------
        random
            The source of randomness.
        images
            The images, of which only the shape matters.
        strength
            0 to 1. Brightness, contrast and saturation change by up to 0.4·strength and the hue by up to 0.1·strength,
            with probability 0.8·strength; an image becomes grey with probability 0.2·strength.
        least_area
            The least share of the image that a crop has; by default 1 - 0.9·strength, at least 0.05.
        """
        count, height, width, _ = images.shape
        least = max(1 - 0.9 * strength, 0.05) if least_area is None else least_area
        boxes = _draw_boxes(random, count, (height, width), least)
        reach = strength * np.array([[0.4], [0.4], [0.4], [0.1]])
        factors = random.uniform(-1, 1, (4, count)) * reach + [[1], [1], [1], [0]]
        order = tuple(map(int, random.permutation(4)))
        flip, jittered, grey = random.random((3, count)) < [[0.5], [min(0.99, 0.8 * strength)], [0.2 * strength]]
        return cls(
            torch.from_numpy(boxes), torch.from_numpy(flip), torch.from_numpy(factors.astype(np.float32)), order,
            torch.from_numpy(jittered), torch.from_numpy(grey),
        )  # fmt: skip

    def __call__(self, levels: Tensor) -> Tensor:
        """Return the views of (B, H, W, C) float levels 0-255; differentiable.

        Images of another number of channels than three have no hue and no saturation, and grey is their channels' mean.
        """
        seen = self._cropped(levels)
        changed = seen
        for change in self.order:
            changed = self._recoloured(changed, change, self.factors[change].to(levels.device)[:, None, None, None])
        seen = torch.where(self.jittered.to(levels.device)[:, None, None, None], changed, seen)
        return torch.where(self.grey.to(levels.device)[:, None, None, None], _grey(seen).expand_as(seen), seen)

    def _cropped(self, levels: Tensor) -> Tensor:
        """Crop and resize, bilinearly between the centres of the corners, by a product with a matrix for each axis."""
        top, left, height, width = self.boxes.to(levels.device)
        rows = _resampling(top, height, levels.shape[1])
        columns = _resampling(left, width, levels.shape[2])
        columns = torch.where(self.flip.to(levels.device)[:, None, None], columns.flip(1), columns)
        return torch.einsum("bkl,bilc->bikc", columns, torch.einsum("bij,bjlc->bilc", rows, levels))

    def _recoloured(self, levels: Tensor, change: int, factor: Tensor) -> Tensor:
        if change == BRIGHTNESS:
            return (levels * factor).clamp(0, 255)
        if change == CONTRAST:
            mean = _grey(levels).mean((1, 2), keepdim=True)
            return (mean + factor * (levels - mean)).clamp(0, 255)
        if levels.shape[3] != 3:
            return levels
        if change == SATURATION:
            grey = _grey(levels)
            return (grey + factor * (levels - grey)).clamp(0, 255)
        return turned_hue(levels, factor[:, 0, 0, 0])


def _draw_boxes(random: np.random.Generator, count: int, size: tuple[int, int], least: float) -> NDArray[np.int64]:
    """Draw crops of at least a share of the area, (4, count), of an aspect within `RATIOS`, anywhere in the image."""
    height, width = size
    area = random.uniform(least, 1, (count, ATTEMPTS)) * height * width
    narrowest, widest = np.log(RATIOS)
    ratio = np.exp(random.uniform(narrowest, widest, (count, ATTEMPTS)))
    wide, high = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    fits = (wide >= 1) & (wide <= width) & (high >= 1) & (high <= height)
    first = fits.argmax(1)
    whole = min(height, round(width / RATIOS[0])), min(width, round(height * RATIOS[1]))
    each = np.arange(count)
    crop = np.where(fits.any(1), (high[each, first], wide[each, first]), np.array(whole)[:, None]).astype(np.int64)
    free = np.array([[height], [width]]) - crop
    return np.concatenate([np.floor(random.random((2, count)) * (free + 1)).astype(np.int64), crop])


def _resampling(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return (B, size, size) weights of linear interpolation of ``length`` values from ``start`` on."""
    along = torch.arange(size, device=start.device, dtype=torch.float32)
    places = start[:, None] + along * ((length - 1) / max(size - 1, 1))[:, None]
    return (1 - (places[:, :, None] - along).abs()).clamp(min=0)


def _grey(levels: Tensor) -> Tensor:
    """Return the grey of images, (B, H, W, 1)."""
    return (levels * levels.new_tensor(grey_weights(levels.shape[3]))).sum(3, keepdim=True)


def turned_hue(levels: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of (B, H, W, 3) images by (B,) shares of the circle; saturation and value of HSV stay."""
    red, green, blue = levels.unbind(3)
    value = levels.amax(3)
    chroma = value - levels.amin(3)
    divisor = torch.where(chroma == 0, 1.0, chroma)
    of_green, of_blue = (blue - red) / divisor + 2, (red - green) / divisor + 4
    hue = torch.where(value == red, (green - blue) / divisor, torch.where(value == green, of_green, of_blue))
    hue = hue + 6 * turns[:, None, None]
    # Each channel is the value, less the chroma as far as the hue is from the channel's own third of the circle.
    far = [torch.remainder(channel + hue, 6) for channel in (5, 3, 1)]
    return torch.stack([value - chroma * torch.minimum(one, 4 - one).clamp(0, 1) for one in far], 3)
