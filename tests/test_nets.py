"""One contract for all networks, and the parameter counts of those that were published."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from cifar10_s.errors import UsageError
from cifar10_s.nets import NETWORKS, make

CASES = [(1, (8, 8), 2), (3, (32, 32), 10)]

# At 32×32×3 and 10 classes, by others' code: kuangliu/pytorch-cifar.
COUNTS = {
    "resnet-18": 11_173_962,
    "resnet-50": 23_520_842,
}


def fresh(name, channels=3, size=(16, 16), classes=10, seed=0):
    torch.manual_seed(seed)
    return make(name, channels=channels, size=size, classes=classes)


def some_images(channels=3, size=(16, 16), count=2):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize(("channels", "size", "classes"), CASES)
def test_gives_logits_and_every_parameter_learns(name, channels, size, classes):
    network = fresh(name, channels, size, classes)
    logits = network(some_images(channels, size, count=4))
    assert (logits.shape, logits.dtype) == ((4, classes), torch.float32)
    cross_entropy(logits, torch.arange(4) % classes).backward()
    for parameter_name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any(), parameter_name


@pytest.mark.parametrize("name", COUNTS)
def test_is_the_published_network(name):
    with torch.device("meta"):
        network = make(name, channels=3, size=(32, 32), classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == COUNTS[name]


def test_an_unknown_network_is_refused():
    with pytest.raises(UsageError, match=r"unknown network 'alexnet': expected one of small, .*resnet-18"):
        make("alexnet", channels=3, size=(32, 32), classes=10)


@pytest.mark.parametrize("name", [name for name, network in NETWORKS.items() if network.smallest > 1])
def test_too_small_an_image_is_refused(name):
    least = NETWORKS[name].smallest
    with pytest.raises(UsageError, match=rf"{name}.* at least {least}×{least} pixels, got {least - 1}×32"):
        make(name, channels=3, size=(least - 1, 32), classes=10)
