"""The strong augmentation with which orthogonal projection was published."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.benchmark.strategies.randaugment import warped
from cifar10_s.common.grey import grey_weights

# The changes of `StrongView.jitter`, in the order in which their factors are drawn.
BRIGHTNESS, CONTRAST, SATURATION = range(3)


@dataclass(frozen=True, kw_only=True)
class StrongView:
    """Turns, shears, scales and recolours each image, as in the code of Sandoval-Segura et al. (NeurIPS 2023).

    Images are turned first, then sheared and scaled; each move takes the nearest pixel, black outside the image. Then
    brightness, contrast and saturation change in a random order, and each change clips the result to 0-255.

    Attributes
    ----------
    rotate, shear
        The largest angles, in degrees; shears are along the rows.
    scale
        The range of the scale.
    jitter
        The largest change of the factors of brightness, contrast and saturation, which are 1 for no change.
    """

    rotate: float = 10.0
    shear: float = 10.0
    scale: tuple[float, float] = (0.8, 1.2)
    jitter: float = 0.2

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Augment a batch."""
        count, height, width, _ = levels.shape
        angle, shear = random.uniform(-1, 1, (2, count)) * np.deg2rad([[self.rotate], [self.shear]])
        scale, nothing = random.uniform(*self.scale, count), np.zeros(count)
        turn = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        stretch = 1 / scale, np.tan(shear) / scale, nothing, 1 / scale
        for linear in (turn, stretch):
            matrices = torch.from_numpy(_about_centre(np.stack(linear, 1), height, width)).to(levels.device)
            levels = warped(levels, matrices, 0.0)
        return self._jittered(levels, random), targets

    def _jittered(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        count = len(levels)
        factors = random.uniform(1 - self.jitter, 1 + self.jitter, (3, count)).astype(np.float32)
        orders = random.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
        for changes in orders.T:
            own = torch.from_numpy(factors[changes, np.arange(count)]).to(levels.device)[:, None, None, None]
            grey = levels @ levels.new_tensor(grey_weights(levels.shape[3]))[:, None]
            change = torch.from_numpy(changes).to(levels.device)[:, None, None, None]
            base = torch.where(change == CONTRAST, grey.mean((1, 2), keepdim=True), grey)
            base = torch.where(change == BRIGHTNESS, 0.0, base)
            levels = (base + own * (levels - base)).clamp(0, 255)
        return levels


def _about_centre(linear: NDArray[np.float64], height: int, width: int) -> NDArray[np.float32]:
    """Return (B, 6) matrices of linear maps, (B, 4), that leave the image's centre where it is."""
    a, b, d, e = linear.T
    x, y = (width - 1) / 2, (height - 1) / 2
    return np.stack([a, b, x - a * x - b * y, d, e, y - d * x - e * y], 1).astype(np.float32)
