"""Operations: what RandAugment and its kin do to images, batched, each image by a strength of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.errors import UsageError

# Red, green, blue: ITU-R BT.601, as Pillow takes them.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What operations do at full strength (AutoAugment, Cubuk et al., CVPR 2019).

    Attributes
    ----------
    rotate
        Degrees.
    shear
        Pixels by which a row moves against the one above it.
    translate
        A share of the image's side.
    blend
        How far colour, contrast, brightness and sharpness go from 1: 0 is none of it, 2 is twice as much.
    posterize
        Bits that are dropped of 8.
    solarize
        Levels: those that are no further than this from white are inverted.
    """

    rotate: float = 30.0
    shear: float = 0.3
    translate: float = 150 / 331
    blend: float = 0.9
    posterize: int = 4
    solarize: int = 256


# (B, C, H, W) whole levels 0-255 as floats, (B,) strengths -1 to 1, and what 1 means → levels, not yet whole.
Operation = Callable[[Tensor, Tensor, Limits], Tensor]


def operate(levels: Tensor, drawn: NDArray[np.int64], strengths: NDArray[np.floating[Any]], limits: Limits) -> Tensor:
    """Do to each image the operation drawn for it; results are rounded to whole levels, as on uint8 images.

    Parameters
    ----------
    levels : (B, H, W, C) float, 0-255
    drawn : (B,) int64, indices into `OPERATIONS`
    strengths : (B,) float, -1 to 1
        Their sign is the direction; operations without one take them as they are without it.
    limits
        What strength 1 means.

    Raises
    ------
    UsageError
        Where kornia is needed and is not installed.
    """
    result = levels.round()
    for number, operation in enumerate(OPERATIONS.values()):
        chosen = np.flatnonzero(drawn == number)
        if len(chosen) > 0:
            index = torch.from_numpy(chosen).to(levels.device)
            strength = torch.from_numpy(strengths[chosen].astype(np.float32)).to(levels.device)
            changed = operation(result[index].permute(0, 3, 1, 2), strength, limits)
            result[index] = changed.round().clamp(0, 255).permute(0, 2, 3, 1)
    return result


def kornia(name: str) -> Any:
    """Give a function of kornia, such as ``enhance.equalize``; what does without kornia runs where it is missing.

    Raises
    ------
    UsageError
        Where kornia is not installed.
    """
    module, _, function = name.rpartition(".")
    try:
        return getattr(import_module(f"kornia.{module}"), function)
    except ImportError as error:
        raise UsageError(f"this strategy needs kornia, which does not import ({error}): pip install kornia") from None


def grey_weights(channels: int) -> tuple[float, ...]:
    """Give each channel's part in an image's grey: `LUMA` for three, else all alike."""
    return LUMA if channels == 3 else (1 / channels,) * channels


def _grey(levels: Tensor) -> Tensor:
    """Give (B, 1, H, W) whole levels."""
    weights = levels.new_tensor(grey_weights(levels.shape[1]))
    return torch.einsum("bchw,c->bhw", levels, weights).round()[:, None]


def _each(values: Tensor) -> Tensor:
    """Shape one number an image so that it meets (B, C, H, W)."""
    return values[:, None, None, None]


def _blend(other: Tensor, levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    """Go from another image to this one, and on: to it exactly at strength 0."""
    return other + (1 + _each(strength) * limits.blend) * (levels - other)


def _warp(levels: Tensor, *rows: tuple[Tensor | float, Tensor | float, Tensor | float]) -> Tensor:
    """Take each pixel from where a matrix of two rows takes its (column, row, 1), the nearest; black from outside."""
    count, channels, height, width = levels.shape
    x = torch.arange(width, device=levels.device)
    y = torch.arange(height, device=levels.device)[:, None]
    ones = levels.new_ones(count)
    column, row = (
        (_each(a * ones)[:, 0] * x + _each(b * ones)[:, 0] * y + _each(c * ones)[:, 0]).round() for a, b, c in rows
    )
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    places = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long().view(count, 1, -1)
    moved = levels.flatten(2).gather(2, places.expand(-1, channels, -1)).view(levels.shape)
    return moved * inside[:, None]


def _autocontrast(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    low, high = levels.amin((2, 3), keepdim=True), levels.amax((2, 3), keepdim=True)
    return torch.where(high > low, (levels - low) * 255 / (high - low).clamp(min=1), levels)


def _equalize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    equalized: Tensor = kornia("enhance.equalize")(levels / 255) * 255
    return equalized


def _rotate(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    angle = torch.deg2rad(strength * limits.rotate)
    cosine, sine = angle.cos(), angle.sin()
    x, y = (levels.shape[3] - 1) / 2, (levels.shape[2] - 1) / 2
    return _warp(levels, (cosine, -sine, x - cosine * x + sine * y), (sine, cosine, y - sine * x - cosine * y))


def _solarize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return torch.where(levels >= _each(256 - strength.abs() * limits.solarize), 255 - levels, levels)


def _posterize(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    step = _each(2 ** (strength.abs() * limits.posterize).round())
    return (levels / step).floor() * step


def _color(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return _blend(_grey(levels), levels, strength, limits)


def _contrast(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return _blend(_grey(levels).mean((2, 3), keepdim=True).round(), levels, strength, limits)


def _sharpness(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    # Pixels at the border have not all neighbours and stay; here there are no others.
    if min(levels.shape[2:]) < 3:
        return levels
    sharper: Tensor = kornia("enhance.sharpness")(levels / 255, 1 + strength * limits.blend) * 255
    return sharper


# The fourteen of RandAugment (Cubuk et al., NeurIPS 2020).
OPERATIONS: dict[str, Operation] = {
    "identity": lambda levels, strength, limits: levels,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "rotate": _rotate,
    "solarize": _solarize,
    "color": _color,
    "posterize": _posterize,
    "contrast": _contrast,
    "brightness": lambda levels, strength, limits: _blend(torch.zeros_like(levels), levels, strength, limits),
    "sharpness": _sharpness,
    "shear-x": lambda levels, strength, limits: _warp(levels, (1, strength * limits.shear, 0), (0, 1, 0)),
    "shear-y": lambda levels, strength, limits: _warp(levels, (1, 0, 0), (strength * limits.shear, 1, 0)),
    "translate-x": lambda levels, strength, limits: _warp(
        levels, (1, 0, (strength * limits.translate * levels.shape[3]).round()), (0, 1, 0)
    ),
    "translate-y": lambda levels, strength, limits: _warp(
        levels, (1, 0, 0), (0, 1, (strength * limits.translate * levels.shape[2]).round())
    ),
}
