"""Train the last layer of a network anew: deep feature reweighting."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.benchmark.weights import last_linear
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.nn.runtime import Runtime

# The iterations of L-BFGS per step: PyTorch's default.
ITERATIONS = 20


@dataclass(frozen=True, kw_only=True)
class LastLayer:
    """Trains the last layer anew on some clean images; all other weights stay (Kirichenko et al., ICLR 2023).

    As Sandoval-Segura et al. (NeurIPS 2023) do with unlearnable data: L-BFGS goes on from the layer's weights, on
    batches that are cropped and flipped. The network is in training mode, so that the statistics of batch normalisation
    become those of clean images. Two things differ from their code. The features of a batch are computed once, not in
    each iteration of L-BFGS, which gives the same gradients; the statistics move as far as in 20 iterations. And steps
    are searched along a line, since steps of a fixed length can diverge.

    Attributes
    ----------
    count
        The number of clean images, or all if there are fewer.
    epochs, batch
        Passes over them, and images per step.
    learning_rate
        The length of the first step of L-BFGS that is tried.
    """

    count: int = 5000
    epochs: int = 15
    batch: int = 1024
    learning_rate: float = 0.5

    def __call__(self, runtime: Runtime, net: nn.Module, clean: LabeledImages, random: np.random.Generator) -> None:
        """Change the last layer of a network, and its statistics.

        Parameters
        ----------
        runtime
            Runs the network.
        net
            A network whose last layer is linear.
        clean
            The clean training images.
        random
            Chooses the images, their order, crops and flips.

        Raises
        ------
        UsageError
            If that has not one output for each class.
        SourceError
            If the network has no linear layer.
        """
        layer = _last_layer(net, len(clean.class_names))
        chosen = random.choice(len(clean), min(self.count, len(clean)), replace=False)
        pixels, labels = runtime.put(clean.pixels[chosen], clean.labels[chosen])
        optimizer = torch.optim.LBFGS(
            layer.parameters(), lr=self.learning_rate, max_iter=ITERATIONS, line_search_fn="strong_wolfe"
        )
        net.train().requires_grad_(False)
        layer.requires_grad_(True)
        with _fast_statistics(net):
            for _ in range(self.epochs):
                for part in torch.split(torch.from_numpy(random.permutation(len(labels))), self.batch):
                    batch = part.to(runtime.device)
                    seen = CropAndFlip.draw(random, pixels[batch])(pixels[batch])
                    _step(layer, optimizer, _features(runtime, net, layer, seen), labels[batch])
        net.eval().requires_grad_(False)


def _last_layer(net: nn.Module, classes: int) -> nn.Linear:
    layer = net.get_submodule(last_linear(net))
    if not isinstance(layer, nn.Linear) or layer.out_features != classes:
        raise UsageError(
            f"deep feature reweighting: expected a network whose last layer is linear, with an output for each of "
            f"{classes} classes, got {type(net).__name__}: take another network"
        )
    return layer


@contextmanager
def _fast_statistics(net: nn.Module) -> Iterator[None]:
    """Let one batch move the statistics of batch normalisation as far as `ITERATIONS` passes of it would."""
    modules = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d) and module.momentum is not None]
    before = [module.momentum for module in modules]
    try:
        for module in modules:
            module.momentum = 1 - (1 - (module.momentum or 0)) ** ITERATIONS
        yield
    finally:
        for module, momentum in zip(modules, before, strict=True):
            module.momentum = momentum


def _features(runtime: Runtime, net: nn.Module, layer: nn.Linear, pixels: Tensor) -> Tensor:
    """Return what the last layer is given for (B, H, W, C) pixels, (B, D) float32."""
    inputs: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    try:
        with torch.no_grad():
            runtime.logits(net, pixels)
    finally:
        hook.remove()
    return inputs[0].float()


def _step(layer: nn.Linear, optimizer: torch.optim.LBFGS, features: Tensor, labels: Tensor) -> None:
    """Take a step of L-BFGS, which evaluates the loss up to 25 times, on the features of a batch."""

    def loss() -> Tensor:
        optimizer.zero_grad()
        error = nn.functional.cross_entropy(layer(features), labels)
        error.backward()  # type: ignore[no-untyped-call]
        return error

    optimizer.step(loss)  # type: ignore[no-untyped-call]
