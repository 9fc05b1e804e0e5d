"""Robust accuracy under AutoAttack, by its authors' library."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from cifar10_s.benchmark.measures.base import Measure
from cifar10_s.common.extras import require
from cifar10_s.errors import UsageError
from cifar10_s.nn.runtime import Runtime

# The norms, as the library calls them.
NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
# The targeted loss compares an image's class with the three that follow it.
LEAST_CLASSES = 4
# Square divides the side by as much, but for ℓ∞.
LEAST_SIDE = 5
# Classes other than its own that each image is driven to, in the standard version.
TARGETS = {"Linf": 9, "L2": 9, "L1": 5}


@dataclass(frozen=True, kw_only=True)
class AutoAttack(Measure):
    """Robust accuracy under the standard version of AutoAttack (Croce & Hein, ICML 2020).

    An image counts if APGD on the cross-entropy, targeted APGD, targeted FAB and Square, one after another, all fail.
    The network runs in float32, whatever it was trained in.

    Attributes
    ----------
    norm
        A key of `NORMS`.
    epsilon
        The bound in levels: 8 is 8/255 of the range.
    seed
        Of the attacks' random starts.
    """

    norm: str = "linf"
    epsilon: float = 8.0
    seed: int = 0

    def check(self, classes: int, size: tuple[int, int]) -> None:
        """See `Measure.check`."""
        self._library()
        if classes < LEAST_CLASSES:
            raise UsageError(f"AutoAttack: expected {LEAST_CLASSES} or more classes, got {classes}")
        if self.norm != "linf" and min(size) < LEAST_SIDE:
            raise UsageError(
                f"AutoAttack within {self.norm}: expected images of at least {LEAST_SIDE}×{LEAST_SIDE} pixels, got "
                f"{size[0]}×{size[1]}: take linf"
            )

    def measure(self, runtime: Runtime, net: nn.Module, pixels: Tensor, labels: Tensor) -> float:
        """See `Measure.measure`."""
        model = _OnUnitImages(replace(runtime, bfloat16=False), net)
        with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
            attack = self._attack(model, classes=model(_unit(pixels[:1])).shape[1])
            _, predicted = attack.run_standard_evaluation(_unit(pixels), labels, batch_size=runtime.chunk(pixels))
        return 100 * float((predicted == labels).float().mean())

    def _attack(self, model: nn.Module, classes: int) -> Any:
        device = next(model.parameters()).device
        norm, epsilon = NORMS[self.norm], self.epsilon / 255
        attack = self._library().AutoAttack(model, norm=norm, eps=epsilon, seed=self.seed, device=device)
        targets = min(TARGETS[norm], classes - 1)
        attack.apgd_targeted.n_target_classes = targets
        attack.fab.n_target_classes = min(9, classes - 1)
        return attack

    def _library(self) -> Any:
        return require("pyautoattack", extra="bench", what="AutoAttack")


class _OnUnitImages(nn.Module):
    """A network that takes (B, C, H, W) images in [0, 1]."""

    def __init__(self, runtime: Runtime, net: nn.Module) -> None:
        super().__init__()
        self.runtime, self.net = runtime, net

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits."""
        return self.runtime.logits(self.net, 255 * images.permute(0, 2, 3, 1))


def _unit(pixels: Tensor) -> Tensor:
    """Return (N, H, W, C) pixels as contiguous (N, C, H, W) images in [0, 1], which the library expects."""
    return (pixels.permute(0, 3, 1, 2).float() / 255).contiguous()
