"""VGG-16 (Simonyan & Zisserman, ICLR 2015), with batch norm and one linear layer, as is usual for small images."""

from itertools import pairwise

from torch import Tensor, nn

from cifar10_s.nets.layers import convolution, initialise

# Width of each 3×3 convolution of the five stages (configuration D); a stage ends with a pooling.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(nn.Module):
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
        super().__init__()
        layers: list[nn.Module] = []
        before, side = channels, min(size)
        for stage in STAGES:
            for one, other in pairwise((before, *stage)):
                layers += [convolution(one, other, 3, bias=True), nn.BatchNorm2d(other), nn.ReLU(inplace=True)]
            before = stage[-1]
            if side >= 2:
                side //= 2
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(before, classes)
        self.apply(initialise)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits
