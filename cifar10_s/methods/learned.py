"""Learned: what the methods that need a network share: the numbers of their recipes, rounds, checkpoints."""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10_s.checkpoint import Checkpoint
from cifar10_s.device import resolve_device
from cifar10_s.engine import Engine
from cifar10_s.errors import BuildError, UsageError
from cifar10_s.images import LabeledImages
from cifar10_s.methods.method import Bound, Method, add_noise
from cifar10_s.methods.work import Work


@dataclass(frozen=True, kw_only=True)
class Learned(Method):
    """A method that needs a network; reproducible on one kind of device.

    Attributes
    ----------
    budget
        ``full``: the published recipe; ``small``: one reduced for a CPU.
    network
        A name of `nets.NETWORKS`.
    epsilon, step, steps
        ℓ∞ bound and step in levels, and the number of steps of the perturbation's descent.
    batch, learning_rate, momentum, weight_decay, clip
        Of the network's training by SGD; gradients are clipped to the norm ``clip``, if any.
    """

    classwise: ClassVar[bool] = False
    budget: str = "full"
    network: str = "resnet-18"
    epsilon: float = 8.0
    step: float = 0.8
    steps: int = 20
    batch: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip: float | None = None

    @abstractmethod
    def rounds(self, work: Work) -> Iterator[str]:
        """Do the work from round ``work.done`` on; give after each what it has reached, but not after the last."""

    @abstractmethod
    def passes(self, count: int) -> int:
        """Give how often an image of ``count`` goes through a network and back, at most, in all."""

    @abstractmethod
    def small(self) -> Self:
        """Give the recipe reduced for a CPU."""

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """ℓ∞ of ε levels."""
        return Bound(linf=math.floor(self.epsilon))

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """See `Method.perturb`; what was interrupted goes on, what was done before is read from the cache."""
        noise = self.noise(images, seed=seed, device=device)
        index = images.labels if self.classwise else np.arange(len(images))
        return add_noise(images, lambda part: noise[index[part]].astype(np.float32))

    def noise(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.int8]:
        """Make the noise in levels, (N, H, W, C), or (K, H, W, C) where it is class-wise.

        Raises
        ------
        UsageError
            Where there is but one image or one class: a network has nothing to learn from these.
        BuildError
            Where the cache cannot be written, or another process is at this work.
        """
        if min(len(images), len(np.unique(images.labels))) < 2:
            raise UsageError(
                f"{self.name}: expected images of two or more classes, got {len(images)} of "
                f"{len(np.unique(images.labels))}: a network has nothing to learn from them"
            )
        engine = Engine.on(resolve_device(device))
        checkpoint = self.checkpoint(images, seed, engine)
        with checkpoint.held():
            made = checkpoint.result()
            # A file of another form, or beyond the bound, was not made here.
            rows = len(images.class_names) if self.classwise else len(images)
            if made is None or made.shape != (rows, *images.pixels.shape[1:]) or np.abs(made).max() > self.epsilon:
                made = self._make(images, seed, engine, checkpoint)
        return made

    def seconds_left(self, images: LabeledImages, *, seed: int, device: str) -> float:
        """Estimate how long `noise` would take at most: passes that are left, at the measured speed of one."""
        engine = Engine.on(resolve_device(device))
        checkpoint = self.checkpoint(images, seed, engine)
        if checkpoint.result() is not None:
            return 0.0
        saved = checkpoint.load(torch.device("cpu"))
        passes = self.passes(len(images)) - (0 if saved is None else int(saved.get("passed", 0)))
        with engine.same_threads():
            return passes * Work(self, images, engine, seed).seconds_a_pass()

    def checkpoint(self, images: LabeledImages, seed: int, engine: Engine) -> Checkpoint:
        """Give where the work is kept: named by all that decides its bits."""
        kind = f"{engine.device.type} {'bfloat16' if engine.bfloat16 else 'float32'}"
        work = {"images": images.digest(), "classes": images.class_names, "seed": seed, "device": kind, "form": 1}
        return Checkpoint(self.name, {"method": self.settings(), **work})

    def _make(self, images: LabeledImages, seed: int, engine: Engine, checkpoint: Checkpoint) -> NDArray[np.int8]:
        work = Work(self, images, engine, seed)
        saved = checkpoint.load(engine.device)
        try:
            if saved is not None:
                work.load_state_dict(saved)
        except (LookupError, TypeError, RuntimeError) as error:
            raise BuildError(
                f"{checkpoint.unfinished}: is of another form ({error}): remove it to start again"
            ) from None
        with work.bar, engine.deterministic(), engine.same_threads():
            for reached in self.rounds(work):
                work.done += 1
                work.bar.set_postfix_str(f"round {work.done}, {reached}")
                checkpoint.save(work.state_dict())
        levels = work.levels()
        checkpoint.finish(levels)
        return levels
