"""Adversary: what attacks training batches, and test images to measure robustness (Madry et al., ICLR 2018)."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from cifar10_s.engine import Engine
from cifar10_s.pgd import pgd, uniform_noise


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Climbs a network's loss within an ℓ∞ ball around the images.

    Attributes
    ----------
    epsilon, step, steps
        ℓ∞ bound and step in levels, and the number of steps.
    """

    epsilon: float = 8.0
    step: float = 2.0
    steps: int = 10

    def attack(self, engine: Engine, net: nn.Module, levels: Tensor, targets: Tensor, start: Tensor) -> Tensor:
        """Give images on which the network's loss is larger; ``start`` is noise within the bound."""
        return levels + pgd(
            levels, start, lambda attacked: -engine.input_gradient(net, attacked, targets),
            epsilon=self.epsilon, step=self.step, steps=self.steps,
        )  # fmt: skip

    def random_start(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        """Draw uniform noise within the bound."""
        return uniform_noise(levels, self.epsilon, random)
