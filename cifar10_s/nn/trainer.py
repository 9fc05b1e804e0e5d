"""Train a network step by step, on batches in an order that a seed decides."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.common.rng import generator
from cifar10_s.nn.runtime import Runtime

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float, float, bool], torch.optim.Optimizer]] = {
    "sgd": lambda weights, momentum, decay, fused: torch.optim.SGD(
        weights, lr=0.0, momentum=momentum, weight_decay=decay, fused=fused
    ),
    "adamw": lambda weights, _, decay, fused: torch.optim.AdamW(weights, lr=0.0, weight_decay=decay, fused=fused),
}


def multistep(learning_rate: float, progress: float, milestones: Iterable[float]) -> float:
    """Return the learning rate after a share of the training, 0 to 1; it is divided by ten at each milestone."""
    return learning_rate * 0.1 ** sum(progress >= milestone for milestone in milestones)


def one_cycle(learning_rate: float, progress: float, warmup: float = 0.0) -> float:
    """Return the learning rate after a share of the training: it rises over the warm-up, then falls along a cosine."""
    if progress < warmup:
        return learning_rate * progress / warmup
    return float(learning_rate * (1 + np.cos(np.pi * (progress - warmup) / (1 - warmup))) / 2)


class DivergedError(ArithmeticError):
    """Weights that are not finite: the training has failed."""


class Trainer:
    """A network and its optimiser; the state can be saved between any two steps.

    Parameters
    ----------
    runtime
        Runs the network.
    net
        The network; it is moved to the device.
    optimizer
        A name of `OPTIMIZERS`.
    momentum, weight_decay
        Settings of the optimiser; AdamW ignores ``momentum``.
    clip
        The norm to which gradients are clipped; None for no clipping.
    part
        The part of the network that learns; the rest stays as it is, in evaluation mode. By default all of it.
    """

    def __init__(
        self,
        runtime: Runtime,
        net: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        optimizer: str = "sgd",
        clip: float | None = None,
        part: nn.Module | None = None,
    ) -> None:
        self.runtime, self.net, self.clip = runtime, runtime.place(net), clip
        self.part = self.net if part is None else part
        fused = runtime.device.type == "cuda"
        self.optimizer = OPTIMIZERS[optimizer](self.part.parameters(), momentum, weight_decay, fused)

    def step(
        self,
        levels: Tensor,
        labels: Tensor | None,
        learning_rate: float,
        loss: Callable[[Tensor, Any], Tensor] = nn.functional.cross_entropy,
    ) -> Tensor:
        """Take one step on the loss of a batch, and return the logits from before the step.

        Labels, of which the loss makes something, are (B,) classes or (B, K) probabilities for cross-entropy.
        """
        logits = self.add_gradient(levels, labels, loss)
        self.update(learning_rate)
        return logits

    def add_gradient(
        self,
        levels: Tensor,
        labels: Tensor | None,
        loss: Callable[[Tensor, Any], Tensor] = nn.functional.cross_entropy,
    ) -> Tensor:
        """Add the gradient of a batch to those since the last update, clip the sum, and return the logits."""
        if self.part is not self.net:
            self.frozen()
        self.part.train().requires_grad_(True)
        logits = self.runtime.logits(self.net, levels)
        self._add(loss(logits, labels))
        return logits.detach()

    def descend(self, loss: Tensor, learning_rate: float) -> None:
        """Take one step along the gradient of a loss that was computed in training mode."""
        self._add(loss)
        self.update(learning_rate)

    def _add(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)

    def update(self, learning_rate: float) -> None:
        """Take a step along the gradients that were added since the last one."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.optimizer.zero_grad()

    def frozen(self) -> nn.Module:
        """Return the network in evaluation mode, without gradients of its weights."""
        return self.net.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Return all that later steps depend on."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state that `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def batches(count: int, size: int, first: int, *, seed: int, name: str) -> Iterator[Tensor]:
    """Yield the indices of batches endlessly, from batch number ``first``.

    Each epoch is a new permutation; images at its end that do not fill a batch are left out. A batch depends only on
    its number, so that interrupted work resumes as if it had not been interrupted.
    """
    size = min(size, count)
    per_epoch = count // size
    epoch, number = divmod(first, per_epoch)
    while True:
        order = generator(seed, name, "order", str(epoch)).permutation(count).astype(np.int64)
        yield from torch.split(torch.from_numpy(order[number * size : per_epoch * size]), size)
        epoch, number = epoch + 1, 0
