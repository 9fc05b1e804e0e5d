"""SimCLR and the linear probe: the loss by two loops, and what training changes."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.images import learnable

from cifar10_s.benchmark.protocols import Protocol
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.strategies.simclr import SimClr, nt_xent
from cifar10_s.benchmark.train import Run, train
from cifar10_s.nn.networks.registry import make_network
from cifar10_s.nn.runtime import Runtime

CPU = Runtime.on("cpu")
SHORT = Protocol(name="short-v1", network="small", epochs=3, batch=32, learning_rate=0.1)


def slow_nt_xent(projections, temperature):
    """Equation 1 of the paper, for each image's two views, summed by loops."""
    z, count, losses = projections.double().numpy(), len(projections) // 2, []

    def similarity(i, j):
        return z[i] @ z[j] / np.linalg.norm(z[i]) / np.linalg.norm(z[j]) / temperature

    for i in range(2 * count):
        partner = i + count if i < count else i - count
        others = sum(math.exp(similarity(i, k)) for k in range(2 * count) if k != i)
        losses.append(-math.log(math.exp(similarity(i, partner)) / others))
    return np.mean(losses)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_is_that_of_the_paper(count, temperature):
    projections = torch.randn(2 * count, 5, generator=torch.Generator().manual_seed(count))
    assert float(nt_xent(projections, temperature)) == pytest.approx(slow_nt_xent(projections, temperature), abs=1e-5)


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make_network("small", channels=3, size=(8, 8), classes=10)


def test_it_lowers_its_loss_and_leaves_the_classifier():
    images = torch.from_numpy(learnable(count=96).pixels)
    net, before = CPU.place(network()), network()
    method = SimClr(epochs=6, batch=32, learning_rate=0.1)
    state = torch.get_rng_state()
    losses = []
    original = nt_xent

    def noted(projections, temperature):
        losses.append(float(original(projections, temperature).detach()))
        return original(projections, temperature)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cifar10_s.benchmark.strategies.simclr.nt_xent", noted)
        method(CPU, net, images, np.random.default_rng(0))
    torch.set_rng_state(state)
    assert len(losses) == 6 * 3
    assert np.mean(losses[-6:]) < np.mean(losses[:6]) - 0.1
    assert torch.equal(net.classifier.weight, before.classifier.weight)
    assert not torch.equal(net.features[0].weight, before.features[0].weight)


def test_a_probe_trains_the_classifier_alone():
    images = learnable(count=160)
    runs = {name: replace(STRATEGIES[name], name=name) for name in ("linear-probe", "standard")}
    epochs = {name: list(train(Run(images, images, SHORT, one, "small", 0), CPU)) for name, one in runs.items()}
    assert epochs["linear-probe"] != epochs["standard"]
    assert epochs["linear-probe"][-1]["test_accuracy"] > 15
    seen = []
    patched = pytest.MonkeyPatch()
    with patched.context() as patch:
        patch.setattr(
            "cifar10_s.benchmark.train._final_results", lambda run, runtime, trainer, test: seen.append(trainer) or {}
        )
        list(train(Run(images, images, SHORT, runs["linear-probe"], "small", 0), CPU))
        list(train(Run(images, images, replace(SHORT, learning_rate=0.0), runs["linear-probe"], "small", 0), CPU))
    trained, start = (trainer.net.state_dict() for trainer in seen)
    changed = {name for name in trained if not torch.equal(trained[name], start[name])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_both_make_a_run_that_its_seed_decides():
    images = learnable(count=96)
    strategy = replace(STRATEGIES["simclr-small"], pretrain=SimClr(epochs=2, batch=48, learning_rate=0.1))
    first, again, other = (list(train(Run(images, images, SHORT, strategy, "small", seed), CPU)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
