"""Projected gradient descent on perturbations, in levels (Madry et al., ICLR 2018)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.nn.runtime import Runtime


def project(noise: Tensor, pixels: Tensor, epsilon: float) -> Tensor:
    """Return the nearest noise within ±epsilon levels that leaves pixels + noise within 0-255."""
    return (pixels + noise.clamp(-epsilon, epsilon)).clamp(0, 255) - pixels


def uniform_noise(pixels: Tensor, epsilon: float, random: np.random.Generator) -> Tensor:
    """Draw uniform noise within ±epsilon levels, float32, of the pixels' shape and on their device."""
    uniform = torch.from_numpy(random.random(tuple(pixels.shape), dtype=np.float32)).to(pixels.device)
    return (2 * uniform - 1) * epsilon


def pgd(
    pixels: Tensor,
    noise: Tensor,
    gradient: Callable[[Tensor], Tensor],
    *,
    epsilon: float,
    step: float,
    steps: int,
) -> Tensor:
    """Return noise that decreases a loss, found by steps along the sign of the gradient.

    Parameters
    ----------
    pixels : (B, H, W, C) float, levels 0-255
    noise : (B, H, W, C) float, levels
        Where to start; it is projected first, as images of other levels than 0-255 are none.
    gradient
        Returns the loss's gradient at perturbed images; its negative maximises the loss.
    epsilon, step
        The ℓ∞ bound and the length of a step, in levels.
    steps
        The number of steps.
    """
    noise = project(noise, pixels, epsilon)
    for _ in range(steps):
        noise = project(noise - step * gradient(pixels + noise).sign(), pixels, epsilon)
    return noise


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Maximises a network's loss within an ℓ∞ ball around the images.

    Attributes
    ----------
    epsilon, step, steps
        ℓ∞ bound and step in levels, and the number of steps.
    """

    epsilon: float = 8.0
    step: float = 2.0
    steps: int = 10

    def attack(self, runtime: Runtime, net: nn.Module, levels: Tensor, targets: Tensor, start: Tensor) -> Tensor:
        """Return perturbed images on which the network's loss is larger; ``start`` is noise within the bound."""
        return levels + pgd(
            levels, start, lambda attacked: -runtime.input_gradient(net, attacked, targets),
            epsilon=self.epsilon, step=self.step, steps=self.steps,
        )  # fmt: skip

    def random_start(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        """Draw uniform noise within the bound."""
        return uniform_noise(levels, self.epsilon, random)
