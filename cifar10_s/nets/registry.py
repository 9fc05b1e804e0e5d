"""The table of networks, and making one by its name."""

from functools import partial

from torch import nn

from cifar10_s.errors import UsageError, unknown
from cifar10_s.nets.network import Network
from cifar10_s.nets.resnet import ResNet, basic, bottleneck
from cifar10_s.nets.small import SmallNet

NETWORKS: dict[str, Network] = {
    "small": Network(SmallNet, smallest=1),
    "resnet-18": Network(partial(ResNet, block=basic, expansion=1, depths=(2, 2, 2, 2)), smallest=8),
    "resnet-50": Network(partial(ResNet, block=bottleneck, expansion=4, depths=(3, 4, 6, 3)), smallest=8),
}


def make(name: str, *, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Make a network with fresh weights, which follow from PyTorch's global seed.

    Parameters
    ----------
    name
        A key of `NETWORKS`.
    channels, size, classes
        C and (H, W) of the images, and K.

    Returns
    -------
    Module
        Takes (B, C, H, W) float images and gives (B, K) logits.

    Raises
    ------
    UsageError
        If there is no such network, or the images are too small for it.
    """
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    network = NETWORKS[name]
    if min(size) < network.smallest:
        least, (height, width) = network.smallest, size
        raise UsageError(
            f"network {name!r} needs images of at least {least}×{least} pixels, got {height}×{width}: "
            "choose another network or larger images"
        )
    return network.build(channels, size, classes)
