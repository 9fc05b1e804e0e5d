"""What a measure of a trained network is."""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.common.rng import generator
from cifar10_s.errors import UsageError
from cifar10_s.nn.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Measure(ABC):
    """An accuracy of the network after the last epoch, on test images.

    Attributes
    ----------
    name
        The name in records and tables, which tells apart what may not be compared.
    summary
        What it is, in one line.
    images
        How many test images it takes, the same ones for every run; None for all.
    """

    name: str
    summary: str
    images: int | None = None

    def limited(self, images: int | None) -> Self:
        """Return the measure on so many test images, under a name that says it; itself if None.

        Raises
        ------
        UsageError
            If it is less than 1.
        """
        if images is None:
            return self
        if images < 1:
            raise UsageError(f"measure {self.name!r}: expected 1 or more images, got {images}")
        name = self.name.removesuffix(f"-on-{self.images}")
        return replace(self, name=f"{name}-on-{images}", images=images)

    def settings(self) -> dict[str, Any]:
        """Return the name and all numbers, for the record."""
        settings = asdict(self)
        del settings["summary"]
        return {"is": type(self).__name__, **settings}

    def check(self, classes: int, size: tuple[int, int]) -> None:  # noqa: B027 (most measures need nothing)
        """Check, before hours of training, that a network of K classes of (H, W) images can be measured here.

        Raises
        ------
        UsageError
            If it cannot, or a library is missing.
        """

    def __call__(self, runtime: Runtime, net: nn.Module, pixels: Tensor, labels: Tensor) -> float:
        """Return the accuracy in percent.

        Parameters
        ----------
        runtime
            Runs the network.
        net
            The network, in evaluation mode.
        pixels, labels
            (N, H, W, C) uint8 and (N,) int64 test images on the device.
        """
        if self.images is not None and self.images < len(labels):
            random = generator(0, "benchmark", "measured images")
            chosen = np.sort(random.choice(len(labels), self.images, replace=False))
            index = torch.from_numpy(chosen).to(labels.device)
            pixels, labels = pixels[index], labels[index]
        return self.measure(runtime, net, pixels, labels)

    @abstractmethod
    def measure(self, runtime: Runtime, net: nn.Module, pixels: Tensor, labels: Tensor) -> float:
        """Return the accuracy on all these images, in percent; see `__call__`."""
