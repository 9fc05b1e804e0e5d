"""The specification of a run, which decides its result and its id."""

import typing
from dataclasses import dataclass
from typing import Any

from cifar10_s.benchmark.measures.base import Measure
from cifar10_s.benchmark.protocols import Protocol
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.weights import Weights
from cifar10_s.release.layout import CLEAN


class Described(typing.Protocol):
    """What the settings of a run say of its images; a `Release` says it, and so can images in memory."""

    @property
    def title(self) -> str:
        """The title of their source."""

    def digest(self, configuration: str) -> str:
        """Return the pixel digest of the training images of a configuration."""

    @property
    def test_digest(self) -> str:
        """The pixel digest of the clean test images."""


@dataclass(frozen=True)
class RunSpec:
    """One run of a grid, before its images are read.

    Attributes
    ----------
    configuration
        The configuration to train on.
    strategy, protocol
        How to train.
    network
        A name of `NETWORKS`.
    seed
        Decides initial weights, order and augmentation.
    measures
        What is measured of the network after the last epoch, besides its accuracy.
    weights
        What training starts from, but for the classifier; None for random weights.
    """

    configuration: str
    strategy: Strategy
    protocol: Protocol
    network: str
    seed: int
    measures: tuple[Measure, ...] = ()
    weights: Weights | None = None

    @property
    def epoch_cost(self) -> int:
        """The cost of an epoch, in epochs of standard training, of which each step of an attack costs one."""
        adversary = self.strategy.adversary
        return self.strategy.draws * (1 if adversary is None else 1 + adversary.steps)

    @property
    def pretraining_cost(self) -> int:
        """The cost of what comes before the first epoch, in epochs of standard training."""
        pretrain, purify = self.strategy.pretrain, self.strategy.purify
        return (0 if pretrain is None else 2 * pretrain.epochs) + (0 if purify is None else purify.passes)

    @property
    def cost(self) -> int:
        """The cost of the run, in epochs of standard training."""
        return self.pretraining_cost + self.protocol.epochs * self.epoch_cost

    def settings(self, release: Described) -> dict[str, Any]:
        """Return everything that decides the result except the machine."""
        return {
            "source": release.title,
            "configuration": self.configuration,
            "pixels_sha256": release.digest(self.configuration),
            "test_sha256": release.test_digest,
            **({"clean_sha256": release.digest(CLEAN)} if self.strategy.needs_clean else {}),
            "strategy": self.strategy.settings(),
            "protocol": self.protocol.settings(),
            "network": self.network,
            "seed": self.seed,
            **({"measures": [measure.settings() for measure in self.measures]} if self.measures else {}),
            **({"weights_sha256": self.weights.sha256} if self.weights else {}),
        }
