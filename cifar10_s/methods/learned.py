"""What the methods that train a network share: parameters, rounds and checkpoints."""

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10_s.common.options import Options
from cifar10_s.common.own import module_sha256
from cifar10_s.common.progress import progress_bar
from cifar10_s.common.rng import generator
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import Images, LabeledImages
from cifar10_s.errors import BuildError, UsageError
from cifar10_s.methods.base import Bound, Method, add_noise
from cifar10_s.methods.checkpoint import Checkpoint
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.networks.registry import make_network, network_for
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import Trainer, batches


@dataclass(frozen=True)
class RoundSize:
    """How much work a round is: a killed process repeats at most one round.

    Attributes
    ----------
    images
        Images per round, for methods that perturb every image once.
    steps
        Training steps per round, for methods that train without epochs.
    """

    images: int = 1000
    steps: int = 50


ROUND_SIZE = RoundSize()


class Stateful(Protocol):
    """An object that a checkpoint can hold: a network or a trainer."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that later steps depend on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Restore a state that `state_dict` returned."""


Kept = TypeVar("Kept", bound=Stateful)


class Work:
    """The data and state of a running computation; everything that later rounds depend on is in its `state_dict`.

    Attributes
    ----------
    runtime
        Device and precision.
    round_size
        How much work a round is.
    pixels : (N, H, W, C) uint8 tensor on the device
    labels : (N,) int64 tensor on the device
    noise : (N, H, W, C) float16 tensor on the device, or (K, H, W, C) for class-wise methods
        In levels. Half precision resolves 1/128 of a level at 8 levels, and takes half the memory of float32.
    done
        Number of finished rounds.
    """

    def __init__(
        self,
        method: "Learned",
        images: LabeledImages,
        runtime: Runtime,
        seed: int,
        round_size: RoundSize = ROUND_SIZE,
        *,
        is_probe: bool = False,
    ) -> None:
        self.method, self.images, self.runtime, self.seed = method, images, runtime, seed
        self.round_size = round_size
        self.pixels, self.labels = runtime.put(images.pixels, images.labels)
        rows = len(images.class_names) if method.classwise else len(images)
        self.noise = torch.zeros((rows, *images.pixels.shape[1:]), dtype=torch.float16, device=runtime.device)
        self.done = self.passed = 0
        self.bar = progress_bar(method.name, method.passes(len(images)), hidden=is_probe)
        self._kept: dict[str, Stateful] = {}
        self._saved: dict[str, Any] = {}

    def random(self, *names: str) -> np.random.Generator:
        """Return the random generator of these names (see `rng.generator`)."""
        return generator(self.seed, self.method.name, *names)

    def device_random(self, *names: str) -> torch.Generator:
        """Return a generator on the device, for large draws, seeded by the generator of these names."""
        return torch.Generator(self.runtime.device).manual_seed(int(self.random(*names).integers(2**63)))

    def keep(self, name: str, thing: Kept) -> Kept:
        """Register an object with the checkpoint, and restore its saved state, if any."""
        self._kept[name] = thing
        if name in self._saved:
            thing.load_state_dict(self._saved.pop(name))
        return thing

    def kept(self, name: str) -> Any:
        """Return an object that was registered by `keep`."""
        return self._kept[name]

    def network(self, name: str) -> nn.Module:
        """Return the method's network on the device, its weights initialised by the generator of ``name``.

        Raises
        ------
        UsageError
            As of `make_network`.
        """
        _, height, width, channels = self.images.pixels.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.random(name).integers(2**63)))
            net = make_network(
                self.method.network, channels=channels, size=(height, width), classes=len(self.images.class_names)
            )
        return self.runtime.place(net)

    def trainer(self) -> Trainer:
        """Return the trainer of the method's network, as it was saved or new."""
        method = self.method
        return self.keep(
            "trainer",
            Trainer(
                self.runtime, self.network("network"),
                momentum=method.momentum, weight_decay=method.weight_decay, clip=method.clip,
            ),
        )  # fmt: skip

    def batches(self, first: int) -> Iterator[Tensor]:
        """Yield the indices of training batches, from batch number ``first`` on (see `trainer.batches`)."""
        for index in batches(len(self.images), self.method.batch, first, seed=self.seed, name=self.method.name):
            yield index.to(self.runtime.device)

    def train_epoch(self, trainer: Trainer, epoch: int, learning_rate: float, see: Callable[..., Tensor]) -> float:
        """Train for an epoch, and return the training error.

        ``see(index, *names)`` returns what the network sees of the images of a batch, (B,) indices; the names are those
        of the batch, epoch and number.
        """
        size = min(self.method.batch, len(self.labels))
        count = len(self.labels) // size
        wrong = torch.zeros((), device=self.runtime.device)
        for number, index in enumerate(islice(self.batches(epoch * count), count)):
            logits = trainer.step(see(index, str(epoch), str(number)), self.labels[index], learning_rate)
            wrong += (logits.argmax(1) != self.labels[index]).sum()
            self.count(size)
        return float(wrong) / (count * size)

    def crop_and_flip(self, images: Tensor, *names: str) -> Tensor:
        """Crop and flip (B, H, W, C) images at random, with the generator of ``names``."""
        return CropAndFlip.draw(self.random("augment", *names), images)(images)

    def count(self, images: int) -> None:
        """Count images that were passed forward and backward through a network."""
        self.passed += images
        self.bar.update(images)

    def parts(self, start: int = 0, stop: int | None = None) -> list[slice]:
        """Split the images from ``start`` to ``stop`` into parts that fit the device."""
        total = (len(self.images) if stop is None else min(stop, len(self.images))) - start
        return [slice(start + part.start, start + part.stop) for part in chunks(total, self.runtime.chunk(self.pixels))]

    def blocks(self) -> int:
        """Return the number of blocks of ``round_size.images`` images."""
        return math.ceil(len(self.images) / self.round_size.images)

    def block(self, number: int) -> list[slice]:
        """Return the parts of a block."""
        return self.parts(number * self.round_size.images, (number + 1) * self.round_size.images)

    def seconds_per_pass(self) -> float:
        """Return the measured time to pass one image forward and backward through the network."""
        net, part = self.network("network").eval().requires_grad_(False), self.parts()[0]
        for _ in range(2):  # the first call is slower
            start = time.perf_counter()
            # Converting to float waits for the device.
            float(self.runtime.input_gradient(net, self.pixels[part], self.labels[part]).sum())
            seconds = time.perf_counter() - start
        return seconds / len(self.labels[part])

    def levels(self) -> NDArray[np.int8]:
        """Return the noise rounded to the nearest levels."""
        return np.asarray(self.noise.float().round().cpu().numpy(), np.int8)

    def state_dict(self) -> dict[str, Any]:
        """Return the state to save."""
        kept = {name: thing.state_dict() for name, thing in self._kept.items()}
        return {"done": self.done, "passed": self.passed, "noise": self.noise, "kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a saved state; objects are restored when `keep` registers them."""
        self.done, self._saved = state["done"], state["kept"]
        self.noise.copy_(state["noise"])
        self.passed = self.bar.initial = self.bar.n = state["passed"]


@dataclass(frozen=True, kw_only=True)
class Learned(Method):
    """A method that trains a network; its results are reproducible on one kind of device.

    Attributes
    ----------
    budget
        ``full`` for the published recipe; ``small`` for one reduced for a CPU.
    network
        A name of `networks.registry.NETWORKS`.
    epsilon, step, steps
        ℓ∞ bound and step size in levels, and number of steps of the gradient descent that makes the noise.
    batch, learning_rate, momentum, weight_decay, clip
        Of the SGD that trains the network; gradients are clipped to the norm ``clip``, if given.
    made : (N, H, W, C) or (K, H, W, C)
        The noise in levels if it was made before, as a release without images keeps it; not part of the settings.
    """

    repeatable: ClassVar[bool] = False
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
    made: NDArray[Any] | None = field(default=None, repr=False, compare=False)

    def settings(self) -> dict[str, Any]:
        """See `Method.settings`."""
        return {name: value for name, value in super().settings().items() if name != "made"}

    @abstractmethod
    def rounds(self, work: Work) -> Iterator[str]:
        """Run the rounds from ``work.done`` on; yield a line of progress after each but the last."""

    @abstractmethod
    def passes(self, count: int) -> int:
        """Return the maximum number of forward and backward passes of an image, in total for ``count`` images."""

    def usual_passes(self, count: int) -> int:
        """Return the number of passes after which it usually ends; by default all of `passes`."""
        return self.passes(count)

    @abstractmethod
    def small(self) -> Self:
        """Return the recipe reduced for a CPU."""

    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return an ℓ∞ bound of ε levels."""
        return Bound(linf=math.floor(self.epsilon))

    def check(self, images: Images) -> None:
        """See `Method.check`: expected are two images and classes, and a size that the network takes."""
        _, height, width, _ = images.shape
        classes = int(np.count_nonzero(np.bincount(images.labels, minlength=1)))
        if min(len(images), classes) < 2:
            raise UsageError(
                f"{self.name}: expected images of two or more classes, got {len(images)} of {classes}: a network has "
                "nothing to learn from them"
            )
        try:
            network_for(self.network, (height, width))
        except UsageError as error:
            hint = "; try its reduced recipe (--budget small)" if self.budget == "full" else ""
            raise UsageError(f"{self.name}: {error}{hint}") from None

    def noise_levels(self, images: Images, options: Options) -> NDArray[Any]:
        """See `Method.noise_levels`; errors as for `noise`."""
        return self.noise(images.load(), options) if self.made is None else self.made

    def with_noise_levels(self, levels: NDArray[Any]) -> Self:
        """See `Method.with_noise_levels`."""
        return replace(self, made=levels)

    def perturb(self, images: LabeledImages, options: Options) -> NDArray[np.uint8]:
        """See `Method.perturb`; an interrupted computation is resumed, a finished one is read from the cache."""
        noise = self.noise_levels(images, options)
        index = images.labels if self.classwise else np.arange(len(images))
        return add_noise(images, lambda part: noise[index[part]].astype(np.float32))

    def noise(self, images: LabeledImages, options: Options, *, round_size: RoundSize = ROUND_SIZE) -> NDArray[np.int8]:
        """Return the noise in levels, (N, H, W, C), or (K, H, W, C) if it is class-wise.

        Raises
        ------
        UsageError
            If the images do not fit; see `check`.
        BuildError
            If the cache cannot be written, or another process is computing the same noise.
        """
        self.check(images)
        runtime = Runtime.on(options.device)
        checkpoint = self.checkpoint(images, options.seed, runtime)
        with checkpoint.held():
            made = checkpoint.result()
            # A file of another shape, or beyond the bound, was not written by this method.
            shape = images.pixels.shape[1:]
            rows, linf = len(images.class_names) if self.classwise else len(images), self.bound(shape).linf
            if made is None or made.shape != (rows, *shape) or np.abs(made).max() > linf:
                work = Work(self, images, runtime, options.seed, round_size)
                made = self._make(work, checkpoint)
        return made

    def seconds_left(self, images: LabeledImages, options: Options) -> tuple[float, float]:
        """Estimate how long `noise` usually takes, and at most: the remaining passes times the measured time of one."""
        runtime = Runtime.on(options.device)
        checkpoint = self.checkpoint(images, options.seed, runtime)
        if checkpoint.result() is not None:
            return 0.0, 0.0
        saved = checkpoint.load(torch.device("cpu"))
        passed = 0 if saved is None else int(saved.get("passed", 0))
        few = images.take(slice(runtime.max_chunk))
        with runtime.fixed_threads():
            seconds = Work(self, few, runtime, options.seed, is_probe=True).seconds_per_pass()
        usual, most = self.usual_passes(len(images)), self.passes(len(images))
        return seconds * max(usual - passed, 0), seconds * (most - passed)

    def checkpoint(self, images: LabeledImages, seed: int, runtime: Runtime) -> Checkpoint:
        """Return the checkpoint, named by a hash of everything that the noise depends on.

        That of a user's own method depends on the file that defines it, too.
        """
        kind = f"{runtime.device.type} {'bfloat16' if runtime.bfloat16 else 'float32'}"
        work = {"images": images.digest(), "classes": images.class_names, "seed": seed, "device": kind, "form": 2}
        module = module_sha256(type(self))
        own = {} if module is None else {"module_sha256": module}
        return Checkpoint(self.name, {"method": self.settings(), **work, **own})

    def _make(self, work: Work, checkpoint: Checkpoint) -> NDArray[np.int8]:
        saved = checkpoint.load(work.runtime.device)
        try:
            if saved is not None:
                work.load_state_dict(saved)
        except (LookupError, TypeError, RuntimeError) as error:
            raise BuildError(
                f"{checkpoint.unfinished}: is not a checkpoint of {self.name} ({error}): remove it to start again"
            ) from None
        with work.bar, work.runtime.deterministic(), work.runtime.fixed_threads():
            for reached in self.rounds(work):
                work.done += 1
                work.bar.set_postfix_str(f"round {work.done}, {reached}")
                checkpoint.save(work.state_dict())
        levels = work.levels()
        checkpoint.finish(levels)
        return levels
