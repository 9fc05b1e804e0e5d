"""What networks cost: the inner step of the methods, training, attacks, and reading what they train on."""

import os
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import limits
import torch
from plain import plain_pgd, plain_training
from timing import least, median, once, row
from torch import nn

from cifar10_s.benchmark import PROTOCOLS, STRATEGIES, Released
from cifar10_s.benchmark.train import Run, train
from cifar10_s.device import resolve_device
from cifar10_s.engine import Engine
from cifar10_s.images import LabeledImages
from cifar10_s.methods.em import ErrorMinimizing
from cifar10_s.methods.work import Work
from cifar10_s.nets import make
from cifar10_s.pgd import pgd

# Images on which they are timed, and steps of noise.
STEP_IMAGES, TRAIN_IMAGES, STEPS = 4_000, 6_400, 4


def network(engine: Engine) -> str:
    """Give the network that is timed on a device."""
    return "resnet-18" if engine.device.type == "cuda" else "small"


def measure_step(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare the methods' inner step, a signed step of noise down a network's loss, with a plain PyTorch loop."""
    engine = Engine.on(resolve_device("auto"))
    name = network(engine)
    work = Work(ErrorMinimizing(network=name), images, engine, seed=0)
    net = work.network("network").eval().requires_grad_(False)

    def ours() -> None:
        for part in work.parts(0, STEP_IMAGES):
            gradient = partial(engine.input_gradient, net, labels=work.labels[part])
            noise = pgd(work.pixels[part].float(), work.noise[part].float(), gradient, epsilon=8, step=0.8, steps=STEPS)
            work.noise[part] = noise.half()
        float(work.noise.flatten()[0])  # waits for the device

    pixels, labels = images.pixels[:STEP_IMAGES], images.labels[:STEP_IMAGES]
    plain_net = deepcopy(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    plain = median(lambda: plain_pgd(plain_net, pixels, labels, STEPS), repeats=3)
    passes = STEPS * len(labels)
    seconds, limit = median(ours, repeats=3), limits.arithmetic(ours, engine)
    return [
        row(f"inner step of EM, {name}, {engine.device.type}", passes / seconds, "images/s", limit=passes / limit),
        row("the same as a plain PyTorch loop", passes / plain, "images/s"),
        row("inner step: times as fast as the plain loop", plain / seconds, "x", "4 or more on a GPU"),
    ]


def measure_training(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare training with the way of a first script, and adversarial training with training."""
    engine = Engine.on(resolve_device("auto"))
    few, test = first(images, TRAIN_IMAGES), first(images, 1)
    protocol = replace(PROTOCOLS["cpu-v1"], epochs=1)

    def ours(strategy: str, on: LabeledImages) -> tuple[float, float]:
        run = Run(on, test, protocol, STRATEGIES[strategy], network(engine), 0)

        def whole() -> None:
            list(train(run, engine))

        return median(whole, repeats=3) / len(on), limits.arithmetic(whole, engine) / len(on)

    def plain() -> None:
        plain_training(plain_net(images, engine), few.pixels, few.labels)

    (standard, least), (attacked, at_least) = ours("standard", few), ours("at", first(images, 640))
    script = once(plain) / len(few)
    must = "8 or more" if engine.device.type == "cuda" else "1.3 or more"
    return [
        row(f"training, {network(engine)}, {engine.device.type}", 1 / standard, "images/s", limit=1 / least),
        row("the same with a DataLoader over PIL images", 1 / script, "images/s"),
        row("training: times as fast as that", script / standard, "x", must),
        row("adversarial training (PGD-10)", 1 / attacked, "images/s", limit=1 / at_least),
        row("adversarial training (PGD-10): time of so many standard steps", attacked / standard, "x", "11.5 or less"),
    ]


def measure_compiled(images: LabeledImages) -> list[dict[str, Any]]:
    """Compare a network's passes with the same compiled: it is left out of training where it does not pay."""
    engine = Engine.on(resolve_device("auto"))
    some = first(images, PROTOCOLS["cpu-v1"].batch)
    levels, labels = [torch.from_numpy(array).to(engine.device) for array in (some.pixels, some.labels)]
    net = engine.place(plain_net(images, engine))

    def passes(network: Any) -> None:
        loss = nn.functional.cross_entropy(engine.logits(network, levels), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        float(loss.detach())  # waits for the device

    plain, compiled = least([partial(passes, net), partial(passes, torch.compile(net))], repeats=15)
    what = f"{network(engine)}, {engine.device.type}, forward and backward by torch.compile: times as fast as without"
    return [row(what, plain / compiled, "x")]


def plain_net(images: LabeledImages, engine: Engine) -> nn.Module:
    """Make the network in PyTorch's own order of channels."""
    _, height, width, channels = images.pixels.shape
    net = make(network(engine), channels=channels, size=(height, width), classes=len(images.class_names))
    return net.to(engine.device)


def first(images: LabeledImages, count: int) -> LabeledImages:
    """Take the first images."""
    return replace(images, pixels=images.pixels[:count], labels=images.labels[:count])


def measure_released(folder: Path, cache: Path, codec: float) -> list[dict[str, Any]]:
    """Time how a released configuration becomes an array, decoded (at best in ``codec`` seconds) and from the cache."""
    with patch.dict(os.environ, {"CIFAR10_S_CACHE": str(cache)}):
        released = Released(folder)
        cold = once(lambda: released.train("ops"))
        warm = median(lambda: released.train("ops"), repeats=3)
        copied = limits.copying(released.train("ops").pixels)
    scale = 50_000 / released.configurations["ops"]["rows"]
    return [
        row("read 50,000 released images: decoded", scale * cold, "s", "3 or less", scale * codec),
        row("read 50,000 released images: from the cache", scale * warm, "s", "0.3 or less", scale * copied),
    ]
