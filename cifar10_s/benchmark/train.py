"""Train a network on one configuration with one strategy, and evaluate it after each epoch."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.benchmark.measures.base import Measure
from cifar10_s.benchmark.protocols import Protocol
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.last_layer import LastLayer
from cifar10_s.benchmark.weights import Weights, last_linear
from cifar10_s.common.rng import generator
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.networks.registry import make_network
from cifar10_s.nn.pgd import Adversary
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import DivergedError, Trainer, batches

# The attack under which robust accuracy is measured.
TEST_ATTACK = Adversary(epsilon=8.0, step=2.0, steps=20)


@dataclass(frozen=True, eq=False)
class Run:
    """The inputs of one training run.

    Attributes
    ----------
    train, test
        The training images of a configuration, and clean test images.
    protocol, strategy
        How to train.
    network
        A name of `NETWORKS`.
    seed
        Decides initial weights, order and augmentation.
    clean
        The clean training images in the same order, if the strategy needs them.
    evaluations
        Returns further images, by name, on which the network is evaluated at the end.
    measures
        What else is measured of the network at the end.
    weights
        What training starts from, but for the classifier; None for random weights.
    """

    train: LabeledImages
    test: LabeledImages
    protocol: Protocol
    strategy: Strategy
    network: str
    seed: int
    clean: LabeledImages | None = None
    evaluations: Callable[[], Mapping[str, LabeledImages]] = dict
    measures: tuple[Measure, ...] = ()
    weights: Weights | None = None

    def random(self, *names: str) -> np.random.Generator:
        """Return the run's random generator of names; see `rng.generator`."""
        return generator(self.seed, "benchmark", *names)


def train(run: Run, runtime: Runtime) -> Iterator[dict[str, Any]]:
    """Train a network, and yield the measurements of each epoch.

    Yields
    ------
    ``test_accuracy`` and ``train_accuracy`` in percent (the latter on the batches as the network saw them), and
    ``parameter_distance``, the Euclidean distance of the weights from the initial ones (paper, Figure 4). After the
    last epoch also ``robust_accuracy`` under PGD-20, if the strategy has an adversary, and ``evaluations`` and
    ``measures``, if any.
    If the strategy refits the last layer, the test accuracy after the last epoch is that of the network with it.

    Raises
    ------
    DivergedError
        If the weights are not finite after an epoch or, of a network that purifies images, after its training.
    UsageError
        If the strategy does not apply to such images.
    """
    images = _training_images(run, runtime)
    run = replace(run, strategy=run.strategy.fitted(images, run.random("fit")))
    pixels, labels = runtime.put(images.pixels, images.labels)
    test_set = runtime.put(run.test.pixels, run.test.labels)
    trainer, protocol = _trainer(run, runtime), run.protocol
    if run.strategy.pretrain is not None:
        with _seeded(run, runtime, "pretrain"):
            run.strategy.pretrain(runtime, trainer.net, pixels, run.random("pretrain"))
    start = _weights(trainer)
    order = batches(len(labels), protocol.batch, 0, seed=run.seed, name="benchmark")
    for epoch in range(protocol.epochs):
        with _seeded(run, runtime, f"epoch {epoch}"):
            train_accuracy = _train_epoch(run, runtime, trainer, pixels, labels, order, epoch)
        if run.strategy.refit is not None and epoch + 1 == protocol.epochs:
            _refit(run, runtime, trainer, run.strategy.refit)
        # Weights that are finite may be too far away to be measured.
        distance = float((_weights(trainer) - start).norm())
        if not math.isfinite(distance):
            raise DivergedError(f"the weights are not finite after epoch {epoch + 1}")
        yield {
            "train_accuracy": train_accuracy,
            "test_accuracy": accuracy(runtime, trainer.frozen(), *test_set),
            "parameter_distance": distance,
            **(_final_results(run, runtime, trainer, test_set) if epoch + 1 == protocol.epochs else {}),
        }


def _training_images(run: Run, runtime: Runtime) -> LabeledImages:
    images = run.strategy.prepared(run.train, run.clean, run.random("prepare"))
    if run.strategy.purify is None:
        return images
    with _seeded(run, runtime, "purify"):
        return run.strategy.purify(runtime, images, run.random("purify"))


def _weights(trainer: Trainer) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.net.parameters()])


@contextmanager
def _seeded(run: Run, runtime: Runtime, name: str) -> Iterator[None]:
    """Seed PyTorch by a name within the context (initial weights, dropout); restore the caller's random state after."""
    with torch.random.fork_rng(devices=[runtime.device] if runtime.device.type == "cuda" else []):
        torch.manual_seed(int(run.random(name).integers(2**63)))
        yield


def _train_epoch(
    run: Run, runtime: Runtime, trainer: Trainer, pixels: Tensor, labels: Tensor, order: Iterator[Tensor], epoch: int
) -> float:
    """Train for an epoch, and return the accuracy on its batches in percent."""
    size = min(run.protocol.batch, len(labels))
    steps = len(labels) // size
    correct = torch.zeros((), device=runtime.device)
    for number, index in enumerate(islice(order, steps), epoch * steps):
        part = index.to(runtime.device)
        levels, targets = _batch(run, runtime, trainer, pixels[part], labels[part], number)
        rate = run.protocol.learning_rate_at(number / (run.protocol.epochs * steps))
        correct += (trainer.step(levels, targets, rate).argmax(1) == labels[part]).sum()
    return 100 * float(correct) / (steps * size)


def _refit(run: Run, runtime: Runtime, trainer: Trainer, refit: LastLayer) -> None:
    """Train the last layer anew on clean images."""
    if run.clean is None:
        raise UsageError(f"strategy {run.strategy.name!r}: needs the clean images, got none")
    with _seeded(run, runtime, "refit"):
        refit(runtime, trainer.net, run.clean, run.random("refit"))


def _final_results(run: Run, runtime: Runtime, trainer: Trainer, test_set: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Return the measurements that are made only after the last epoch."""
    net, results = trainer.frozen(), dict[str, Any]()
    if run.strategy.adversary is not None:
        results["robust_accuracy"] = accuracy(runtime, net, *test_set, TEST_ATTACK)
    evaluations = run.evaluations()
    if evaluations:
        results["evaluations"] = {
            name: accuracy(runtime, net, *runtime.put(images.pixels, images.labels))
            for name, images in evaluations.items()
        }
    if run.measures:
        results["measures"] = {measure.name: measure(runtime, net, *test_set) for measure in run.measures}
    return results


def _trainer(run: Run, runtime: Runtime) -> Trainer:
    """Make the network and its optimiser; the seed decides the initial weights."""
    _, height, width, channels = run.train.pixels.shape
    with _seeded(run, runtime, "network"):
        net = make_network(run.network, channels=channels, size=(height, width), classes=len(run.train.class_names))
    if run.weights is not None:
        run.weights.put_into(net)
    protocol = run.protocol
    return Trainer(
        runtime, net, optimizer=protocol.optimizer, momentum=protocol.momentum, weight_decay=protocol.weight_decay,
        part=net.get_submodule(last_linear(net)) if run.strategy.probe else None,
    )  # fmt: skip


def _batch(
    run: Run, runtime: Runtime, trainer: Trainer, pixels: Tensor, labels: Tensor, number: int
) -> tuple[Tensor, Tensor]:
    """Return a batch as the network sees it (cropped and flipped, augmented and attacked), and its targets."""
    random, strategy = run.random("batch", str(number)), run.strategy
    view = CropAndFlip.draw(random, pixels)
    targets = nn.functional.one_hot(labels, len(run.train.class_names)).float()
    if strategy.before is None:
        levels = view(pixels).float()  # bytes are cropped faster than floats
    else:
        levels, targets = strategy.changed_before(pixels.float(), targets, random)
        levels = view(levels)
    if strategy.attack_first:
        levels = _attacked(run, runtime, trainer, levels, targets, random)
    levels, targets = _augment(strategy, runtime, trainer, levels, targets, random)
    if number == 0:  # checking each batch would make the CPU wait for the device
        strategy.check_targets(targets)
    if not strategy.attack_first:
        levels = _attacked(run, runtime, trainer, levels, targets, random)
    return levels, targets


def _attacked(
    run: Run, runtime: Runtime, trainer: Trainer, levels: Tensor, targets: Tensor, random: np.random.Generator
) -> Tensor:
    """Return a batch after the attack of the strategy's adversary, if it has one."""
    adversary = run.strategy.adversary
    if adversary is None:
        return levels
    start = adversary.random_start(levels, random)
    return adversary.attack(runtime, trainer.frozen(), levels, targets, start)


def _augment(
    strategy: Strategy, runtime: Runtime, trainer: Trainer, levels: Tensor, targets: Tensor, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Augment a batch; of several draws, each image keeps the one with the largest loss."""
    draws = [strategy.augmented(levels, targets, random) for _ in range(strategy.draws)]
    if len(draws) == 1:
        return draws[0]
    with torch.inference_mode():
        losses = [
            nn.functional.cross_entropy(runtime.logits(trainer.frozen(), drawn), drawn_targets, reduction="none")
            for drawn, drawn_targets in draws
        ]
    hardest, rows = torch.stack(losses).argmax(0), torch.arange(len(levels), device=levels.device)
    levels, targets = (torch.stack(parts)[hardest, rows] for parts in zip(*draws, strict=True))
    return levels, targets


def accuracy(
    runtime: Runtime, net: nn.Module, pixels: Tensor, labels: Tensor, adversary: Adversary | None = None
) -> float:
    """Return the accuracy in percent on (N, H, W, C) uint8 images, attacked by the adversary if there is one."""
    correct = torch.zeros((), device=runtime.device)
    size = runtime.chunk(pixels)
    for part, part_labels in zip(torch.split(pixels, size), torch.split(labels, size), strict=True):
        levels = part.float()
        if adversary is not None:
            levels = adversary.attack(runtime, net, levels, part_labels, torch.zeros_like(levels))
        with torch.inference_mode():
            correct += (runtime.logits(net, levels).argmax(1) == part_labels).sum()
    return 100 * float(correct) / len(labels)
