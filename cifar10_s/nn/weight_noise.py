"""Gaussian noise on the weights of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def weight_noise(net: nn.Module, deviation: float, random: torch.Generator) -> Iterator[None]:
    """Add noise from N(0, deviation²) to every parameter within the context, then restore the same bits.

    Parameters
    ----------
    net
        The network; its buffers, such as the averages of batch normalisation, get no noise.
    deviation
        Standard deviation, the same for all parameters; 0 draws nothing.
    random
        A generator on the network's device.
    """
    parameters = list(net.parameters()) if deviation else []
    before = [parameter.detach().clone() for parameter in parameters]
    try:
        with torch.no_grad():
            for parameter in parameters:
                drawn = torch.randn(parameter.shape, generator=random, device=parameter.device)
                parameter.add_(drawn, alpha=deviation)
        yield
    finally:
        with torch.no_grad():
            for parameter, kept in zip(parameters, before, strict=True):
                parameter.copy_(kept)
