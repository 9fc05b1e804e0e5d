"""WRN-28-k: wide residual networks (Zagoruyko & Komodakis, BMVC 2016)."""

from torch import Tensor, nn

from cifar10_s.nn.networks.layers import PooledClassifier, activation, convolution, initialise

# Channels of the first convolution, and of the three stages for k = 1; blocks per stage: 28 layers = 6·4 + 4.
STEM_CHANNELS, STAGE_CHANNELS, BLOCKS_PER_STAGE = 16, (16, 32, 64), 4


class WideBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut around them."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.first = activation(in_channels)
        self.path = nn.Sequential(
            convolution(in_channels, out_channels, 3, stride), *activation(out_channels),
            convolution(out_channels, out_channels, 3),
        )  # fmt: skip
        self.projection = (
            None if in_channels == out_channels and stride == 1 else convolution(in_channels, out_channels, 1, stride)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, their size divided by the stride."""
        active = self.first(features)
        # If the shape changes, the shortcut starts after the activation, as in the authors' code.
        shortcut: Tensor = features if self.projection is None else self.projection(active)
        path: Tensor = self.path(active)
        return shortcut + path


class WideResNet(PooledClassifier):
    """A 3×3 convolution, three stages of four wide blocks, the mean over positions, and a linear layer.

    Each stage after the first halves the size. There is no dropout.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    width
        k: the factor by which the stages are wider than 16, 32 and 64.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, *, width: int) -> None:
        layers: list[nn.Module] = [convolution(channels, STEM_CHANNELS, 3)]
        in_channels = STEM_CHANNELS
        for stage, out_channels in enumerate(width * narrow for narrow in STAGE_CHANNELS):
            for index in range(BLOCKS_PER_STAGE):
                layers.append(WideBlock(in_channels, out_channels, stride=2 if stage > 0 and index == 0 else 1))
                in_channels = out_channels
        super().__init__(nn.Sequential(*layers, *activation(in_channels)), nn.Linear(in_channels, classes))
        self.apply(initialise)
