"""A linear classifier of pixels, without a bias."""

from torch import Tensor, nn


class Linear(nn.Module):
    """One weight per class and value of the image; what is black adds nothing.

    It takes back the scaling that is usual for networks (`Runtime.logits`), so that it sees x in [0, 1].

    Parameters
    ----------
    channels, size
        C and (H, W) of the images.
    classes
        K.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(channels * size[0] * size[1], classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, K) logits for (B, C, H, W) images."""
        logits: Tensor = self.classifier((images * 0.25 + 0.5).flatten(1))
        return logits
