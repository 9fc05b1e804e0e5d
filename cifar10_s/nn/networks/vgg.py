"""VGG-16 (Simonyan & Zisserman, ICLR 2015), with batch norm and one linear layer, as is usual for small images."""

from itertools import pairwise

from torch import nn

from cifar10_s.nn.networks.layers import PooledClassifier, convolution, initialise

# Channels of each 3×3 convolution in the five stages (configuration D); a stage ends with a pooling.
STAGE_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(PooledClassifier):
    """Thirteen 3×3 convolutions in five stages, the mean over positions, and a linear layer.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images. A stage halves them while both sides are 2 or more; the parameters are the same
        for all sizes.
    classes
        K.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        layers: list[nn.Module] = []
        in_channels, side = channels, min(size)
        for stage in STAGE_WIDTHS:
            for before, after in pairwise((in_channels, *stage)):
                layers += [convolution(before, after, 3, bias=True), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
            in_channels = stage[-1]
            if side >= 2:
                side //= 2
                layers.append(nn.MaxPool2d(2))
        super().__init__(nn.Sequential(*layers), nn.Linear(in_channels, classes))
        self.apply(initialise)
