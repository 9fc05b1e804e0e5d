"""Adversary: what attacks the batches of adversarial training, and test images to measure robustness."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.engine import Engine
from cifar10_s.pgd import pgd


@dataclass(frozen=True, kw_only=True)
class Adversary:
    """Adversarial training (Madry et al., ICLR 2018): the network learns from attacked images.

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
        uniform = torch.from_numpy(random.random(tuple(levels.shape), dtype=np.float32)).to(levels.device)
        return (2 * uniform - 1) * self.epsilon
