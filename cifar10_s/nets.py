"""Networks. Any image size and number of channels; input (B, C, H, W) float, output (B, K) logits."""

from itertools import pairwise

from torch import Tensor, nn


class SmallNet(nn.Module):
    """Four convolutions and the maximum over all positions: learns digits or a shortcut on a CPU in seconds."""

    def __init__(self, channels: int, classes: int, width: int = 32) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in pairwise((channels, width, 2 * width, 2 * width, 2 * width)):
            blocks += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        self.features = nn.Sequential(*blocks, nn.AdaptiveMaxPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Give the logits."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
