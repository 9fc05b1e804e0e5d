"""A variational autoencoder that splits an image into what it can transmit and a perturbation of its class."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cifar10_s.nn.networks.layers import convolution
from cifar10_s.nn.networks.resnet import basic


@dataclass(frozen=True, eq=False)
class Split:
    """What the network makes of B images; all float32.

    Attributes
    ----------
    image : (B, C, H, W)
        The reconstruction, in [0, 1].
    perturbation : (B, C, H, W)
        The perturbation, in the same unit, not bounded.
    mean, log_variance : (B, L, H/2, W/2)
        Of the Gaussian from which the latents are drawn.
    """

    image: Tensor
    perturbation: Tensor
    mean: Tensor
    log_variance: Tensor


class DisentanglingVae(nn.Module):
    """D-VAE (Yu et al., ICML 2024), as its authors' code builds it for 32×32 images.

    The encoder is the beginning of a ResNet-18, up to its first block of stride 2. The latents are drawn at each of its
    positions. One decoder makes the image of them; another makes the perturbation of the same, plus a learned embedding
    of the class, which has a value for each position. Sides that are odd are decoded a pixel longer, and cut.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images.
    classes
        K.
    width
        Channels of the first convolution.
    blocks
        The number of residual blocks before the one of stride 2.
    latent
        L, channels of the latents.

    Examples
    --------
    >>> net = DisentanglingVae(3, (32, 32), 10, width=8, latent=16)
    >>> net(torch.rand(2, 3, 32, 32), torch.tensor([0, 9])).image.shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(
        self, channels: int, size: tuple[int, int], classes: int, *, width: int = 64, blocks: int = 2, latent: int = 256
    ) -> None:
        super().__init__()
        self.size, self.features = size, (2 * width, *((side + 1) // 2 for side in size))
        self.encoder = nn.Sequential(
            convolution(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            *(basic(width, width, width, 1) for _ in range(blocks)),
            basic(width, 2 * width, 2 * width, 2),
        )  # fmt: skip
        self.mean, self.log_variance = (convolution(2 * width, latent, 1, bias=True) for _ in range(2))
        self.unpack = convolution(latent, 2 * width, 1, bias=True)
        self.embedding = nn.Embedding(classes, self.features[0] * self.features[1] * self.features[2])
        self.image, self.perturbation = (_decoder(channels, width) for _ in range(2))

    def forward(self, images: Tensor, labels: Tensor) -> Split:
        """Split (B, C, H, W) images in [0, 1] of (B,) classes; the latents are from PyTorch's global generator."""
        encoded = self.encoder(images)
        mean, log_variance = self.mean(encoded).float(), self.log_variance(encoded).float()
        # Drawn in the order of memory, which is faster than `randn_like`.
        noise = torch.randn_like(mean.permute(0, 2, 3, 1).contiguous()).permute(0, 3, 1, 2)
        drawn = self.unpack(mean + (log_variance / 2).exp() * noise)
        of_class = self.embedding(labels).view(-1, *self.features)
        height, width = self.size
        image, perturbation = (
            decoded[:, :, :height, :width].float()
            for decoded in (self.image(drawn), self.perturbation(drawn + of_class))
        )
        return Split(image.sigmoid(), perturbation, mean, log_variance)


def _decoder(channels: int, width: int) -> nn.Sequential:
    """Make what doubles the size of (B, 2·width, H/2, W/2) features, and turns them into images, not yet bounded."""
    half = width // 2
    return nn.Sequential(
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ConvTranspose2d(width, width, 3, 1, 1),
        nn.InstanceNorm2d(width), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(width, half, 3, 1, 1), nn.InstanceNorm2d(half), nn.ReLU(inplace=True),
        nn.ConvTranspose2d(half, channels, 3, 1, 1),
    )  # fmt: skip
