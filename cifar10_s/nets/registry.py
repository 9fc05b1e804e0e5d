"""The table of networks, and making one by its name."""

from functools import partial

from torch import nn

from cifar10_s.errors import UsageError, unknown
from cifar10_s.nets.compact_transformer import cct_7_3x1, cvt_7_4
from cifar10_s.nets.densenet import DenseNet121
from cifar10_s.nets.lenet import LeNet5
from cifar10_s.nets.network import Network
from cifar10_s.nets.resnet import ResNet, basic, bottleneck
from cifar10_s.nets.small import SmallNet
from cifar10_s.nets.vgg import VGG16
from cifar10_s.nets.wide_resnet import WideResNet

NETWORKS: dict[str, Network] = {
    "small": Network(SmallNet, smallest=1),
    "lenet-5": Network(LeNet5, smallest=1),
    "vgg-16": Network(VGG16, smallest=1),
    "resnet-18": Network(partial(ResNet, block=basic, expansion=1, depths=(2, 2, 2, 2)), smallest=8),
    "resnet-50": Network(partial(ResNet, block=bottleneck, expansion=4, depths=(3, 4, 6, 3)), smallest=8),
    **{f"wrn-28-{k}": Network(partial(WideResNet, width=k), smallest=4) for k in range(1, 21)},
    "densenet-121": Network(DenseNet121, smallest=8),
    "cct-7-3x1": Network(cct_7_3x1, smallest=2),
    "cvt-7-4": Network(cvt_7_4, smallest=4),
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
    return network_for(name, size).build(channels, size, classes)


def network_for(name: str, size: tuple[int, int]) -> Network:
    """Look up a network for images of (H, W).

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
    return network
