"""Projected gradient descent on perturbations, in levels (Madry et al., ICLR 2018)."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def project(noise: Tensor, pixels: Tensor, epsilon: float) -> Tensor:
    """Give the nearest noise within ±epsilon levels that leaves pixels + noise within 0-255."""
    return (pixels + noise.clamp(-epsilon, epsilon)).clamp(0, 255) - pixels


def uniform_noise(pixels: Tensor, epsilon: float, random: np.random.Generator) -> Tensor:
    """Draw noise uniform within ±epsilon levels, float32, of the pixels' shape and on their device."""
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
    """Walk down a loss by steps of the gradient's sign.

    Parameters
    ----------
    pixels : (B, H, W, C) float, levels 0-255
    noise : (B, H, W, C) float, levels
        Where to begin.
    gradient
        Gives the loss's gradient at perturbed images; its negative walks up.
    epsilon, step
        The ℓ∞ bound and the length of a step, in levels.
    steps
        How many.
    """
    for _ in range(steps):
        noise = project(noise - step * gradient(pixels + noise).sign(), pixels, epsilon)
    return noise
