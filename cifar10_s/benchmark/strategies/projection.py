"""Remove from the images what a linear classifier sees, by orthogonal projection."""

import math
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifar10_s.benchmark.strategies.defences import filter_in_chunks
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.errors import UsageError
from cifar10_s.nn.trainer import multistep


@dataclass(frozen=True, kw_only=True)
class OrthogonalProjection:
    """Projects the images X to X - X Q Qᵀ (Sandoval-Segura et al., NeurIPS 2023).

    Q is an orthonormal basis of the span of the weights of a linear classifier, trained on X. The result is rounded and
    clipped to 0-255, which restores a little of what was removed. The authors train on results that are neither, with a
    strong augmentation and CutMix: `ProjectBatch` and the strategy ``orthogonal-projection-strong``.

    Attributes
    ----------
    learning_rate
        The learning rate of stochastic gradient descent on images in [0, 1].
    epochs, batch
        Passes over the images, and images per step.
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
        """Return the projected images."""
        return filter_in_chunks(images, partial(project_out, self.basis(images, random)))

    def basis(self, images: LabeledImages, random: np.random.Generator) -> NDArray[np.float32]:
        """Return Q, (H·W·C, K) float32 with orthonormal columns."""
        return np.linalg.qr(self._classifier(images, random).T).Q

    def _classifier(self, images: LabeledImages, random: np.random.Generator) -> NDArray[np.float32]:
        """Train a linear classifier without bias, and return its weights, (K, H·W·C)."""
        flat, classes = images.pixels.reshape(len(images), -1), len(images.class_names)
        bound = 1 / math.sqrt(flat.shape[1])
        weights = torch.from_numpy(random.uniform(-bound, bound, (classes, flat.shape[1])).astype(np.float32))
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


@dataclass(frozen=True, kw_only=True)
class ProjectBatch:
    """Projects each batch of the images; the result is neither rounded nor clipped, as in the authors' code.

    Attributes
    ----------
    projection
        Trains the linear classifier.
    """

    projection: OrthogonalProjection = field(default_factory=OrthogonalProjection)

    def fitted(self, images: LabeledImages, random: np.random.Generator) -> "Projector":
        """Return the projection of batches of these images."""
        return Projector(self.projection.basis(images, random))

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Refuse to project a batch before the projection is fitted.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError("orthogonal projection: expected a call of `fitted` first, got a batch")


@dataclass(frozen=True, eq=False)
class Projector:
    """Projects batches.

    Attributes
    ----------
    basis : (H·W·C, K) float32
        Orthonormal columns, whose span is taken out.
    """

    basis: NDArray[np.float32]

    def __call__(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return (B, H, W, C) levels without their part in the span."""
        flat, basis = levels.flatten(1), torch.from_numpy(self.basis).to(levels.device)
        return (flat - flat @ basis @ basis.T).view(levels.shape), targets


def project_out(basis: NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, H, W, C) uint8 pixels without their part in the span of the columns of ``basis``, (H·W·C, K)."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    return to_uint8(flat - flat @ basis @ basis.T).reshape(pixels.shape)
