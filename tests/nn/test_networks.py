"""One contract for all networks, and the published sizes of some."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from cifar10_s.errors import UsageError
from cifar10_s.nn.networks.layers import convolution
from cifar10_s.nn.networks.registry import NETWORKS, make_network
from cifar10_s.nn.networks.resnet import Residual
from cifar10_s.nn.networks.small import SmallNet

WIDE = [name for name in NETWORKS if name.startswith("wrn-28-")]
# WRN-28-2 has what the wider ones have; those are built on PyTorch's meta device, which has shapes but no numbers.
NAMES = [name for name in NETWORKS if name not in WIDE or name in ("wrn-28-1", "wrn-28-2")]
SIZES = [(8, 8), (9, 21), (64, 64), (224, 224)]

# Parameters at 32×32×3 and 10 classes.
COUNTS = {
    # PyTorch's CIFAR-10 tutorial.
    "lenet-5": 62_006,
    # kuangliu/pytorch-cifar.
    "vgg-16": 14_728_266,
    "resnet-18": 11_173_962,
    "resnet-50": 23_520_842,
    "densenet-121": 6_956_298,
    # jvlmdr/flax-cifar, and osmr/imgclsmob for the last.
    "wrn-28-2": 1_467_610,
    "wrn-28-8": 23_354_842,
    "wrn-28-10": 36_479_194,
    # SHI-Labs/Compact-Transformers, but for the bias of the sequence pooling, which the softmax cancels.
    "cct-7-3x1": 3_760_139 - 1,
    "cvt-7-4": 3_716_619 - 1,
}
# In millions, by the One-Pixel Shortcut paper, table 3; its code gives each convolution a bias.
WITH_BIASES = {"wrn-28-1": "0.37", "wrn-28-20": "145.84"}
# Billions of multiply-adds as counted by thop, with two for each value of a batch norm and one for each bias:
# da2so/DA2Lite, and microsoft/nni for the ResNets.
MULTIPLY_ADDS = {
    "vgg-16": "0.31",
    "resnet-18": "0.556651530",
    "resnet-50": "1.304694794",
    "densenet-121": "0.90",
}
# Billions of multiply-adds of convolutions and linear layers: SHI-Labs/Compact-Transformers.
WITHOUT_ATTENTION = {"cct-7-3x1": "0.947", "cvt-7-4": "0.236"}
# What the classifier sees of a 32×32 image, by the papers.
FEATURES = {"lenet-5": (120, 1, 1), "wrn-28-2": (128, 8, 8)}


def fresh(name, channels=3, size=(16, 16), classes=10, seed=0):
    torch.manual_seed(seed)
    return make_network(name, channels=channels, size=size, classes=classes)


def on_meta(name, channels=3, size=(32, 32), classes=10):
    with torch.device("meta"):
        return make_network(name, channels=channels, size=size, classes=classes)


def some_images(channels=3, size=(16, 16), count=4):
    return torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(1))


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def products(network):
    """Count the multiply-adds of convolutions and linear layers for a 32×32 image."""
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    counts, aten = counter.get_flop_counts()["Global"], torch.ops.aten
    return sum(counts.get(kind, 0) for kind in (aten.convolution, aten.addmm, aten.mm)) // 2


def extras(network):
    """Count what thop counts in addition: two per value of a batch norm, one per bias added."""
    counts = []

    def count(module, _, values):
        normalises = isinstance(module, nn.BatchNorm2d)
        counts.append(values.numel() * (2 if normalises else module.bias is not None))

    for module in network.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    network.eval()(torch.empty(1, 3, 32, 32, device="meta"))
    return sum(counts)


def rounded_as(published, number):
    return f"{number:.{len(published.split('.')[1])}f}"


@pytest.mark.parametrize("name", [*NAMES, "wrn-28-20"])
def test_gives_logits_for_images_of_any_shape(name):
    for channels, size in enumerate(SIZES, start=1):
        logits = on_meta(name, channels, size, 2 * channels)(torch.empty(5, channels, *size, device="meta"))
        assert (logits.shape, logits.dtype) == ((5, 2 * channels), torch.float32)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name):
    """In double precision, so that rounding does not pass for a gradient; with running means, so that biases count."""
    network, images = fresh(name, 2, (16, 11), 3).double().eval(), some_images(2, (16, 11)).double()
    cross_entropy(network(images), torch.arange(4) % 3).backward()
    largest = {key: float(parameter.grad.abs().max()) for key, parameter in network.named_parameters()}
    assert all(1e-9 * max(largest.values()) < value < float("inf") for value in largest.values()), largest


@pytest.mark.parametrize("name", NAMES)
def test_every_pixel_reaches_the_logits(name):
    """A shortcut can be at any pixel: none is cut off at an edge, even if no side is a multiple of a stride."""
    size = (13, 35)
    network, images = fresh(name, size=size).eval(), some_images(size=size).requires_grad_()
    network(images).square().sum().backward()
    assert (images.grad.abs().amax((0, 1)) > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_learns_dark_from_bright(name):
    """Within a few steps, half the loss of guessing, which is log 2; a linear classifier without a bias takes more."""
    network, labels = fresh(name, size=(8, 8), classes=2), torch.arange(8) % 2
    images = some_images(size=(8, 8), count=8) + 2 * labels[:, None, None, None] - 1.5
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3, fused=True)

    def step():
        loss = cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    assert any(step() < 0.35 for _ in range(120 if name == "linear" else 12))


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_gives_the_network(name):
    def step(seed):
        network = fresh(name, seed=seed)
        logits = network(some_images())
        return [*network.state_dict().values(), logits]

    first, again, other = step(0), step(0), step(1)
    assert all(torch.equal(one, two) for one, two in zip(first, again))
    assert not torch.equal(first[-1], other[-1])


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_takes_each_image_alone_and_changes_nothing(name):
    network, images = fresh(name), some_images()
    network(images)
    before = {key: value.clone() for key, value in network.eval().state_dict().items()}
    logits = network(images)
    for image, alone in zip(images, logits):
        assert torch.allclose(network(image[None])[0], alone, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    # These two have neither batch norm nor dropout.
    assert torch.allclose(network.train()(images), logits, atol=1e-3) == (name in ("lenet-5", "linear"))


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_gives_the_same(name):
    network, images = fresh(name, size=(16, 24)), some_images(size=(16, 24))
    logits = network.eval()(images)
    network, images = network.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    assert torch.allclose(network(images), logits, rtol=1e-4, atol=1e-4)
    cross_entropy(network.train()(images), torch.arange(4)).backward()


@pytest.mark.parametrize("name", ["vgg-16", "wrn-28-2", "densenet-121"])
def test_convolutions_start_as_he_et_al_have_them(name):
    for module in fresh(name).modules():
        if isinstance(module, nn.Conv2d):
            expected = (2 / (module.out_channels * module.weight[0, 0].numel())) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.15)
            assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize("name", COUNTS)
def test_has_the_published_parameters(name):
    assert parameters(on_meta(name)) == COUNTS[name]


@pytest.mark.parametrize("name", WITH_BIASES)
def test_has_the_parameters_of_the_paper_but_for_the_biases(name):
    network, published = on_meta(name), WITH_BIASES[name]
    biases = sum(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d))
    assert rounded_as(published, (parameters(network) + biases) / 1e6) == published


def test_a_wider_network_is_larger():
    assert {f"wrn-28-{k}" for k in range(1, 21)} == {*WIDE}
    assert all(parameters(on_meta(narrow)) < parameters(on_meta(wide)) for narrow, wide in pairwise(WIDE))


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_has_the_published_multiply_adds(name):
    network, published = on_meta(name), MULTIPLY_ADDS[name]
    assert rounded_as(published, (products(network) + extras(network)) / 1e9) == published


@pytest.mark.parametrize("name", WITHOUT_ATTENTION)
def test_has_the_published_multiply_adds_without_attention(name):
    published = WITHOUT_ATTENTION[name]
    assert rounded_as(published, products(on_meta(name)) / 1e9) == published


@pytest.mark.parametrize("name", FEATURES)
def test_halves_the_size_as_often_as_published(name):
    assert on_meta(name).features(torch.empty(1, 3, 32, 32, device="meta")).shape[1:] == FEATURES[name]


def test_the_small_network_is_its_class():
    torch.manual_seed(0)
    expected = SmallNet(3, (16, 16), 10).state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in fresh("small").state_dict().items())


def test_an_unknown_network_is_refused():
    with pytest.raises(UsageError, match=r"unknown network 'alexnet': expected one of small, .*resnet-18"):
        make_network("alexnet", channels=3, size=(32, 32), classes=10)


@pytest.mark.parametrize("name", NAMES)
def test_too_small_an_image_is_refused(name):
    least = NETWORKS[name].min_side
    assert fresh(name, size=(least, least)).eval()(some_images(size=(least, least))).isfinite().all()
    with pytest.raises(UsageError, match=rf"{name}.* at least {least}×{least} pixels, got {least - 1}×32"):
        make_network(name, channels=3, size=(least - 1, 32), classes=10)


def test_resnets_start_with_the_default_weights_of_pytorch():
    """U(-b, b) with b = 1/√(fan in): a third of He's variance, from the other side of the layer."""
    torch.manual_seed(0)
    net = make_network("resnet-18", channels=3, size=(32, 32), classes=10)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        bound = (layer.in_channels * layer.kernel_size[0] ** 2) ** -0.5
        assert 0.9 * bound < layer.weight.abs().max() <= bound
    # As was measured on the authors' networks; He's weights have 87.7.
    assert abs(sum(float(layer.weight.square().sum()) for layer in layers) ** 0.5 - 40.0) < 0.5


def plainly(network):
    """Give the small network with ReLU before pooling, and nothing changed in place."""
    layers = []
    for layer in network.features:
        if isinstance(layer, nn.ReLU):
            # Before the layer above if that pools, otherwise after it.
            layers.insert(len(layers) - isinstance(layers[-1], nn.MaxPool2d), nn.ReLU())
        else:
            layers.append(layer)
    return nn.Sequential(*layers, network.classifier)


def plain_block(block, features):
    return torch.relu(block.path(features) + block.shortcut(features))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["small", "resnet-18"])
def test_what_saves_time_keeps_all_bits(name, precision, monkeypatch):
    """ReLU after pooling and sums in place: the same logits, and gradients of weights and images, after some steps."""
    torch.manual_seed(1)
    images, labels = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last), torch.arange(8)

    def trained(network, model):
        optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
        for _ in range(2):
            inputs = images.clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                logits = model(inputs)
            optimizer.zero_grad()
            cross_entropy(logits.float(), labels).backward()
            optimizer.step()
        return [logits, inputs.grad, *network.state_dict().values()]

    fast = fresh(name, size=(32, 32)).to(memory_format=torch.channels_last)
    slow = fresh(name, size=(32, 32)).to(memory_format=torch.channels_last)
    got = trained(fast, fast)
    monkeypatch.setattr(Residual, "forward", plain_block)
    expected = trained(slow, plainly(slow) if name == "small" else slow)
    assert all(torch.equal(*pair) for pair in zip(got, expected, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (3, 1), (1, 4), (2, 2), (3, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_gradients_of_narrow_images_are_written_everywhere(size, stride):
    """New memory holds NaN here; by stride 2, PyTorch's own convolution leaves some in the gradient of its weights."""
    torch.manual_seed(0)
    net, plain = convolution(3, 5, 3, stride), nn.Conv2d(3, 5, 3, stride, 1, bias=False)
    plain.load_state_dict(net.state_dict())
    images = torch.rand(4, 3, *size)
    assert torch.allclose(net(images), plain(images), atol=1e-6)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = net(images)
        made.float().square().sum().backward()
    finally:
        torch.use_deterministic_algorithms(before)
    plain(images).square().sum().backward()
    assert torch.allclose(net.weight.grad, plain.weight.grad, atol=0.2, rtol=0.05)
