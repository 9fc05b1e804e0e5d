"""Orthogonal projection: what a linear classifier sees is taken out of the images."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10_s.benchmark.defences import changed
from cifar10_s.images import LabeledImages, to_uint8
from cifar10_s.parallel import chunks
from cifar10_s.training import multistep


@dataclass(frozen=True, kw_only=True)
class OrthogonalProjection:
    """A linear classifier learns the images; X - X Q Qᵀ is then blind to it (Sandoval-Segura et al., NeurIPS 2023).

    Q is an orthonormal base of the span of the classifier's weights. What leaves 0-255 is clipped, and levels are
    rounded, so that a little of what was taken out comes back.

    Attributes
    ----------
    learning_rate
        Of plain gradient descent on images in [0, 1].
    epochs, batch
        Passes over the images, and images a step.
    milestones
        Shares of the epochs after which the learning rate is divided by ten.
    """

    learning_rate: float = 0.1
    epochs: int = 20
    batch: int = 1024
    milestones: tuple[float, ...] = (0.5, 0.75)

    def __call__(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Give the projected images."""
        base = self.base(images, random)

        def project(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            flat = pixels.reshape(len(pixels), -1).astype(np.float32)
            return to_uint8(flat - flat @ base @ base.T).reshape(pixels.shape)

        return changed(images, project)

    def base(self, images: LabeledImages, random: np.random.Generator) -> NDArray[np.float32]:
        """Give Q, (H·W·C, K) float32 with orthonormal columns."""
        return np.linalg.qr(self._classifier(images, random).T).Q

    def _classifier(self, images: LabeledImages, random: np.random.Generator) -> NDArray[np.float32]:
        """Train a linear classifier without bias; gives its weights, (K, H·W·C)."""
        flat, classes = images.pixels.reshape(len(images), -1), len(images.class_names)
        edge = 1 / math.sqrt(flat.shape[1])
        weights = torch.from_numpy(random.uniform(-edge, edge, (classes, flat.shape[1])).astype(np.float32))
        for epoch in range(self.epochs):
            rate = multistep(self.learning_rate, epoch / self.epochs, self.milestones)
            order = random.permutation(len(images))
            for part in chunks(len(images), self.batch):
                seen = torch.from_numpy(flat[order[part]]).float() / 255
                labels = torch.from_numpy(images.labels[order[part]])
                # The gradient of the mean cross-entropy.
                error = (seen @ weights.T).softmax(1) - torch.nn.functional.one_hot(labels, classes)
                weights -= rate / len(seen) * error.T @ seen
        return weights.numpy()
