"""Noise on the weights of a network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cifar10_s.nn.weight_noise import weight_noise


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 5))


def weights(net):
    return nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def drawn(seed):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), deviation=st.floats(1e-3, 1e3))
def test_every_parameter_gets_its_own_draw_and_then_its_bits_back(seed, deviation):
    net, expected = network(), []
    before, buffers = weights(net), [buffer.clone() for buffer in net.buffers()]
    random = drawn(seed)
    for parameter in net.parameters():
        expected.append((parameter + deviation * torch.randn(parameter.shape, generator=random)).detach().ravel())
    with weight_noise(net, deviation, drawn(seed)):
        assert torch.allclose(weights(net), torch.cat(expected), rtol=1e-5, atol=1e-5 * deviation)
    assert torch.equal(weights(net), before)
    assert all(torch.equal(one, other) for one, other in zip(net.buffers(), buffers))


def test_the_noise_is_normal():
    net = nn.Linear(300, 300)
    before = weights(net)
    with weight_noise(net, 0.25, drawn(0)):
        noise = (weights(net) - before).numpy()
    assert abs(noise.mean()) < 0.004
    assert abs(noise.std() - 0.25) < 0.002
    assert np.allclose(np.quantile(noise, [0.1587, 0.9772]), [-0.25, 0.5], atol=0.01)


def test_draws_follow_one_another():
    net, random, seen = network(), drawn(0), []
    for _ in range(2):
        with weight_noise(net, 0.1, random):
            seen.append(weights(net))
    assert not torch.equal(*seen)


def test_no_deviation_draws_nothing():
    net, random = network(), drawn(0)
    before, state = weights(net), random.get_state()
    with weight_noise(net, 0.0, random):
        assert torch.equal(weights(net), before)
    assert torch.equal(random.get_state(), state)


def test_weights_come_back_after_an_error():
    net = network()
    before = weights(net)
    with pytest.raises(ZeroDivisionError), weight_noise(net, 1.0, drawn(0)):
        raise ZeroDivisionError
    assert torch.equal(weights(net), before)


def test_gradients_are_those_at_the_noised_weights():
    """Of the weights and of the input, and they stay."""
    net = nn.Linear(4, 1, bias=False)
    inputs = torch.rand(1, 4, requires_grad=True)
    with weight_noise(net, 0.5, drawn(0)):
        noised = weights(net)
        (net(inputs) ** 2).sum().backward()
        value = float(net(inputs).detach())
    assert torch.allclose(inputs.grad.ravel(), 2 * value * noised)
    assert torch.allclose(net.weight.grad, 2 * value * inputs.detach())
