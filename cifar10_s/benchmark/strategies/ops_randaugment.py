"""RandAugment as the authors of OPS ran it: its operations, and how they are drawn, differ from RandAugment's paper.

It is that of tables 5 and 6 of the OPS paper (Wu et al., ICLR 2023), as the code that its authors published shows.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cifar10_s.benchmark.strategies.randaugment import OPERATIONS, Limits, Operation, Warp, identity, operate, rotation

# The operation that makes a hole.
CUTOUT = "cutout"


def _bicubic_weights(offset: Tensor) -> list[Tensor]:
    """Return the weights of the four pixels around a place, for its offset from the second, 0 to 1.

    Keys' kernel with a = -1, as Pillow has it if an image is transformed.
    """
    o, p = offset, 1 - offset
    return [-o * p**2, 1 - 2 * o**2 + o**3, 1 - 2 * p**2 + p**3, -p * o**2]


def _shear_rows(levels: Tensor, strength: Tensor, limits: Limits, *, fill: float) -> Tensor:
    """Shift each row of (B, C, H, W) images against the one above it; ``fill`` is outside."""
    _, channels, height, width = levels.shape
    x = torch.arange(width, device=levels.device)
    y = torch.arange(height, device=levels.device)[:, None]
    place = x + limits.shear * strength[:, None, None] * (y + 0.5)
    first, inside = place.floor(), (place >= -0.5) & (place < width - 0.5)
    weights = _bicubic_weights(place - first)
    taken = ((first + tap - 1).clamp(0, width - 1).long()[:, None].expand(-1, channels, -1, -1) for tap in range(4))
    sheared = sum(weight[:, None] * levels.gather(3, index) for weight, index in zip(weights, taken, strict=True))
    return torch.where(inside[:, None], sheared, fill)


def _shear_columns(levels: Tensor, strength: Tensor, limits: Limits, *, fill: float) -> Tensor:
    return _shear_rows(levels.transpose(2, 3), strength, limits, fill=fill).transpose(2, 3)


def _turn(strength: Tensor, limits: Limits, height: int, width: int) -> tuple[Tensor | float, ...]:
    """Return the matrix of a turn, which is anticlockwise whatever the sign of the strength."""
    return rotation(strength.abs(), limits, height, width)


def _translation(strength: Tensor, limits: Limits, size: int) -> Tensor:
    return (strength * limits.translate * size + 0.5).floor()


def _invert(levels: Tensor, strength: Tensor, limits: Limits) -> Tensor:
    return 255 - levels


def operations(fill: float) -> dict[str, Operation | Warp]:
    """Return the fifteen operations; ``fill`` is the level outside the image."""
    kept = ("sharpness", "autocontrast", "posterize", "equalize", "contrast", "color", "solarize", "brightness")
    return {
        **{name: OPERATIONS[name] for name in kept},
        "shear-x": partial(_shear_rows, fill=fill),
        "shear-y": partial(_shear_columns, fill=fill),
        "rotate": Warp(_turn),
        "translate-x": Warp(lambda s, limits, height, width: (1, 0, _translation(s, limits, width), 0, 1, 0)),
        "translate-y": Warp(lambda s, limits, height, width: (1, 0, 0, 0, 1, _translation(s, limits, height))),
        "invert": _invert,
        CUTOUT: identity,  # `OpsRandAugment` makes the holes, whose places it draws
    }


@dataclass(frozen=True, kw_only=True)
class OpsRandAugment:
    """Applies operations that are drawn for each image, each with a probability of its own.

    An operation is one of 15: those of `RandAugment` but the identity, with ``invert`` and ``cutout``. Half of those
    drawn are not applied, so that about 27 % of the images stay as they are. Shears are bicubic, other moves take the
    nearest pixel; images turn anticlockwise only.

    Attributes
    ----------
    operations
        The number of operations that are drawn per image; one may be drawn twice.
    probability
        The probability with which a drawn operation is applied.
    magnitudes
        The least and the largest magnitude; whole numbers between are drawn for each operation.
    of
        The magnitude of full strength.
    fill
        The level of pixels from outside the image.
    hole
        The sides of the hole that ``cutout`` makes at full strength, as a share of the image's: 20 of 32 pixels.
    hole_fill
        The levels of red, green and blue in it; images of another number of channels get their mean.
    limits
        The effect of operations at full strength.
    """

    operations: int = 2
    probability: float = 0.5
    magnitudes: tuple[int, int] = (1, 9)
    of: int = 9
    fill: float = 128.0
    hole: float = 20 / 32
    hole_fill: tuple[float, float, float] = (125.0, 122.0, 113.0)
    limits: Limits = field(default_factory=Limits)

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        count, table, (least, largest) = len(levels), operations(self.fill), self.magnitudes
        for _ in range(self.operations):
            drawn = random.integers(len(table), size=count)
            drawn[random.random(count) >= self.probability] = -1
            strengths = random.integers(least, largest + 1, count) / self.of
            signs, centres = random.choice((-1.0, 1.0), count), random.random((2, count))
            levels = operate(levels, drawn, signs * strengths, self.limits, table, fill=self.fill)
            cut = np.flatnonzero(drawn == list(table).index(CUTOUT))
            shares, places = (torch.from_numpy(part).to(levels) for part in (strengths[cut], centres[:, cut]))
            levels[cut] = self._cut(levels[cut], shares, places)
        return levels, targets

    def _cut(self, levels: Tensor, strengths: Tensor, centres: Tensor) -> Tensor:
        """Make a hole in each image; (2, B) centres are shares of its height and width."""
        _, height, width, channels = levels.shape
        rows, columns = (
            self._span(size, strengths, centre) for size, centre in zip((height, width), centres, strict=True)
        )
        box = rows[:, :, None, None] & columns[:, None, :, None]
        colour = self.hole_fill if channels == 3 else (sum(self.hole_fill) / 3,) * channels
        return torch.where(box, levels.new_tensor(colour), levels)

    def _span(self, size: int, strengths: Tensor, centres: Tensor) -> Tensor:
        """Return the rows, or the columns, of each image's hole, (B, size) bool; it is of an even length."""
        half = ((self.hole * size * strengths).round() / 2).floor()[:, None]
        centre = (centres * size).floor()[:, None]
        along = torch.arange(size, device=strengths.device)
        return (along >= centre - half) & (along < centre + half)
