"""Deep feature reweighting: it mends a network whose last layer was poisoned, and leaves the other layers alone."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.images import learnable
from torch import nn

from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.last_layer import LastLayer
from cifar10_s.benchmark.train import accuracy
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.nn.networks.registry import NETWORKS, make_network
from cifar10_s.nn.runtime import Runtime

CPU = Runtime.on("cpu")
FEW = LastLayer(count=80, epochs=3, batch=40)


def refitted(seed=0, net=None):
    net = CPU.place(net or make_network("small", channels=3, size=(8, 8), classes=4))
    before = copy.deepcopy(net.state_dict())
    FEW(CPU, net, learnable(count=120), np.random.default_rng(seed))
    return net, before


def test_it_mends_the_last_layer_and_nothing_else():
    torch.manual_seed(0)
    net, before = refitted()
    test = learnable(count=100)
    assert accuracy(CPU, net, torch.from_numpy(test.pixels), torch.from_numpy(test.labels)) > 90
    after = net.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {name for name in changed if "running" not in name and "num_batches" not in name} == {
        "classifier.weight", "classifier.bias",
    }  # fmt: skip
    assert not net.training


def test_it_depends_on_the_seed():
    def weights(seed):
        torch.manual_seed(0)
        return refitted(seed)[0].classifier.weight

    first, again, other = weights(0), weights(0), weights(1)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", ["lenet-5", "resnet-18", "densenet-121", "wrn-28-1", "vgg-16", "cct-7-3x1"])
def test_every_kind_of_network_has_a_last_layer(name):
    assert name in NETWORKS
    net = make_network(name, channels=3, size=(8, 8), classes=4)
    few = learnable(count=8)
    CPU.place(net)
    LastLayer(count=8, epochs=1, batch=8)(CPU, net, few, np.random.default_rng(0))
    assert CPU.logits(net, torch.from_numpy(few.pixels)).isfinite().all()


@pytest.mark.parametrize(
    ("net", "error", "line"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 7)), UsageError,
         "expected a network whose last layer is linear, with an output for each of 4"),
        (nn.Conv2d(3, 4, 8), SourceError, "Conv2d: has no linear layer as its classifier"),
    ],
)  # fmt: skip
def test_a_network_that_ends_otherwise_gets_one_line(net, error, line):
    with pytest.raises(error, match=line):
        refitted(net=net)


def test_it_needs_clean_images():
    strategy = Strategy(name="own", summary="", refit=FEW, needs_clean=True)
    with pytest.raises(UsageError, match="'own': expected needs_clean=True, which `refit` takes, got False"):
        replace(strategy, needs_clean=False)
    assert strategy.settings() == {
        "name": "own", "draws": 1,
        "refit": {"is": "LastLayer", "count": 80, "epochs": 3, "batch": 40, "learning_rate": 0.5},
    }  # fmt: skip
