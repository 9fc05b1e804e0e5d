"""ResNet: residual networks (He et al., CVPR 2016), with the 3×3 stem of small images."""

from collections.abc import Callable

from torch import Tensor, nn, relu

from cifar10_s.nets.layers import convolution, initialise

# What a network starts with, and the width of each of its four stages.
STEM, WIDTHS = 64, (64, 128, 256, 512)


class Residual(nn.Module):
    """ReLU(path(x) + shortcut(x))."""

    def __init__(self, path: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, features: Tensor) -> Tensor:
        """Give the features, of a size that the block's stride divides."""
        return relu(self.path(features) + self.shortcut(features))


# Channels before and after, width, stride.
Block = Callable[[int, int, int, int], Residual]


def basic(before: int, after: int, width: int, stride: int) -> Residual:
    """Make a block of two 3×3 convolutions (figure 5, left)."""
    path = nn.Sequential(
        *_normalised(before, width, 3, stride), nn.ReLU(inplace=True),
        *_normalised(width, after, 3),
    )  # fmt: skip
    return Residual(path, _shortcut(before, after, stride))


def bottleneck(before: int, after: int, width: int, stride: int) -> Residual:
    """Make a block of 1×1, 3×3 and 1×1 convolutions (figure 5, right); the stride is the 3×3 one's."""
    path = nn.Sequential(
        *_normalised(before, width, 1), nn.ReLU(inplace=True),
        *_normalised(width, width, 3, stride), nn.ReLU(inplace=True),
        *_normalised(width, after, 1),
    )  # fmt: skip
    return Residual(path, _shortcut(before, after, stride))


def _normalised(before: int, after: int, kernel: int, stride: int = 1) -> tuple[nn.Module, nn.Module]:
    return convolution(before, after, kernel, stride), nn.BatchNorm2d(after)


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    """Make the identity, or a projection where the shape changes (option B of section 4.1)."""
    if before == after and stride == 1:
        return nn.Identity()
    return nn.Sequential(*_normalised(before, after, 1, stride))


class ResNet(nn.Module):
    """A 3×3 convolution, four stages of residual blocks, the mean over positions, and a linear layer.

    The stem neither strides nor pools, as is usual for 32×32 images; each stage after the first halves the size.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    block
        `basic` or `bottleneck`.
    expansion
        How many times a block's output is wider than its 3×3 convolution.
    depths
        Blocks of each stage.
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
        super().__init__()
        layers: list[nn.Module] = [*_normalised(channels, STEM, 3), nn.ReLU(inplace=True)]
        before = STEM
        for stage, (width, depth) in enumerate(zip(WIDTHS, depths, strict=True)):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                layers.append(block(before, width * expansion, width, stride))
                before = width * expansion
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, classes)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
