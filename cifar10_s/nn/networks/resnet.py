"""ResNet: residual networks (He et al., CVPR 2016), with a 3×3 stem for small images."""

from collections.abc import Callable

from torch import Tensor, nn, relu_

from cifar10_s.nn.networks.layers import PooledClassifier, convolution

# Channels of the first convolution, and of the 3×3 convolutions of the four stages.
STEM_CHANNELS, STAGE_CHANNELS = 64, (64, 128, 256, 512)


class Residual(nn.Module):
    """ReLU(path(x) + shortcut(x))."""

    def __init__(self, path: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, features: Tensor) -> Tensor:
        """Return the features, their size divided by the stride."""
        summed: Tensor = self.path(features)
        summed += self.shortcut(features)
        return relu_(summed)


# Takes input channels, output channels, width and stride.
Block = Callable[[int, int, int, int], Residual]


def basic(in_channels: int, out_channels: int, width: int, stride: int) -> Residual:
    """Make a block of two 3×3 convolutions (figure 5, left)."""
    path = nn.Sequential(
        *_normalised(in_channels, width, 3, stride), nn.ReLU(inplace=True),
        *_normalised(width, out_channels, 3),
    )  # fmt: skip
    return Residual(path, _shortcut(in_channels, out_channels, stride))


def bottleneck(in_channels: int, out_channels: int, width: int, stride: int) -> Residual:
    """Make a block of 1×1, 3×3 and 1×1 convolutions (figure 5, right); the stride is the 3×3 one's."""
    path = nn.Sequential(
        *_normalised(in_channels, width, 1), nn.ReLU(inplace=True),
        *_normalised(width, width, 3, stride), nn.ReLU(inplace=True),
        *_normalised(width, out_channels, 1),
    )  # fmt: skip
    return Residual(path, _shortcut(in_channels, out_channels, stride))


def _normalised(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return convolution(in_channels, out_channels, kernel, stride), nn.BatchNorm2d(out_channels)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Make the identity, or a projection if the shape changes (option B of section 4.1)."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return nn.Sequential(*_normalised(in_channels, out_channels, 1, stride))


class ResNet(PooledClassifier):
    """A 3×3 convolution, four stages of residual blocks, the mean over positions, and a linear layer.

    The stem neither strides nor pools, as is usual for 32×32 images; each stage after the first halves the size. The
    first weights are PyTorch's defaults, as in the code of all methods here, not those of He et al.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    block
        `basic` or `bottleneck`.
    expansion
        The factor by which a block's output is wider than its 3×3 convolution.
    depths
        The number of blocks in each stage.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        classes: int,
        *,
        block: Block,
        expansion: int,
        depths: tuple[int, int, int, int],
    ) -> None:
        layers: list[nn.Module] = [*_normalised(channels, STEM_CHANNELS, 3), nn.ReLU(inplace=True)]
        in_channels = STEM_CHANNELS
        for stage, (width, depth) in enumerate(zip(STAGE_CHANNELS, depths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(block(in_channels, width * expansion, width, stride))
                in_channels = width * expansion
        super().__init__(nn.Sequential(*layers), nn.Linear(in_channels, classes))
