"""Work: what the rounds of a method that needs a network have at hand, and what a checkpoint keeps of it."""

import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifar10_s.augment import CropAndFlip
from cifar10_s.engine import Engine
from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages
from cifar10_s.nets import make
from cifar10_s.parallel import chunks, progress_bar
from cifar10_s.seeds import generator
from cifar10_s.training import Trainer, batches

if TYPE_CHECKING:
    from cifar10_s.methods.learned import Learned

# Images of a round of the methods that perturb every image once: what a killed process does again.
BLOCK = 1000


class Stateful(Protocol):
    """What a checkpoint can keep: networks, trainers."""

    def state_dict(self) -> dict[str, Any]:
        """Give all that later steps depend on."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Go on from what `state_dict` gave."""


Kept = TypeVar("Kept", bound=Stateful)


class Work:
    """What the rounds of a method work on; all that later rounds depend on is in its state.

    Attributes
    ----------
    engine
        Device and precision.
    pixels : (N, H, W, C) uint8 tensor on the device
    labels : (N,) int64 tensor on the device
    noise : (N, H, W, C) float16 tensor on the device, or (K, H, W, C) for class-wise methods
        In levels. Half precision resolves 1/128 of a level at 8 levels, and takes half a float copy of the data.
    done
        Rounds that are done.
    """

    def __init__(self, method: "Learned", images: LabeledImages, engine: Engine, seed: int) -> None:
        self.method, self.images, self.engine, self.seed = method, images, engine, seed
        self.pixels = torch.from_numpy(np.ascontiguousarray(images.pixels)).to(engine.device)
        self.labels = torch.from_numpy(images.labels).to(engine.device)
        rows = len(images.class_names) if method.classwise else len(images)
        self.noise = torch.zeros((rows, *images.pixels.shape[1:]), dtype=torch.float16, device=engine.device)
        self.done = self.passed = 0
        self.bar = progress_bar(method.name, method.passes(len(images)))
        self._kept: dict[str, Stateful] = {}
        self._saved: dict[str, Any] = {}

    def random(self, *names: str) -> np.random.Generator:
        """Give the generator of these names (see `seeds.generator`)."""
        return generator(self.seed, self.method.name, *names)

    def keep(self, name: str, thing: Kept) -> Kept:
        """Make something part of the state, and give it back as it was when the work was interrupted."""
        self._kept[name] = thing
        if name in self._saved:
            thing.load_state_dict(self._saved.pop(name))
        return thing

    def network(self, name: str) -> nn.Module:
        """Make the method's network, on the device, its first weights drawn by name."""
        _, height, width, channels = self.images.pixels.shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self.random(name).integers(2**63)))
            try:
                net = make(
                    self.method.network, channels=channels, size=(height, width), classes=len(self.images.class_names)
                )
            except UsageError as error:
                raise UsageError(f"{self.method.name}: {error}; its reduced recipe (--budget small) may do") from None
        return self.engine.place(net)

    def trainer(self) -> Trainer:
        """Make the network and its optimiser."""
        method = self.method
        return self.keep(
            "trainer",
            Trainer(
                self.engine, self.network("network"),
                momentum=method.momentum, weight_decay=method.weight_decay, clip=method.clip,
            ),
        )  # fmt: skip

    def batches(self, first: int) -> Iterator[Tensor]:
        """Give the indices of training batches, from batch number ``first`` of all (see `training.batches`)."""
        for index in batches(len(self.images), self.method.batch, first, seed=self.seed, name=self.method.name):
            yield index.to(self.engine.device)

    def crop_and_flip(self, images: Tensor, *names: str) -> Tensor:
        """Crop and flip (B, H, W, C) images, drawn by name."""
        return CropAndFlip.draw(self.random("augment", *names), images)(images)

    def count(self, images: int) -> None:
        """Count images that went through a network and back."""
        self.passed += images
        self.bar.update(images)

    def parts(self, start: int = 0, stop: int | None = None) -> list[slice]:
        """Cut the images from ``start`` to ``stop`` into parts that fit the device."""
        total = (len(self.images) if stop is None else min(stop, len(self.images))) - start
        return [slice(start + part.start, start + part.stop) for part in chunks(total, self.engine.chunk(self.pixels))]

    def blocks(self) -> int:
        """Give the number of `BLOCK`s of images."""
        return math.ceil(len(self.images) / BLOCK)

    def block(self, number: int) -> list[slice]:
        """Give the parts of a block."""
        return self.parts(number * BLOCK, (number + 1) * BLOCK)

    def seconds_a_pass(self) -> float:
        """Measure how long one image takes through the network and back."""
        net, part = self.network("network").eval().requires_grad_(False), self.parts()[0]
        for _ in range(2):  # the first time is slower
            start = time.perf_counter()
            # Reading the sum waits for the device.
            float(self.engine.input_gradient(net, self.pixels[part], self.labels[part]).sum())
            seconds = time.perf_counter() - start
        return seconds / len(self.labels[part])

    def levels(self) -> NDArray[np.int8]:
        """Give the noise rounded to whole levels, the nearest."""
        return np.asarray(self.noise.float().round().cpu().numpy(), np.int8)

    def state_dict(self) -> dict[str, Any]:
        """Give the state as a checkpoint has it."""
        kept = {name: thing.state_dict() for name, thing in self._kept.items()}
        return {"done": self.done, "passed": self.passed, "noise": self.noise, "kept": kept}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; what `keep` gets next is set to it."""
        self.done, self._saved = state["done"], state["kept"]
        self.noise.copy_(state["noise"])
        self.passed = self.bar.initial = self.bar.n = state["passed"]
