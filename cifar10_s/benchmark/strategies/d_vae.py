"""D-VAE: purify the training images by a variational autoencoder that is trained on them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.errors import UsageError
from cifar10_s.nn.networks.disentangling_vae import DisentanglingVae, Split
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import DivergedError, Trainer, one_cycle

# Takes the network, (B, C, H, W) images in [0, 1] and (B,) labels; returns new images in [0, 1].
Purification = Callable[[DisentanglingVae, Tensor, Tensor], Tensor]


def rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the divergence of the latents' Gaussians from N(0, 1) in nats, the mean over images and positions.

    Parameters
    ----------
    mean, log_variance : (B, L, H, W)
        Of the Gaussians; their divergences are summed over L, the channels.

    Examples
    --------
    >>> float(rate(torch.ones(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)))
    1.5
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2


def d_vae_loss(split: Split, images: Tensor, *, rate_target: float, rate_weight: float, energy: float | None) -> Tensor:
    """Return the loss of D-VAE on a batch, as in its authors' code.

    It is MSE(x̂, x) + MSE(clip(x̂ + p), x) + w · max(rate, target) + max(mean p², energy), for images x, their
    reconstructions x̂ and perturbations p. What is below its target or energy has no gradient.

    Parameters
    ----------
    split
        What the network makes of the images.
    images : (B, C, H, W) float32
        In [0, 1].
    rate_target, rate_weight
        See `rate`.
    energy
        Of the perturbation; None for a loss without this term.
    """
    both = (split.image + split.perturbation).clamp(0, 1)
    loss = mse_loss(split.image, images) + mse_loss(both, images)
    loss = loss + rate_weight * rate(split.mean, split.log_variance).clamp(min=rate_target)
    return loss if energy is None else loss + split.perturbation.square().mean().clamp(min=energy)


def subtracted(net: DisentanglingVae, images: Tensor, labels: Tensor) -> Tensor:
    """Return images without their perturbations, clipped to [0, 1]."""
    split: Split = net(images, labels)
    return (images - split.perturbation).clamp(0, 1)


def reconstructed(net: DisentanglingVae, images: Tensor, labels: Tensor) -> Tensor:
    """Return what the network transmits of images without their perturbations."""
    split: Split = net(subtracted(net, images, labels), labels)
    return split.image


@dataclass(frozen=True, kw_only=True)
class DVae:
    """Purifies images by what they and their labels tell; no clean image is needed (Yu et al., ICML 2024).

    A network reconstructs each image from latents of a limited rate, and makes a perturbation of the latents and the
    class, so that both together give the image; the loss is `d_vae_loss`. This is done twice. The first network has
    little rate, so that the perturbation takes what is the same within a class; it is subtracted from the images. The
    second network has more rate and is trained on the result; its perturbation is subtracted too, and what it then
    reconstructs is kept.

    The defaults are those of the authors' code for CIFAR-10, which draws latents when it purifies, too. Two things
    differ: it cuts levels off where ours are rounded, and its learning rate falls with each epoch, ours with each step.

    Attributes
    ----------
    epochs, batch
        Passes over the images for each of the two networks, and images per step.
    learning_rate
        Of Adam; it falls to 0 along a cosine.
    clip
        The norm to which gradients are clipped.
    rate_targets, rate_weight, energy
        Of the loss of both networks; see `d_vae_loss`.
    free
        The share of the steps in which the energy of the perturbation is not in the loss.
    width, blocks, latent
        Of the network; see `DisentanglingVae`.
    """

    epochs: int = 60
    batch: int = 128
    learning_rate: float = 0.005
    clip: float = 5.0
    rate_targets: tuple[float, float] = (1.0, 3.0)
    rate_weight: float = 0.01
    energy: float = 0.002
    free: float = 11 / 60
    width: int = 64
    blocks: int = 2
    latent: int = 256

    @property
    def passes(self) -> int:
        """The number of passes over the images in training."""
        return len(self.rate_targets) * self.epochs

    def __call__(self, runtime: Runtime, images: LabeledImages, random: np.random.Generator) -> LabeledImages:
        """Return the purified images.

        Parameters
        ----------
        runtime
            Runs the networks.
        images
            Two or more, of any size.
        random
            Decides the order; first weights and latents are from PyTorch's global generator.

        Raises
        ------
        UsageError
            If there are fewer.
        DivergedError
            If the weights of a network are not finite after its training.
        """
        if len(images) < 2:
            raise UsageError(f"D-VAE: expected two or more images, from which a network can learn, got {len(images)}")
        for target, purify in zip(self.rate_targets, (subtracted, reconstructed), strict=True):
            net = self._trained(runtime, images, target, random)
            images = images.with_pixels(_purified(runtime, net, images, purify))
        return images

    def _trained(
        self, runtime: Runtime, images: LabeledImages, rate_target: float, random: np.random.Generator
    ) -> DisentanglingVae:
        """Train a network on the images, and return it in evaluation mode."""
        _, height, width, channels = images.pixels.shape
        net = DisentanglingVae(
            channels, (height, width), len(images.class_names),
            width=self.width, blocks=self.blocks, latent=self.latent,
        )  # fmt: skip
        trainer = Trainer(runtime, net, optimizer="adamw", momentum=0.0, weight_decay=0.0, clip=self.clip)
        pixels, labels = runtime.put(images.pixels, images.labels)
        size = min(self.batch, len(images))
        steps = len(images) // size
        net.train()
        for epoch in range(self.epochs):
            order = torch.from_numpy(random.permutation(len(images))[: steps * size]).to(runtime.device)
            for number, part in enumerate(torch.split(order, size), epoch * steps):
                self._step(trainer, _unit(pixels[part]), labels[part], rate_target, number / (self.epochs * steps))
        if not all(bool(weights.isfinite().all()) for weights in net.parameters()):
            raise DivergedError("D-VAE: the weights of its network are not finite")
        return net.eval().requires_grad_(False)

    def _step(self, trainer: Trainer, images: Tensor, labels: Tensor, rate_target: float, progress: float) -> None:
        """Take one step, after a share of the training."""
        with trainer.runtime.autocast():
            split = trainer.net(images, labels)
        loss = d_vae_loss(
            split, images, rate_target=rate_target, rate_weight=self.rate_weight,
            energy=self.energy if progress >= self.free else None,
        )  # fmt: skip
        trainer.descend(loss, one_cycle(self.learning_rate, progress))


def _unit(pixels: Tensor) -> Tensor:
    """Return (B, H, W, C) uint8 pixels as (B, C, H, W) float32 in [0, 1]."""
    return pixels.permute(0, 3, 1, 2).float() / 255


def _purified(
    runtime: Runtime, net: DisentanglingVae, images: LabeledImages, purify: Purification
) -> NDArray[np.uint8]:
    """Return purified (N, H, W, C) pixels."""
    pixels, labels = runtime.put(images.pixels, images.labels)
    size, parts = runtime.chunk(pixels), []
    with torch.inference_mode(), runtime.autocast():
        for part, of_part in zip(torch.split(pixels, size), torch.split(labels, size), strict=True):
            levels = 255 * purify(net, _unit(part), of_part).permute(0, 2, 3, 1)
            parts.append(to_uint8(levels.cpu().numpy()))
    return np.concatenate(parts)
