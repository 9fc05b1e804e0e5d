"""Strategies: what is done to training images, once or in each batch, beyond crop and flip."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.pgd import pgd

# (B, H, W, C) float levels 0-255 and (B, K) target probabilities, on the device, and chance → the same, changed.
Augmentation = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]
# All training images at once, before the first epoch; the same number of them, or more.
Preparation = Callable[[LabeledImages, np.random.Generator], LabeledImages]


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


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to train; crop and flip are always on.

    Attributes
    ----------
    name
        Its name in records and tables.
    summary
        What it does, in one line.
    prepare
        Changes all training images once (a defence), if anything.
    augment
        Changes each batch after crop and flip, if anything.
    draws
        Of so many draws of ``augment``, each image takes the one with the largest loss.
    adversary
        Attacks each batch last, if there is one.
    """

    name: str
    summary: str
    prepare: Preparation | None = None
    augment: Augmentation | None = None
    draws: int = 1
    adversary: Adversary | None = None

    def settings(self) -> dict[str, Any]:
        """Give the name and every number, for the record."""
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name != "summary"}
        return {name: _settings(part) for name, part in parts.items() if part is not None}


def _settings(part: Any) -> Any:
    """Give what a part of a strategy is: numbers as they are, dataclasses by their fields, functions by name."""
    if isinstance(part, str | int | float | bool):
        return part
    if hasattr(part, "__dataclass_fields__"):
        return {"is": type(part).__name__, **{field.name: getattr(part, field.name) for field in fields(part)}}
    return f"{part.__module__}:{part.__qualname__}"


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (
        Strategy(name="standard", summary="crop and flip alone"),
        Strategy(name="at", summary="adversarial training, PGD-10 within 8/255", adversary=Adversary()),
    )
}
