"""D-VAE: the loss by loops, the recipe by a plain copy, and what it takes out of images."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.images import learnable, make_images
from torch import nn

import cifar10_s
from cifar10_s.benchmark.outcome import train_run
from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.run_spec import RunSpec
from cifar10_s.benchmark.strategies.d_vae import DVae, d_vae_loss, rate
from cifar10_s.benchmark.strategies.registry import STRATEGIES
from cifar10_s.benchmark.train import Run, train
from cifar10_s.errors import UsageError
from cifar10_s.nn.networks.disentangling_vae import DisentanglingVae, Split
from cifar10_s.nn.runtime import Runtime
from cifar10_s.nn.trainer import DivergedError

FLOAT32 = Runtime(torch.device("cpu"), bfloat16=False, max_chunk=20)
SHORT = Protocol(name="short-v1", network="small", epochs=2, batch=32, learning_rate=0.1)
TINY = DVae(epochs=2, batch=16, width=4, blocks=1, latent=5)


def purified(method, images, seed=0, runtime=FLOAT32):
    """Purify as a run does, the global generator seeded."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return method(runtime, images, np.random.default_rng(seed)).pixels


# --- the loss ---


def random_split(seed, scale=1.0):
    random = torch.Generator().manual_seed(seed)
    images, image = torch.rand(2, 3, 2, 5, 4, generator=random)
    perturbation = scale * (torch.rand(3, 2, 5, 4, generator=random) - 0.5)
    mean, log_variance = scale * torch.randn(2, 3, 6, 3, 2, generator=random)
    return images, Split(image, perturbation, mean, log_variance)


def slow_rate(mean, log_variance):
    """The divergence of N(m, v) from N(0, 1), ½ (m² + v - 1 - ln v), by loops."""
    count, channels, height, width = mean.shape
    total = 0.0
    for n in range(count):
        for i in range(height):
            for j in range(width):
                for c in range(channels):
                    m, v = float(mean[n, c, i, j]), math.exp(float(log_variance[n, c, i, j]))
                    total += 0.5 * (m * m + v - 1 - math.log(v))
    return total / (count * height * width)


def slow_loss(split, images, target, weight, energy):
    x, y, p = (part.double().flatten().tolist() for part in (images, split.image, split.perturbation))
    reconstruction = sum((b - a) ** 2 for a, b in zip(x, y)) / len(x)
    with_perturbation = sum((min(max(b + c, 0.0), 1.0) - a) ** 2 for a, b, c in zip(x, y, p)) / len(x)
    loss = reconstruction + with_perturbation + weight * max(slow_rate(split.mean, split.log_variance), target)
    return loss if energy is None else loss + max(sum(c * c for c in p) / len(p), energy)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("target", [0.001, 3.0, 1000.0])
@pytest.mark.parametrize("energy", [None, 0.002, 2.0])
def test_the_loss_is_that_of_loops(seed, target, energy):
    images, split = random_split(seed)
    got = float(d_vae_loss(split, images, rate_target=target, rate_weight=0.01, energy=energy))
    assert got == pytest.approx(slow_loss(split, images, target, 0.01, energy), rel=1e-5)
    assert float(rate(split.mean, split.log_variance)) == pytest.approx(
        slow_rate(split.mean, split.log_variance), rel=1e-5
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_rate_is_torch_s_divergence(seed):
    _, split = random_split(seed)
    of_latents = torch.distributions.Normal(split.mean, (split.log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(of_latents, torch.distributions.Normal(0.0, 1.0))
    assert torch.allclose(rate(split.mean, split.log_variance), divergence.sum(1).mean(), rtol=1e-5)


def test_what_is_below_its_target_is_not_pushed_further():
    images, split = random_split(0)
    leaves = [part.requires_grad_() for part in (split.mean, split.log_variance, split.perturbation)]

    def gradients(**settings):
        loss = d_vae_loss(split, images, **({"rate_target": 0.0, "rate_weight": 1.0, "energy": None} | settings))
        return torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)

    free = gradients(rate_target=1000.0)
    assert not free[0].any()
    assert not free[1].any()
    assert torch.allclose(gradients()[0], split.mean / (3 * 3 * 2))
    assert torch.equal(gradients(energy=1000.0)[2], free[2])
    pushed = gradients(energy=0.0)[2] - free[2]
    assert torch.allclose(pushed, 2 * split.perturbation / split.perturbation.numel(), atol=1e-7)


# --- the network ---


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (3, 5, 7), (4, 6, 9), (1, 1, 1), (2, 12, 3)])
@pytest.mark.parametrize("bfloat16", [False, True])
def test_the_network_splits_images_of_every_size(shape, bfloat16):
    torch.manual_seed(0)
    net = DisentanglingVae(shape[0], shape[1:], 7, width=6, blocks=1, latent=5)
    images, labels = torch.rand(3, *shape), torch.tensor([0, 6, 3])
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        split = net(images, labels)
    assert split.image.shape == split.perturbation.shape == images.shape
    assert split.mean.shape == split.log_variance.shape == (3, 5, (shape[1] + 1) // 2, (shape[2] + 1) // 2)
    parts = (split.image, split.perturbation, split.mean, split.log_variance)
    assert {part.dtype for part in parts} == {torch.float32}
    assert bool((split.image >= 0).all() & (split.image <= 1).all())


def test_the_class_decides_the_perturbation_alone():
    torch.manual_seed(0)
    net = DisentanglingVae(3, (8, 8), 4, width=8, latent=6).eval()
    images = torch.rand(5, 3, 8, 8)

    def split(label):
        torch.manual_seed(1)
        return net(images, torch.full((5,), label))

    one, again, other = split(1), split(1), split(2)
    assert torch.equal(one.perturbation, again.perturbation)
    assert torch.equal(one.image, other.image)
    assert torch.equal(one.mean, other.mean)
    assert (one.perturbation - other.perturbation).abs().mean() > 0.01


def test_latents_are_drawn_from_their_gaussians():
    torch.manual_seed(0)
    net, labels = DisentanglingVae(3, (4, 4), 2, width=4, latent=6).eval(), torch.zeros(4000, dtype=torch.int64)
    images, seen = torch.rand(1, 3, 4, 4).expand(4000, -1, -1, -1), []
    net.unpack.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        split = net(images, labels)
    mean, deviation = split.mean[0], (split.log_variance[0] / 2).exp()
    assert ((seen[0].mean(0) - mean).abs() / deviation).max() < 5 / math.sqrt(4000)
    assert ((seen[0].std(0) / deviation) - 1).abs().max() < 0.1
    assert not torch.equal(net(images[:4], labels[:4]).image, net(images[:4], labels[:4]).image)
    with torch.no_grad():
        net.log_variance.weight.zero_()
        net.log_variance.bias.fill_(-200)
    assert torch.equal(net(images[:4], labels[:4]).image, net(images[:4], labels[:4]).image)


def test_the_published_network():
    """The layers of the authors' code for 32×32 images; their parameters, counted by hand."""
    net = DisentanglingVae(3, (32, 32), 10)
    block = 2 * (64 * 64 * 9 + 128)
    encoder = 3 * 64 * 9 + 128 + 2 * block + 64 * 128 * 9 + 128 * 128 * 9 + 64 * 128 + 3 * 256
    latents = 2 * (128 * 256 + 256) + 256 * 128 + 128
    decoder = 128 * 64 * 16 + 64 + 64 * 64 * 9 + 64 + 64 * 32 * 9 + 32 + 32 * 3 * 9 + 3
    embedding = 10 * 128 * 16 * 16
    assert sum(weights.numel() for weights in net.parameters()) == encoder + latents + 2 * decoder + embedding
    method = STRATEGIES["d-vae"].purify
    assert (method.width, method.blocks, method.latent) == (64, 2, 256)
    assert (method.epochs, method.batch, method.learning_rate, method.clip) == (60, 128, 0.005, 5.0)
    assert (method.rate_targets, method.rate_weight, method.energy) == ((1.0, 3.0), 0.01, 0.002)
    # Epochs are counted from 0 there, and the energy is in the loss in those above 10.
    assert [epoch / 60 >= method.free for epoch in (10, 11)] == [False, True]


# --- the recipe ---


def plainly(method, images, seed, part):
    """The recipe step by step, with torch's own Adam, its loss written out; `part` images are purified at a time."""
    random, x = np.random.default_rng(seed), torch.tensor(images.pixels).permute(0, 3, 1, 2)
    labels, (count, channels, *size) = torch.tensor(images.labels), x.shape
    torch.manual_seed(seed)
    for number, target in enumerate(method.rate_targets):
        net = DisentanglingVae(channels, tuple(size), len(images.class_names), width=4, blocks=1, latent=5)
        optimizer, done = torch.optim.Adam(net.parameters(), lr=0.005), 0
        per_epoch = count // method.batch
        for _ in range(method.epochs):
            order = random.permutation(count)
            for start in range(0, per_epoch * method.batch, method.batch):
                rows = torch.tensor(order[start : start + method.batch])
                seen = x[rows].float() / 255
                split = net(seen, labels[rows])
                loss = ((split.image - seen) ** 2).mean()
                loss = loss + ((split.image + split.perturbation).clamp(0, 1) - seen).pow(2).mean()
                divergence = -0.5 * (1 + split.log_variance - split.mean**2 - split.log_variance.exp()).sum(1)
                loss = loss + 0.01 * max(divergence.mean(), torch.tensor(target))
                share = done / (method.epochs * per_epoch)
                if share >= 11 / 60:
                    loss = loss + max((split.perturbation**2).mean(), torch.tensor(0.002))
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                optimizer.param_groups[0]["lr"] = 0.005 * 0.5 * (1 + math.cos(math.pi * share))
                optimizer.step()
                done += 1
        net.eval()
        made = []
        with torch.no_grad():
            for seen, of_seen in zip(x.split(part), labels.split(part)):
                seen = seen.float() / 255
                seen = (seen - net(seen, of_seen).perturbation).clamp(0, 1)
                made.append(seen if number == 0 else net(seen, of_seen).image)
        x = (255 * torch.cat(made)).round().to(torch.uint8)
    return x.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("shape", [(8, 8, 3), (5, 7, 1)])
def test_the_recipe_is_the_plain_one(shape):
    images = make_images(3, 36, *shape)
    with torch.random.fork_rng():
        expected = plainly(TINY, images, 7, FLOAT32.chunk(images.pixels))
    off = np.abs(purified(TINY, images, 7).astype(int) - expected)
    assert off.max() <= 1
    assert (off > 0).mean() < 0.01


def waves(count=240, size=12, classes=3, seed=0):
    """Grey images of one slow wave each, whose classes differ in nothing."""
    images, random = make_images(seed, count, size, size, classes=classes), np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    down, along, phase = random.uniform(-3, 3, (3, count, 1, 1))
    levels = 128 + 70 * np.sin(phase + down * y + along * x)
    return images.with_pixels(np.repeat(levels[..., None], 3, 3).astype(np.uint8))


def learned():
    return replace(TINY, epochs=12, batch=8, width=16, blocks=0, latent=8)


def test_it_takes_out_stamped_pixels():
    clean = waves()
    poisoned = cifar10_s.search(clean, device="cpu").stamp(clean)
    stamped = (poisoned.pixels != clean.pixels).any(-1)
    made = purified(learned(), poisoned)
    before, after = (np.abs(pixels.astype(float) - clean.pixels).mean(-1) for pixels in (poisoned.pixels, made))
    assert before[stamped].mean() > 60
    assert after[stamped].mean() < before[stamped].mean() / 5
    assert after[~stamped].mean() < 14


def test_it_takes_out_the_noise_of_a_class():
    clean, random = waves(), np.random.default_rng(0)
    noise = 24 * random.choice([-1.0, 1.0], (3, 12, 12, 3))
    poisoned = clean.with_pixels((clean.pixels + noise[clean.labels]).clip(0, 255).astype(np.uint8))
    made = purified(learned(), poisoned)

    def left(pixels):
        """The share of a class's noise that is left in the mean of its images."""
        off = pixels.astype(float) - clean.pixels
        return np.array([(off[clean.labels == k].mean(0) * noise[k]).mean() / 24**2 for k in range(3)])

    assert left(poisoned.pixels).min() > 0.95
    assert np.abs(left(made)).max() < 0.15
    assert np.abs(made.astype(float) - clean.pixels).mean() < 14


# --- in a run ---


def test_a_run_is_decided_by_its_seed_and_leaves_the_global_generator():
    images, strategy = learnable(count=96), replace(STRATEGIES["d-vae-small"], purify=TINY)
    state = torch.get_rng_state()
    first, again, other = (
        list(train(Run(images, images, SHORT, strategy, "small", seed), FLOAT32)) for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(purified(TINY, images), purified(TINY, images))


def test_the_network_sees_what_was_purified(monkeypatch):
    images, seen = learnable(count=64), []
    put = Runtime.put
    monkeypatch.setattr(Runtime, "put", lambda self, *arrays: seen.append(arrays[0]) or put(self, *arrays))
    strategy = replace(STRATEGIES["d-vae-small"], prepare=lambda images, clean, random: images.take(np.arange(40)),
                       purify=TINY)  # fmt: skip
    list(train(Run(images, images, SHORT, strategy, "small", 0), FLOAT32))
    made, test = seen[-2:]
    assert len(made) == 40
    assert made.dtype == np.uint8
    assert not np.array_equal(made, images.pixels[:40])
    assert np.array_equal(test, images.pixels)


@pytest.mark.gpu
def test_a_gpu_repeats_its_bits():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    runtime, images = Runtime.on("cuda"), learnable(count=256)
    with runtime.deterministic():
        assert np.array_equal(purified(TINY, images, runtime=runtime), purified(TINY, images, runtime=runtime))


def test_a_single_image_is_refused():
    with pytest.raises(UsageError, match=r"^D-VAE: expected two or more images, .*, got 1$"):
        purified(TINY, make_images(count=1, classes=1))


def test_weights_that_are_not_finite_fail_the_run():
    images, broken = learnable(count=64), replace(TINY, learning_rate=math.inf)
    with pytest.raises(DivergedError, match="D-VAE"):
        purified(broken, images)
    run = Run(images, images, SHORT, replace(STRATEGIES["d-vae"], purify=broken), "small", 0)
    status, results = train_run(run, FLOAT32, lambda times: None)
    assert status == "failed"
    assert results["reason"] == "D-VAE: the weights of its network are not finite"


def test_settings_hold_every_number_and_those_of_others_stay():
    assert STRATEGIES["d-vae-small"].settings() == {
        "name": "d-vae-small", "draws": 1,
        "purify": {
            "is": "DVae", "epochs": 2, "batch": 32, "learning_rate": 0.005, "clip": 5.0, "rate_targets": [1.0, 3.0],
            "rate_weight": 0.01, "energy": 0.002, "free": 11 / 60, "width": 16, "blocks": 0, "latent": 32,
        },
    }  # fmt: skip
    with_purify = {name for name, strategy in STRATEGIES.items() if "purify" in strategy.settings()}
    assert with_purify == {"d-vae", "d-vae-small"}


def test_the_estimate_counts_its_epochs():
    spec = RunSpec("ops", STRATEGIES["d-vae"], PROTOCOLS["quick-v1"], "resnet-18", 0)
    assert spec.cost == 2 * 60 + 30


def test_a_grid_with_it(release, tmp_path, monkeypatch):
    """On the digits of the sample, grey and of 8×8, by the name of the strategy."""
    monkeypatch.setitem(PROTOCOLS, "cpu-v1", replace(SHORT, epochs=1))
    monkeypatch.setitem(STRATEGIES, "d-vae-small", replace(STRATEGIES["d-vae-small"], purify=replace(TINY, epochs=1)))
    options = {"configurations": ["ops"], "strategies": ["d-vae-small"], "device": "cpu"}
    records = cifar10_s.bench(release.folder, tmp_path / "records.jsonl", **options)
    assert [record["status"] for record in records] == ["done"]
    assert json.loads(json.dumps(records[0]["settings"]["strategy"])) == STRATEGIES["d-vae-small"].settings()
    monkeypatch.setattr(DVae, "__call__", lambda *_: pytest.fail("a recorded run is repeated"))
    again = cifar10_s.bench(release.folder, tmp_path / "records.jsonl", **options)
    assert [record.id for record in again] == [record.id for record in records]
