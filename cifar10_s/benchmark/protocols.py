"""Protocols: how a network is trained, every number pinned and recorded; another number is another version."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from cifar10_s.training import multistep


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """All that a training run does, but for data, strategy, network and seed.

    Attributes
    ----------
    name
        With a version: published numbers name it.
    network
        The network where none is named.
    epochs, batch
        Passes over the training images, and images a step; images that fill no batch wait for the next epoch.
    optimizer
        ``sgd`` or ``adamw``.
    learning_rate, momentum, weight_decay
        Of the optimiser; AdamW takes β (0.9, 0.999).
    schedule
        ``multistep``: divided by ten after each of the ``milestones``, shares of the epochs;
        ``one-cycle``: up in a line for the first ``warmup`` share of the steps, then down along a cosine to zero.
    """

    name: str
    network: str
    epochs: int
    batch: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    warmup: float = 0.0

    def learning_rate_at(self, done: float) -> float:
        """Give the learning rate after a share of all steps, 0 to 1."""
        if self.schedule == "multistep":
            return multistep(self.learning_rate, done, self.milestones)
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        return float(self.learning_rate * (1 + np.cos(np.pi * (done - self.warmup) / (1 - self.warmup))) / 2)

    def of(self, network: str) -> "Protocol":
        """Give the protocol as it is for a network: some have numbers of their own (see `OWN`)."""
        return replace(self, **OWN.get((self.name, network), {}))

    def settings(self) -> dict[str, Any]:
        """Give every number, for the record."""
        return {**asdict(self), "milestones": list(self.milestones)}


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # The paper's own (its section on training).
        Protocol(name="paper-v1", network="resnet-18", epochs=200, schedule="multistep", milestones=(0.5, 0.75)),
        Protocol(name="quick-v1", network="resnet-18", epochs=30, warmup=0.3),
        Protocol(name="cpu-v1", network="small", epochs=10, warmup=0.3),
    )
}

_TRANSFORMER = {"optimizer": "adamw", "learning_rate": 5e-4, "weight_decay": 3e-2}

# What a protocol's networks have of their own, by protocol and network (the paper's section on training).
OWN: dict[tuple[str, str], dict[str, Any]] = {
    ("paper-v1", "wrn-28-10"): {"batch": 64},
    ("paper-v1", "cct-7-3x1"): _TRANSFORMER,
    ("paper-v1", "cvt-7-4"): _TRANSFORMER,
}
