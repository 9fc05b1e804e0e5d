"""Network: an entry of the table of networks."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Network:
    """How a network is built, and for which images.

    Attributes
    ----------
    build
        Makes it with fresh weights, from PyTorch's global generator, for C, (H, W) and K.
    smallest
        The least H and W that it takes: what its poolings and strides leave something of.
    """

    build: Callable[[int, tuple[int, int], int], nn.Module]
    smallest: int
