"""What several networks share: the convolution of He et al. (2015), its initial weights, and the pooled classifier."""

from torch import Tensor, nn
from torch.nn.functional import conv2d


class PooledClassifier(nn.Module):
    """Features, their mean over positions, and a classifier.

    Parameters
    ----------
    features
        Turns (B, C, H, W) images into (B, D, H′, W′) features.
    classifier
        Turns their (B, D) means into (B, K) logits.
    """

    def __init__(self, features: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.features = features
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits for (B, C, H, W) images."""
        logits: Tensor = self.classifier(self.features(images).mean((2, 3)))
        return logits


def convolution(in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """Make a k×k convolution (k odd) that keeps the size, or divides it by ``stride`` and rounds up."""
    return _Convolution(in_channels, out_channels, kernel, stride, kernel // 2, bias=bias)


class _Convolution(nn.Conv2d):
    """Takes a side of length 1 by stride 1, which gives the same.

    By stride 2, PyTorch's gradient of the weights in bfloat16 contains memory that nobody wrote.
    """

    def forward(self, features: Tensor) -> Tensor:
        stride = [1 if side == 1 else step for side, step in zip(features.shape[2:], self.stride, strict=True)]
        return conv2d(features, self.weight, self.bias, stride, self.padding)


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
