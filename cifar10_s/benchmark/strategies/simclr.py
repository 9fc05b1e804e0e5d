"""SimCLR: features learned without labels, from two views of each image."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from cifar10_s.benchmark.weights import last_linear
from cifar10_s.nn.contrastive_view import ContrastiveView
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import Trainer, one_cycle


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Return the normalised, temperature-scaled cross-entropy of two views per image (Chen et al., 2020, Eq. 1).

    Parameters
    ----------
    projections : (2B, D)
        First one view of each image, then the other in the same order.
    temperature
        Divides the cosines.

    Examples
    --------
    >>> float(nt_xent(torch.eye(4)[[0, 1, 0, 1]], temperature=1e-3).round())
    0.0
    """
    unit = nn.functional.normalize(projections.float(), dim=1)
    cosines = (unit @ unit.T / temperature).fill_diagonal_(-math.inf)
    count = len(unit) // 2
    other_view = torch.arange(2 * count, device=unit.device).roll(count)
    return nn.functional.cross_entropy(cosines, other_view)


@dataclass(frozen=True, kw_only=True)
class SimClr:
    """Trains all of a network but its classifier to tell images apart (Chen et al., ICML 2020).

    Views, temperature and projection are those of the paper for CIFAR-10 (its appendix B.9), which trains on batches of
    1,024 or so with LARS for up to 1,000 epochs; here SGD does it, on batches that fit one GPU.

    Attributes
    ----------
    epochs, batch
        Passes over the images, and images per step, each in two views.
    learning_rate, warmup
        The learning rate rises for this share of the steps, then falls to 0 along a cosine.
    momentum, weight_decay
        Of SGD.
    temperature
        Divides the cosines of the loss.
    projection
        The outputs of the two layers that stand for the classifier meanwhile.
    strength, least_area
        Of the views; see `ContrastiveView.draw`.
    """

    epochs: int = 500
    batch: int = 512
    learning_rate: float = 0.5
    warmup: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    temperature: float = 0.5
    projection: int = 128
    strength: float = 1.0
    least_area: float = 0.08

    def __call__(self, runtime: Runtime, net: nn.Module, pixels: Tensor, random: np.random.Generator) -> None:
        """Change the weights of a network, but for its classifier, the last linear layer.

        Parameters
        ----------
        runtime
            Runs the network.
        net
            The network, on the device.
        pixels
            (N, H, W, C) uint8 images on the device.
        random
            Decides order and views; the first weights of the projection are from PyTorch's global generator.
        """
        name = last_linear(net)
        classifier = net.get_submodule(name)
        net.set_submodule(name, self._projection(classifier))
        try:
            self._train(runtime, net, pixels, random)
        finally:
            net.set_submodule(name, classifier)

    def _projection(self, classifier: nn.Module) -> nn.Sequential:
        """Make what stands for the classifier: as many inputs, a hidden layer as wide as they are."""
        features = next(classifier.parameters()).shape[1]
        return nn.Sequential(
            nn.Linear(features, features), nn.ReLU(inplace=True), nn.Linear(features, self.projection, bias=False)
        )

    def _train(self, runtime: Runtime, net: nn.Module, pixels: Tensor, random: np.random.Generator) -> None:
        trainer = Trainer(runtime, net, momentum=self.momentum, weight_decay=self.weight_decay)
        size = min(self.batch, len(pixels))
        steps = len(pixels) // size
        for epoch in range(self.epochs):
            order = torch.from_numpy(random.permutation(len(pixels))[: steps * size])
            for number, part in enumerate(torch.split(order, size), epoch * steps):
                levels = pixels[part.to(pixels.device)].float()
                views = torch.cat([self._view(levels, random) for _ in range(2)])
                trainer.step(
                    views, None, one_cycle(self.learning_rate, number / (self.epochs * steps), self.warmup),
                    loss=lambda projections, _: nt_xent(projections, self.temperature),
                )  # fmt: skip

    def _view(self, levels: Tensor, random: np.random.Generator) -> Tensor:
        return ContrastiveView.draw(random, levels, self.strength, least_area=self.least_area)(levels)
