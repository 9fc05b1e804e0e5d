"""Training: a network, its optimiser, and the order in which it sees images."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.engine import Engine
from cifar10_s.seeds import generator

OPTIMIZERS: dict[str, Callable[[Iterable[nn.Parameter], float, float, bool], torch.optim.Optimizer]] = {
    "sgd": lambda weights, momentum, decay, fused: torch.optim.SGD(
        weights, lr=0.0, momentum=momentum, weight_decay=decay, fused=fused
    ),
    "adamw": lambda weights, _, decay, fused: torch.optim.AdamW(weights, lr=0.0, weight_decay=decay, fused=fused),
}


def multistep(learning_rate: float, done: float, milestones: Iterable[float]) -> float:
    """Give the learning rate after a share of the training: divided by ten at each of the milestones."""
    return learning_rate * 0.1 ** sum(done >= milestone for milestone in milestones)


class Trainer:
    """A network and its optimiser; its state can be saved between any two steps.

    Parameters
    ----------
    engine
        Where the network runs.
    net
        Any network.
    optimizer
        A name of `OPTIMIZERS`.
    momentum, weight_decay
        Of the optimiser; AdamW has no momentum of this kind.
    clip
        The norm to which gradients are clipped; None for none.
    """

    def __init__(
        self,
        engine: Engine,
        net: nn.Module,
        *,
        momentum: float,
        weight_decay: float,
        optimizer: str = "sgd",
        clip: float | None = None,
    ) -> None:
        self.engine, self.net, self.clip = engine, engine.place(net), clip
        fused = engine.device.type == "cuda"
        self.optimizer = OPTIMIZERS[optimizer](self.net.parameters(), momentum, weight_decay, fused)

    def step(self, levels: Tensor, labels: Tensor, learning_rate: float) -> Tensor:
        """Take one step down the mean cross-entropy of a batch; gives the logits before it.

        Labels are (B,) classes or (B, K) probabilities.
        """
        self.net.train().requires_grad_(True)
        logits = self.engine.logits(self.net, levels)
        loss = nn.functional.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        return logits.detach()

    def frozen(self) -> nn.Module:
        """Give the network as it is now, for gradients at images only."""
        return self.net.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        """Give all that later steps depend on."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])


def batches(count: int, size: int, first: int, *, seed: int, name: str) -> Iterator[Tensor]:
    """Give the indices of batches without end, from batch number ``first`` of all.

    Each epoch is a permutation of its own; its last images, too few for a batch, wait for the next epoch. A batch
    depends on its number alone, so that interrupted work goes on as if it had not been.
    """
    size = min(size, count)
    an_epoch = count // size
    epoch, number = divmod(first, an_epoch)
    while True:
        order = generator(seed, name, "order", str(epoch)).permutation(count).astype(np.int64)
        yield from torch.split(torch.from_numpy(order[number * size : an_epoch * size]), size)
        epoch, number = epoch + 1, 0
