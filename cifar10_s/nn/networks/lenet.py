"""LeNet-5 (LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998)."""

from torch import nn

from cifar10_s.nn.networks.layers import PooledClassifier

# The side of the images for which it was made.
INPUT_SIDE = 32


class LeNet5(PooledClassifier):
    """Three 5×5 convolutions with two poolings between them, and two linear layers.

    As is usual today, it has ReLUs and max-pooling, and every map is connected to all maps before it. As in 1998,
    smaller images are padded with zeros to 32×32 (digits were 28×28), and the third layer is a convolution, which has
    one position on 32×32 images; on larger ones its mean over positions is taken.

    Parameters
    ----------
    channels, size
        C and (H, W) of the images; the parameters are the same for all sizes.
    classes
        K.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        features = nn.Sequential(
            _padding(size),
            nn.Conv2d(channels, 6, 5), nn.ReLU(), _pooling(),
            nn.Conv2d(6, 16, 5), nn.ReLU(), _pooling(),
            nn.Conv2d(16, 120, 5), nn.ReLU(),
        )  # fmt: skip
        super().__init__(features, nn.Sequential(nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes)))


def _padding(size: tuple[int, int]) -> nn.ZeroPad2d:
    """Make the padding that centres a small image."""
    top, left = (max(0, INPUT_SIDE - side) // 2 for side in size)
    bottom, right = (max(0, INPUT_SIDE - side) - before for side, before in zip(size, (top, left), strict=True))
    return nn.ZeroPad2d((left, right, top, bottom))


def _pooling() -> nn.MaxPool2d:
    """Make a pooling that rounds up; rounding down, images with an odd side would lose the pixels at their edge."""
    return nn.MaxPool2d(2, ceil_mode=True)
