"""The table of networks, and making a network by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from cifar10_s.common.own import load_own, own_names, own_path
from cifar10_s.errors import UsageError, one_line, unknown
from cifar10_s.nn.networks.compact_transformer import cct_7_3x1, cvt_7_4
from cifar10_s.nn.networks.densenet import DenseNet121
from cifar10_s.nn.networks.lenet import LeNet5
from cifar10_s.nn.networks.linear import Linear
from cifar10_s.nn.networks.resnet import ResNet, basic, bottleneck
from cifar10_s.nn.networks.small import SmallNet
from cifar10_s.nn.networks.vgg import VGG16
from cifar10_s.nn.networks.wide_resnet import WideResNet


@dataclass(frozen=True)
class Network:
    """How a network is built, and for which images.

    Attributes
    ----------
    build
        Makes the network for C, (H, W) and K, with initial weights from PyTorch's global generator.
    min_side
        The smallest H and W that its poolings and strides allow.
    """

    build: Callable[[int, tuple[int, int], int], nn.Module]
    min_side: int


NETWORKS: dict[str, Network] = {
    "small": Network(SmallNet, min_side=1),
    "linear": Network(Linear, min_side=1),
    "lenet-5": Network(LeNet5, min_side=1),
    "vgg-16": Network(VGG16, min_side=1),
    "resnet-18": Network(partial(ResNet, block=basic, expansion=1, depths=(2, 2, 2, 2)), min_side=8),
    "resnet-50": Network(partial(ResNet, block=bottleneck, expansion=4, depths=(3, 4, 6, 3)), min_side=8),
    **{f"wrn-28-{k}": Network(partial(WideResNet, width=k), min_side=4) for k in range(1, 21)},
    "densenet-121": Network(DenseNet121, min_side=8),
    "cct-7-3x1": Network(cct_7_3x1, min_side=2),
    "cvt-7-4": Network(cvt_7_4, min_side=4),
}


def make_network(name: str, *, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Make a network with initial weights from PyTorch's global generator.

    Parameters
    ----------
    name
        A key of `NETWORKS`, or a user's own; see `network_for`.
    channels, size, classes
        C and (H, W) of the images, and K.

    Returns
    -------
    Module
        Takes (B, C, H, W) float images and returns (B, K) logits.

    Raises
    ------
    UsageError
        If there is no such network, the images are too small for it, or a user's own does not build or does not return
        such logits.
    """
    network = network_for(name, size)
    if name in NETWORKS:
        return network.build(channels, size, classes)
    return _own_network(name, network, channels, size, classes)


def _own_network(name: str, network: Network, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """Build a user's network, and check its logits for two black images."""
    try:
        net = network.build(channels, size, classes)
        was_training = isinstance(net, nn.Module) and net.training
        with torch.no_grad():
            logits = net.eval()(torch.zeros(2, channels, *size))
        net.train(was_training)
    except Exception as error:  # a user's network can raise anything
        raise UsageError(
            f"network {name!r}: raised {one_line(error)}: expected a function (channels, (height, width), classes) → "
            "module, whose result takes (B, C, H, W) images"
        ) from error
    if getattr(logits, "shape", None) != (2, classes):
        got = f"shape {tuple(logits.shape)}" if hasattr(logits, "shape") else type(logits).__name__
        raise UsageError(f"network {name!r}: expected logits of shape (B, {classes}) for B images, got {got} for 2")
    return net


def network_for(name: str, size: tuple[int, int]) -> Network:
    """Look up a network for images of (H, W): a name of `NETWORKS`, or a user's own as ``package.module:name``.

    A user's own is a `Network`, or a function or class that takes C, (H, W) and K and returns a module; an entry
    point's name stands for its path. Records identify it by this path (`recorded_name`).

    Raises
    ------
    UsageError
        If there is no such network, or the images are too small for it.
    """
    if name in NETWORKS:
        network = NETWORKS[name]
    elif path := own_path("network", name):
        own = load_own("network", path)
        if not (isinstance(own, Network) or callable(own)) or isinstance(own, nn.Module):
            raise UsageError(
                f"network {name!r}: expected a function (channels, (height, width), classes) → module, or a class of "
                f"modules that takes these, got {type(own).__name__}"
            )
        network = own if isinstance(own, Network) else Network(own, min_side=1)
    else:
        raise unknown("network", name, [*NETWORKS, *own_names("network")])
    if min(size) < network.min_side:
        least, (height, width) = network.min_side, size
        raise UsageError(
            f"network {name!r} needs images of at least {least}×{least} pixels, got {height}×{width}: "
            "choose another network or larger images"
        )
    return network


def recorded_name(name: str) -> str:
    """Return the name by which records identify a network: the path of a user's own, if an entry point is named."""
    return name if name in NETWORKS else own_path("network", name) or name
