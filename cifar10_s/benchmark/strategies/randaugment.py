"""The operations of RandAugment and TrivialAugment, batched, with a strength per image."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d

from cifar10_s.common.grey import grey_weights


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The effect of operations at full strength (AutoAugment, Cubuk et al., CVPR 2019).

    Attributes
    ----------
    rotate
        Degrees.
    shear
        Pixels by which a row is shifted relative to the one above it.
    translate
        A share of the image's side.
    blend
        The largest change of the factors of colour, contrast, brightness and sharpness, which are 1 for no change.
    posterize
        Bits dropped of 8.
    solarize
        Levels within this distance of white are inverted.
    """

    rotate: float = 30.0
    shear: float = 0.3
    translate: float = 150 / 331
    blend: float = 0.9
    posterize: int = 4
    solarize: int = 256


# Takes (B, C, H, W) integer levels 0-255 as floats, (B,) strengths from -1 to 1, and the effect of strength 1; returns
# levels that are not yet rounded.
Operation = Callable[[Tensor, Tensor, Limits], Tensor]


def operate(
    levels: Tensor,
    drawn: NDArray[np.int64],
    strengths: NDArray[np.floating[Any]],
    limits: Limits,
    operations: "Mapping[str, Operation | Warp] | None" = None,
    *,
    fill: float = 0.0,
) -> Tensor:
    """Apply the operation drawn for each image; results are rounded to integer levels, as for uint8 images.

    Parameters
    ----------
    levels : (B, H, W, C) float, 0-255
    drawn : (B,) int64, indices into the operations; -1 leaves its image as it is
    strengths : (B,) float, -1 to 1
        The sign is the direction; operations without a direction ignore it.
    limits
        The effect of strength 1.
    operations
        `OPERATIONS` by default.
    fill
        The level of pixels that a warp takes from outside the image.
    """
    # Images are put in the order of their operations, so that those of each are a slice, and those that move the last.
    table = [(-1, identity), *enumerate((OPERATIONS if operations is None else operations).values())]
    table.sort(key=lambda item: isinstance(item[1], Warp))
    members = [np.flatnonzero(drawn == number) for number, _ in table]
    order, sizes = np.concatenate(members), [len(chosen) for chosen in members]
    result = levels.index_select(0, torch.from_numpy(order).to(levels.device)).round_()
    parts = torch.split(result, sizes), torch.split(torch.from_numpy(strengths[order].astype(np.float32)), sizes)
    matrices: list[Tensor] = []
    for (_, operation), images, strength in zip(table, *parts, strict=True):
        if len(images) == 0 or operation is identity:
            continue
        if isinstance(operation, Warp):
            matrices.append(operation.matrices(strength, limits, levels.shape[1], levels.shape[2]))
            continue
        planes = images.permute(0, 3, 1, 2)
        planes.copy_(operation(planes, strength.to(levels.device), limits))
    if matrices:  # all warps at once: on a GPU as on a CPU, few large steps are faster than many small ones
        warps = torch.cat(matrices).to(levels.device)
        result[-len(warps) :] = warped(result[-len(warps) :], warps, fill)
    back = torch.from_numpy(np.argsort(order)).to(levels.device)
    return result.round_().clamp_(0, 255).index_select(0, back)


def _grey(levels: Tensor) -> Tensor:
    """Return the grey of images, (B, 1, H, W) integer levels."""
    weights = levels.new_tensor(grey_weights(levels.shape[1]))
    return (levels.permute(0, 2, 3, 1) @ weights).round_()[:, None]


def _per_image(values: Tensor) -> Tensor:
    """Reshape (B,) values, one per image, to broadcast with (B, C, H, W)."""
    return values[:, None, None, None]


def _planes(levels: Tensor) -> Tensor:
    """Return images as (B, C, H·W), each channel contiguous: torch is several times as fast along such planes."""
    return levels.contiguous().flatten(2)


def _blend(other: Tensor, levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    """Interpolate from another image to this one, or extrapolate; strength 0 is this image."""
    return other + (1 + _per_image(strength) * limits.blend) * (levels - other)


@dataclass(frozen=True)
class Warp:
    """An operation that moves pixels: each comes from where a matrix maps its place.

    Attributes
    ----------
    rows
        Takes (B,) strengths, the limits, H and W. Returns the two rows of the matrices that map (column, row, 1) to the
        column and the row where a pixel comes from: six numbers, or (B,) tensors.
    """

    rows: Callable[[Tensor, Limits, int, int], tuple[Tensor | float, ...]]

    def matrices(self, strength: Tensor, limits: Limits, height: int, width: int) -> Tensor:
        """Return the matrix of each image, (B, 6) float32."""
        ones = torch.ones_like(strength)
        return torch.stack([part * ones for part in self.rows(strength, limits, height, width)], 1)


def warped(images: Tensor, matrices: Tensor, fill: float) -> Tensor:
    """Take each pixel of (B, H, W, C) images from where a matrix maps it: the nearest pixel, or ``fill`` outside."""
    count, height, width, channels = images.shape
    x = torch.arange(width, device=images.device)
    y = torch.arange(height, device=images.device)[:, None]
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    column, row = (a * x + b * y + c).round_(), (d * x + e * y + f).round_()
    nearest_column, nearest_row = column.clamp(0, width - 1), row.clamp(0, height - 1)
    inside = ((column == nearest_column) & (row == nearest_row)).to(images.dtype)[..., None]
    first = torch.arange(count, device=images.device)[:, None, None] * (height * width)
    places = first + (nearest_row * width + nearest_column).long()
    moved = images.reshape(-1, channels).index_select(0, places.flatten()).view(images.shape)
    return moved.sub_(fill).mul_(inside).add_(fill)


def _autocontrast(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    planes = _planes(levels)
    low, high = planes.amin(2, keepdim=True), planes.amax(2, keepdim=True)
    flat = (high == low) * low  # a plane of one level keeps it
    return ((planes - low) * 255 / (high - low).clamp(min=1) + flat).view(levels.shape)


def _equalize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    """Spread the levels of each channel evenly, by the integers of Pillow; a channel without steps stays."""
    index = _planes(levels).long()
    counts = index.new_zeros(*index.shape[:2], 256).scatter_add_(2, index, torch.ones_like(index))
    step = (index.shape[2] - counts.gather(2, index.amax(2, keepdim=True))) // 255
    below = counts.cumsum(2) - counts
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=levels.device))
    return table.to(levels.dtype).gather(2, index).view(levels.shape)


def rotation(strength: Tensor, limits: Limits, height: int, width: int) -> tuple[Tensor | float, ...]:
    """Return the rows of the matrices that turn images about their centres; see `Warp`."""
    angle = torch.deg2rad(strength * limits.rotate)
    cosine, sine = angle.cos(), angle.sin()
    x, y = (width - 1) / 2, (height - 1) / 2
    return cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y


def _solarize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    inverted = levels.clone().ge_(_per_image(256 - strength.abs() * limits.solarize))  # 1 or 0
    return (255 * inverted - levels).abs_()


def _posterize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    step = _per_image(2 ** (strength.abs() * limits.posterize).round())
    return (levels / step).floor() * step


def _color(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return _blend(_grey(levels), levels, strength, limits)


def _contrast(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return _blend(_grey(levels).mean((2, 3), keepdim=True).round(), levels, strength, limits)


def _sharpness(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    # Only inner pixels are sharpened; such an image has none.
    if min(levels.shape[2:]) < 3:
        return levels
    shares = levels / 255
    kernel = levels.new_tensor([[1, 1, 1], [1, 5, 1], [1, 1, 1]]).expand(levels.shape[1], 1, 3, 3) / 13
    smooth = conv2d(shares, kernel, groups=levels.shape[1]).clamp_(0, 1)
    inner = shares[:, :, 1:-1, 1:-1]
    inner.copy_(smooth + _per_image(1 + strength * limits.blend) * (inner - smooth))
    return shares.clamp_(0, 1) * 255


def identity(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    """Return the images as they are; see `Operation`."""
    return levels


def _brightness(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return _blend(torch.zeros_like(levels), levels, strength, limits)


# The fourteen operations of RandAugment (Cubuk et al., NeurIPS 2020).
OPERATIONS: dict[str, Operation | Warp] = {
    "identity": identity,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": Warp(rotation),
    "solarize": _solarize,
    "color": _color,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": _brightness,
    "sharpness": _sharpness,
    "shear-x": Warp(lambda strength, limits, height, width: (1, strength * limits.shear, 0, 0, 1, 0)),
    "shear-y": Warp(lambda strength, limits, height, width: (1, 0, 0, strength * limits.shear, 1, 0)),
    "translate-x": Warp(
        lambda strength, limits, height, width: (1, 0, (strength * limits.translate * width).round(), 0, 1, 0)
    ),
    "translate-y": Warp(
        lambda strength, limits, height, width: (1, 0, 0, 0, 1, (strength * limits.translate * height).round())
    ),
}
