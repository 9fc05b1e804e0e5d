"""SEM: stable error-minimising noise (Liu et al., AAAI 2024)."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from cifar10_s.methods.learned import Work
from cifar10_s.methods.rem import RobustErrorMinimizing
from cifar10_s.nn.pgd import project, uniform_noise


@dataclass(frozen=True, kw_only=True)
class StableErrorMinimizing(RobustErrorMinimizing):
    """REM whose noise is made against random perturbations; its network is still trained under attack.

    Each step of the noise draws U(-ε, ε) around the crops and flips, ε being the adversary's bound, where REM attacks
    them. All numbers are those of REM.
    """

    name: str = "sem"
    summary: str = "stable error-minimising noise (SEM): minimises the error under random perturbations"

    def _simulated(
        self, work: Work, net: nn.Module, levels: Tensor, labels: Tensor, random: np.random.Generator
    ) -> Tensor:
        """Return images at a random place within the adversary's bound."""
        return levels + project(uniform_noise(levels, self.adversary_epsilon, random), levels, self.adversary_epsilon)

    @property
    def _simulated_steps(self) -> int:
        return 0
