"""What the convolutional networks have in common: the convolution of He et al. (2015) and its initial weights."""

from torch import nn


def convolution(before: int, after: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """Make a k×k convolution (k odd) that keeps the size, or divides it by ``stride`` and rounds up."""
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=bias)


def activation(channels: int) -> nn.Sequential:
    """Make batch norm and ReLU, for networks that have them before each convolution."""
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def initialise(module: nn.Module) -> None:
    """Draw a convolution's weights from N(0, 2 / (k² · channels out)), its bias 0; for `torch.nn.Module.apply`.

    This keeps the variance of the gradients through ReLUs (He et al., Delving Deep into Rectifiers, ICCV 2015,
    section 2.2). Other layers keep PyTorch's initial weights.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
