"""DenseNet-121: densely connected networks (Huang et al., CVPR 2017), with the 3×3 stem of small images."""

import torch
from torch import Tensor, nn

from cifar10_s.nets.layers import activation, convolution, initialise

# Layers of each of the four blocks, and the channels that each layer adds.
DEPTHS, GROWTH = (6, 12, 24, 16), 32


class DenseLayer(nn.Module):
    """Adds channels, found by a 1×1 and a 3×3 convolution, each after batch norm and ReLU, to those before."""

    def __init__(self, before: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *activation(before), convolution(before, 4 * GROWTH, 1),
            *activation(4 * GROWTH), convolution(4 * GROWTH, GROWTH, 3),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """Give the features and the new ones."""
        return torch.cat((features, self.path(features)), 1)


def _transition(channels: int) -> nn.Sequential:
    """Make what is between two blocks: half as many channels, half the size."""
    return nn.Sequential(*activation(channels), convolution(channels, channels // 2, 1), nn.AvgPool2d(2))


class DenseNet121(nn.Module):
    """A 3×3 convolution, four dense blocks, the mean over positions, and a linear layer.

    The stem neither strides nor pools; each block after the first has half the size of the one before.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        width = 2 * GROWTH
        layers: list[nn.Module] = [convolution(channels, width, 3)]
        for block, depth in enumerate(DEPTHS):
            if block > 0:
                layers.append(_transition(width))
                width //= 2
            for _ in range(depth):
                layers.append(DenseLayer(width))
                width += GROWTH
        self.features = nn.Sequential(*layers, *activation(width))
        self.classifier = nn.Linear(width, classes)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
