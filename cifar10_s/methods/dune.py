"""DUNE: a dual-branch ensemble (Wang et al., Dual-branch Robust Unlearnable Examples, ICML 2026)."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10_s.common.threads import chunks
from cifar10_s.methods.base import Bound
from cifar10_s.methods.learned import Work
from cifar10_s.methods.particle_swarm import ParticleSwarm
from cifar10_s.methods.surrogate import Surrogate

# What an image may lose to the colour without a penalty, and the side of SSIM's window.
LEAST_PSNR, LEAST_SSIM, WINDOW = 20.0, 0.8, 7


class _Colors(nn.Module):
    """The colour of each class in levels, (K, C), as a checkpoint holds it; NaN until it is found."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.levels: Tensor
        self.register_buffer("levels", torch.full((classes, channels), torch.nan))


@dataclass(frozen=True, kw_only=True)
class DualBranch(Surrogate):
    """Adversarial examples of five checkpoints of a network's training, towards class y + 3, and a colour per class.

    The colour is added to all images of a class. A particle swarm searches for it on the class's first images: the
    networks should classify them as y + 3, with a PSNR of at least 20 dB and an SSIM of at least 0.8; any shortfall
    is added to the loss.

    The authors' code differs in two points. It has a third penalty, for LPIPS above 0.03, which needs a network
    trained on ImageNet. And it returns where the particle that found the best colour went afterwards.

    Attributes
    ----------
    particles, iterations
        Of the swarm.
    shift
        Its particles start within ±shift levels, and stay within twice that; the penalties act before.
    share
        Share of a class's images, the first ones, to search its colour on; a fifth is the authors' 1,000 in CIFAR-10.
    """

    name: str = "dune"
    summary: str = "dual-branch unlearnable ensemble (DUNE): adversarial noise, and a colour per class"
    step: float = 0.5
    steps: int = 30
    epochs: int = 120
    milestones: tuple[float, ...] = (0.625, 0.75)
    snapshots: int = 5
    offset: int = 3
    particles: int = 10
    iterations: int = 10
    shift: float = 25.5
    share: float = 0.2

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return the ℓ∞ bound of noise and colour together."""
        return Bound(linf=math.floor(self.epsilon + 2 * self.shift))

    def rounds(self, work: Work) -> Iterator[str]:
        """See `Surrogate.rounds`; the first block of images includes the search for the colours."""
        work.keep("colors", _Colors(len(work.images.class_names), work.pixels.shape[-1]).to(work.runtime.device))
        yield from super().rounds(work)

    def _perturb(self, work: Work, kept: nn.ModuleList, part: slice) -> Tensor:
        colors: Tensor = work.kept("colors").levels
        if colors.isnan().all():
            for label in np.unique(work.images.labels):
                colors[label] = torch.from_numpy(self._color(work, kept, int(label)))
        return super()._perturb(work, kept, part) + colors[work.labels[part]][:, None, None]

    def _color(self, work: Work, kept: nn.ModuleList, label: int) -> NDArray[np.float64]:
        of_class = torch.nonzero(work.labels == label)[:, 0]
        index = of_class[: max(1, int(self.share * len(of_class)))]
        swarm = ParticleSwarm(self.particles, self.iterations, self.shift, 2 * self.shift)
        return swarm.lowest(
            self._loss_of_color(work, kept, index), work.pixels.shape[-1], work.random("color", str(label))
        )

    def _loss_of_color(self, work: Work, kept: nn.ModuleList, index: Tensor) -> Callable[[NDArray[np.float64]], float]:
        """Return what the swarm decreases, as a function of the colour of the images ``index``."""
        pixels, targets = work.pixels[index].float(), self._targets(work, index)
        parts = chunks(len(index), work.runtime.chunk(pixels))

        @torch.inference_mode()
        def loss(color: NDArray[np.float64]) -> float:
            shift, total = torch.from_numpy(color).to(pixels), 0.0
            for part in parts:
                seen = (pixels[part] + shift).clamp(0, 255)
                taken = self._loss(work, kept, seen, targets[part]) / len(kept)
                total += float((taken + penalty(pixels[part], seen)).sum())
            return total / len(index)

        return loss

    def passes(self, count: int) -> int:
        """See `Learned.passes`; a few more if a share of a class is less than an image."""
        searched = int(self.share * count) * self.particles * self.iterations * self.snapshots
        return super().passes(count) + searched

    def small(self) -> Self:
        """Return a recipe with a small network, fewer epochs, fewer and larger steps, and fewer images to search on."""
        return replace(super().small(), share=0.04)


def penalty(clean: Tensor, seen: Tensor) -> Tensor:
    """Return by how much each image misses a PSNR of 20 dB, plus by how much it misses an SSIM of 0.8, (B,).

    Parameters
    ----------
    clean, seen : (B, H, W, C) float, levels 0-255
    """
    error = (clean - seen).square().mean((1, 2, 3))
    psnr = 10 * torch.log10(255**2 / error)
    return (LEAST_PSNR - psnr).clamp(min=0) + (LEAST_SSIM - ssim(clean, seen)).clamp(min=0)


def ssim(clean: Tensor, seen: Tensor) -> Tensor:
    """Return the structural similarity of each pair of images, (B,), as scikit-image's defaults for floats have it.

    Wang et al., *Image quality assessment: from error visibility to structural similarity*, IEEE TIP 2004, Eq. 13,
    with a uniform window, sample variances, K1 = 0.01, K2 = 0.03, L = 255; the mean over channels and all windows
    within the image. If a side of the image is less than 7, the window's side is the largest odd number that fits.

    Parameters
    ----------
    clean, seen : (B, H, W, C) float, levels 0-255
    """
    x, y = (images.permute(0, 3, 1, 2) for images in (clean, seen))
    side = min(WINDOW, *x.shape[2:])
    side -= 1 - side % 2

    def mean(images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, side, stride=1)

    unbiased = side**2 / max(side**2 - 1, 1)
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = unbiased * (mean(x * x) - mean_x**2), unbiased * (mean(y * y) - mean_y**2)
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    first, second = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness: Tensor = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    likeness /= (mean_x**2 + mean_y**2 + first) * (variance_x + variance_y + second)
    return likeness.mean((1, 2, 3))
