"""What networks cost: the inner step of the methods, training, attacks, and reading what they train on."""

import os
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from cifar10_s.benchmark.protocols import PROTOCOLS
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run, train
from cifar10_s.data.images import LabeledImages
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.learned import Work
from cifar10_s.nn.networks.registry import make_network
from cifar10_s.nn.pgd import pgd
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import Trainer
from cifar10_s.release.reader import Release
from speed import limits
from speed.plain import decoded_arrays, plain_arrays, plain_pgd, plain_training
from speed.timing import least, median, once, row

# Images on which they are timed, and steps of noise.
STEP_IMAGES, TRAIN_IMAGES, STEPS = 4_000, 6_400, 4
# The most processor time that strategies may take for a batch, in percent of a training step on it.
STEP_SHARES = {"randaugment": 15, "randaugment-ops": 15, "coin": 15, "rsk": 15, "low-pass": 15, "ueraser": 100}


def network(runtime: Runtime) -> str:
    """Return the network that is timed on a device."""
    return "resnet-18" if runtime.device.type == "cuda" else "small"


def measure_step(images: LabeledImages, runtime: Runtime) -> list[dict[str, Any]]:
    """Compare the methods' inner step, a signed step of noise down a network's loss, with a plain PyTorch loop."""
    name = network(runtime)
    work = Work(ErrorMinimizing(network=name), images, runtime, seed=0)
    net = work.network("network").eval().requires_grad_(False)

    def ours() -> None:
        for part in work.parts(0, STEP_IMAGES):
            gradient = partial(runtime.input_gradient, net, labels=work.labels[part])
            noise = pgd(work.pixels[part].float(), work.noise[part].float(), gradient, epsilon=8, step=0.8, steps=STEPS)
            work.noise[part] = noise.half()
        float(work.noise.flatten()[0])  # waits for the device

    pixels, labels = images.pixels[:STEP_IMAGES], images.labels[:STEP_IMAGES]
    plain_net = deepcopy(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    plain = median(lambda: plain_pgd(plain_net, pixels, labels, STEPS), repeats=3)
    passes = STEPS * len(labels)
    seconds, limit = median(ours, repeats=3), limits.arithmetic(ours, runtime)
    return [
        row(f"inner step of EM, {name}, {runtime.device.type}", passes / seconds, "images/s", limit=passes / limit),
        row("the same as a plain PyTorch loop", passes / plain, "images/s"),
        row("inner step: times as fast as the plain loop", plain / seconds, "x", "4 or more on a GPU"),
    ]


def measure_training(images: LabeledImages, runtime: Runtime) -> list[dict[str, Any]]:
    """Compare training with the way of a first script, and adversarial training with training."""
    few, test = first(images, TRAIN_IMAGES), first(images, 1)
    protocol = replace(PROTOCOLS["cpu-v1"], epochs=1)

    def ours(strategy: str, on: LabeledImages) -> tuple[float, float]:
        run = Run(on, test, protocol, STRATEGIES[strategy], network(runtime), 0)

        def whole() -> None:
            list(train(run, runtime))

        return median(whole, repeats=3) / len(on), limits.arithmetic(whole, runtime) / len(on)

    def plain() -> None:
        plain_training(plain_net(images, runtime), few.pixels, few.labels)

    (standard, least), (attacked, at_least) = ours("standard", few), ours("at", first(images, 640))
    script = once(plain) / len(few)
    must = "8 or more" if runtime.device.type == "cuda" else "1.3 or more"
    return [
        row(f"training, {network(runtime)}, {runtime.device.type}", 1 / standard, "images/s", limit=1 / least),
        row("the same with a DataLoader over PIL images", 1 / script, "images/s"),
        row("training: times as fast as that", script / standard, "x", must),
        row("adversarial training (PGD-10)", 1 / attacked, "images/s", limit=1 / at_least),
        row("adversarial training (PGD-10): time, in standard steps", attacked / standard, "x", "11.5 or less"),
    ]


def measure_strategies(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare what strategies do to a batch with a training step on it: the same draws each time, on a CPU."""
    # One thread: two would count the time for which they wait for each other.
    runtime, protocol = replace(Runtime.on("cpu"), threads=1), PROTOCOLS["cpu-v1"]
    few = first(images, protocol.batch)
    levels, labels = torch.from_numpy(few.pixels).float(), torch.from_numpy(few.labels)
    targets = nn.functional.one_hot(labels, len(few.class_names)).float()
    net, decay = plain_net(few, runtime), protocol.weight_decay
    trainer = Trainer(runtime, net, momentum=protocol.momentum, weight_decay=decay)

    def change(strategy: Strategy) -> None:
        random = np.random.default_rng(0)
        strategy.prepared(few, None, random)
        strategy.augmented(*strategy.changed_before(levels, targets, random), random)

    step = partial(trainer.step, levels, targets, protocol.learning_rate)
    changes = [partial(change, STRATEGIES[name]) for name in STEP_SHARES]
    with runtime.fixed_threads():
        whole, *parts = least([step, *changes], repeats=20, clock=process_time)
    return [
        row(f"{name}: share of a training step, small, cpu", 100 * part / whole, "%", f"{most} or less")
        for (name, most), part in zip(STEP_SHARES.items(), parts, strict=True)
    ]


def measure_compiled(images: LabeledImages, runtime: Runtime) -> list[dict[str, Any]]:
    """Compare a network's passes with the same compiled: it is left out of training where it does not pay."""
    some = first(images, PROTOCOLS["cpu-v1"].batch)
    levels, labels = [torch.from_numpy(array).to(runtime.device) for array in (some.pixels, some.labels)]
    net = runtime.place(plain_net(images, runtime))

    def passes(network: Any) -> None:
        loss = nn.functional.cross_entropy(runtime.logits(network, levels), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the device

    plain, compiled = least([partial(passes, net), partial(passes, torch.compile(net))], repeats=15)
    what = f"{network(runtime)}, {runtime.device.type}, forward and backward by torch.compile: times as fast as without"
    return [row(what, plain / compiled, "x")]


def plain_net(images: LabeledImages, runtime: Runtime) -> nn.Module:
    """Make the network in PyTorch's own order of channels."""
    _, height, width, channels = images.pixels.shape
    net = make_network(network(runtime), channels=channels, size=(height, width), classes=len(images.class_names))
    return net.to(runtime.device)


def first(images: LabeledImages, count: int) -> LabeledImages:
    """Take the first images."""
    return replace(images, pixels=images.pixels[:count], labels=images.labels[:count])


def measure_released(folder: Path, cache: Path, codec: float) -> list[dict[str, Any]]:
    """Time how a released configuration becomes an array, decoded (at best in ``codec`` seconds) and from the cache."""
    with patch.dict(os.environ, {"CIFAR10_S_CACHE": str(cache)}):
        released = Release(folder)
        cold = once(lambda: released.train("ops"))
        warm = median(lambda: released.train("ops"), repeats=3)
        copied = limits.copying(released.train("ops").pixels)
        plain_arrays(folder, "ops")
        plain, decoded = (median(partial(read, folder, "ops"), repeats=3) for read in (plain_arrays, decoded_arrays))
    scale = 50_000 / released.configurations["ops"].rows
    return [
        row("read 50,000 released images: decoded", scale * cold, "s", "3 or less", scale * codec),
        row("read 50,000 released images: from the cache", scale * warm, "s", "0.3 or less", scale * copied),
        row("read 50,000 released images: with `datasets` and Pillow alone", scale * plain, "s", "3 or less"),
        row("read 50,000 released images: decoded by `datasets`", scale * decoded, "s"),
    ]
