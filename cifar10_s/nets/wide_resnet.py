"""WRN-28-k: wide residual networks (Zagoruyko & Komodakis, BMVC 2016)."""

from torch import Tensor, nn

from cifar10_s.nets.layers import activation, convolution, initialise

# What a network starts with, the width of each of its three stages for k = 1, and the blocks of each: 28 = 6·4 + 4.
STEM, WIDTHS, DEPTH = 16, (16, 32, 64), 4


class WideBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU, and a shortcut around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = activation(before)
        self.path = nn.Sequential(
            convolution(before, after, 3, stride), *activation(after),
            convolution(after, after, 3),
        )  # fmt: skip
        self.projection = None if before == after and stride == 1 else convolution(before, after, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Give the features, of a size that the stride divides."""
        active = self.first(features)
        # Where the shape changes, the shortcut starts after the activation, as in the authors' code.
        shortcut: Tensor = features if self.projection is None else self.projection(active)
        path: Tensor = self.path(active)
        return shortcut + path


class WideResNet(nn.Module):
    """A 3×3 convolution, three stages of four wide blocks, the mean over positions, and a linear layer.

    Each stage after the first halves the size. There is no dropout.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    width
        k: how many times the stages are wider than 16, 32 and 64.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, *, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [convolution(channels, STEM, 3)]
        before = STEM
        for stage, after in enumerate(width * narrow for narrow in WIDTHS):
            for index in range(DEPTH):
                layers.append(WideBlock(before, after, stride=2 if stage > 0 and index == 0 else 1))
                before = after
        self.features = nn.Sequential(*layers, *activation(before))
        self.classifier = nn.Linear(before, classes)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
