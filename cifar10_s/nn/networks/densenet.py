"""DenseNet-121: densely connected networks (Huang et al., CVPR 2017), with a 3×3 stem for small images."""

import torch
from torch import Tensor, nn

from cifar10_s.nn.networks.layers import PooledClassifier, activation, convolution, initialise

# Layers of each of the four blocks, and the channels that a layer adds.
LAYERS_PER_BLOCK, GROWTH_RATE = (6, 12, 24, 16), 32


class DenseLayer(nn.Module):
    """Appends channels, computed by a 1×1 and a 3×3 convolution, each after batch norm and ReLU, to its input."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *activation(in_channels), convolution(in_channels, 4 * GROWTH_RATE, 1),
            *activation(4 * GROWTH_RATE), convolution(4 * GROWTH_RATE, GROWTH_RATE, 3),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        """Return the input features and the new ones."""
        return torch.cat((features, self.path(features)), 1)


def _transition(channels: int) -> nn.Sequential:
    """Make the layers between two blocks: half as many channels, half the size."""
    return nn.Sequential(*activation(channels), convolution(channels, channels // 2, 1), nn.AvgPool2d(2))


class DenseNet121(PooledClassifier):
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
        width = 2 * GROWTH_RATE
        layers: list[nn.Module] = [convolution(channels, width, 3)]
        for block, depth in enumerate(LAYERS_PER_BLOCK):
            if block > 0:
                layers.append(_transition(width))
                width //= 2
            for _ in range(depth):
                layers.append(DenseLayer(width))
                width += GROWTH_RATE
        super().__init__(nn.Sequential(*layers, *activation(width)), nn.Linear(width, classes))
        self.apply(initialise)
