"""Train: one network on one configuration by one strategy, measured on clean test images after each epoch."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.augment import CropAndFlip
from cifar10_s.benchmark.protocols import Protocol
from cifar10_s.benchmark.strategies import Adversary, Strategy
from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.nets import make
from cifar10_s.seeds import generator
from cifar10_s.training import Trainer, batches

# The attack on test images by which robust accuracy is measured.
TEST_ATTACK = Adversary(epsilon=8.0, step=2.0, steps=20)


@dataclass(frozen=True, eq=False)
class Run:
    """What one training run is made of.

    Attributes
    ----------
    train, test
        Images of a configuration, and clean ones.
    protocol, strategy
        How to train.
    network
        A name of `nets.NETWORKS`.
    seed
        For first weights, order, augmentation.
    clean
        The clean training images in the same order, where the strategy needs them.
    evaluations
        Gives other images, by name, on which the network is measured at the end.
    """

    train: LabeledImages
    test: LabeledImages
    protocol: Protocol
    strategy: Strategy
    network: str
    seed: int
    clean: LabeledImages | None = None
    evaluations: Callable[[], Mapping[str, LabeledImages]] = dict

    def random(self, *names: str) -> np.random.Generator:
        """Give the generator of these names."""
        return generator(self.seed, "benchmark", *names)


class DivergedError(ArithmeticError):
    """A loss that is no number: the run has failed, and the grid goes on."""


def train(run: Run, engine: Engine) -> Iterator[dict[str, Any]]:
    """Train a network; give after each epoch what was measured.

    Yields
    ------
    ``test_accuracy`` and ``train_accuracy`` in percent (the latter on the batches as the network saw them), and
    ``parameter_distance``, the Euclidean distance of the weights from the first ones (paper, Figure 4). After the last
    epoch also ``robust_accuracy`` under PGD-20, if the strategy has an adversary, and ``evaluations``, if any.

    Raises
    ------
    DivergedError
        Where a loss is no number.
    UsageError
        Where the strategy cannot be done to such images.
    """
    images = run.strategy.prepared(run.train, run.clean, run.random("prepare"))
    pixels, labels = _on_device(images, engine)
    test_set = _on_device(run.test, engine)
    trainer, protocol = _trainer(run, engine), run.protocol
    start = _weights(trainer)
    order = batches(len(labels), protocol.batch, 0, seed=run.seed, name="benchmark")
    for epoch in range(protocol.epochs):
        with _seeded(run, engine, f"epoch {epoch}"):
            on_train = _train_epoch(run, engine, trainer, pixels, labels, order, epoch)
        weights = _weights(trainer)
        if not bool(weights.isfinite().all()):
            raise DivergedError(f"the weights are no numbers after epoch {epoch + 1}")
        yield {
            "train_accuracy": on_train,
            "test_accuracy": accuracy(engine, trainer.frozen(), *test_set),
            "parameter_distance": float((weights - start).norm()),
            **(_at_the_end(run, engine, trainer, test_set) if epoch + 1 == protocol.epochs else {}),
        }


def _weights(trainer: Trainer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.net.parameters()])


@contextmanager
def _seeded(run: Run, engine: Engine, name: str) -> Iterator[None]:
    """Draw what layers draw (first weights, dropout) by name, and leave the caller's chance as it was."""
    with torch.random.fork_rng(devices=[engine.device] if engine.device.type == "cuda" else []):
        torch.manual_seed(int(run.random(name).integers(2**63)))
        yield


def _train_epoch(
    run: Run, engine: Engine, trainer: Trainer, pixels: Tensor, labels: Tensor, order: Iterator[Tensor], epoch: int
) -> float:
    """Train for an epoch; gives the accuracy on its batches in percent."""
    size = min(run.protocol.batch, len(labels))
    steps = len(labels) // size
    right = torch.zeros((), device=engine.device)
    for number, index in enumerate(islice(order, steps), epoch * steps):
        part = index.to(engine.device)
        levels, targets = _batch(run, engine, trainer, pixels[part], labels[part], number)
        rate = run.protocol.learning_rate_at(number / (run.protocol.epochs * steps))
        right += (trainer.step(levels, targets, rate).argmax(1) == labels[part]).sum()
    return 100 * float(right) / (steps * size)


def _at_the_end(run: Run, engine: Engine, trainer: Trainer, test_set: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Measure what is measured once."""
    net, results = trainer.frozen(), dict[str, Any]()
    if run.strategy.adversary is not None:
        results["robust_accuracy"] = accuracy(engine, net, *test_set, TEST_ATTACK)
    evaluations = run.evaluations()
    if evaluations:
        results["evaluations"] = {
            name: accuracy(engine, net, *_on_device(images, engine)) for name, images in evaluations.items()
        }
    return results


def _on_device(images: LabeledImages, engine: Engine) -> tuple[Tensor, Tensor]:
    pixels = torch.from_numpy(np.ascontiguousarray(images.pixels)).to(engine.device)
    return pixels, torch.from_numpy(images.labels).to(engine.device)


def _trainer(run: Run, engine: Engine) -> Trainer:
    """Make network and optimiser, the first weights drawn by the seed."""
    _, height, width, channels = run.train.pixels.shape
    with _seeded(run, engine, "network"):
        net = make(run.network, channels=channels, size=(height, width), classes=len(run.train.class_names))
    protocol = run.protocol
    return Trainer(
        engine, net, optimizer=protocol.optimizer, momentum=protocol.momentum, weight_decay=protocol.weight_decay
    )


def _batch(
    run: Run, engine: Engine, trainer: Trainer, pixels: Tensor, labels: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Give a batch as the network is to see it: cropped and flipped, augmented, attacked; and its targets."""
    random = run.random("batch", str(number))
    levels = CropAndFlip.draw(random, pixels)(pixels).float()
    targets = nn.functional.one_hot(labels, len(run.train.class_names)).float()
    levels, targets = _augment(run.strategy, engine, trainer, levels, targets, random)
    if number == 0:  # of each batch, it would have the CPU wait for the device
        run.strategy.check_targets(targets)
    adversary = run.strategy.adversary
    if adversary is not None:
        start = adversary.random_start(levels, random)
        levels = adversary.attack(engine, trainer.frozen(), levels, targets, start)
    return levels, targets


def _augment(
    strategy: Strategy, engine: Engine, trainer: Trainer, levels: Tensor, targets: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Augment a batch; of several draws each image keeps the one that the network finds hardest."""
    draws = [strategy.augmented(levels, targets, random) for _ in range(strategy.draws)]
    if len(draws) == 1:
        return draws[0]
    with torch.inference_mode():
        losses = [
            nn.functional.cross_entropy(engine.logits(trainer.frozen(), seen), wanted, reduction="none")
            for seen, wanted in draws
        ]
    hardest, each = torch.stack(losses).argmax(0), torch.arange(len(levels), device=levels.device)
    seen, wanted = (torch.stack(parts)[hardest, each] for parts in zip(*draws, strict=True))
    return seen, wanted


def accuracy(
    engine: Engine, net: nn.Module, pixels: Tensor, labels: Tensor, adversary: Adversary | None = None
) -> float:
    """Give the accuracy in percent on (N, H, W, C) uint8 images, attacked if there is an adversary."""
    right = torch.zeros((), device=engine.device)
    size = engine.chunk(pixels)
    for part, of_part in zip(torch.split(pixels, size), torch.split(labels, size), strict=True):
        levels = part.float()
        if adversary is not None:
            levels = adversary.attack(engine, net, levels, of_part, torch.zeros_like(levels))
        with torch.inference_mode():
            right += (engine.logits(net, levels).argmax(1) == of_part).sum()
    return 100 * float(right) / len(labels)
