"""SmallNet: for a CPU, in seconds or minutes."""

from itertools import pairwise

from torch import Tensor, nn


class SmallNet(nn.Module):
    """Four convolutions and a linear layer: learns digits in seconds, and 32×32 images in minutes, on a CPU.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images. They are halved after a convolution while both sides are 16 or more.
    classes
        K.
    width
        Channels of the first convolution; the others have twice as many.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int, width: int = 32) -> None:
        super().__init__()
        height, columns = size
        blocks: list[nn.Module] = []
        for before, after in pairwise((channels, width, 2 * width, 2 * width, 2 * width)):
            blocks += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
            if min(height, columns) >= 16:
                height, columns = height // 2, columns // 2
                # Before ReLU, which then sees a quarter of the values: outputs and gradients have the same bits.
                blocks += [nn.MaxPool2d(2), nn.ReLU(inplace=True)]
            else:
                blocks.append(nn.ReLU(inplace=True))
        self.features = nn.Sequential(*blocks, nn.Flatten())
        self.classifier = nn.Linear(2 * width * height * columns, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits for (B, C, H, W) images."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
