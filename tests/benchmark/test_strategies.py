"""Strategies and defences: one contract for all; each operation against a slow version of it or Pillow's."""

import copy
import io
import itertools
import json
import math
import pickle
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from support.images import make_images

import cifar10_s
from cifar10_s.benchmark.grid import bench
from cifar10_s.benchmark.protocols import PROTOCOLS, Protocol
from cifar10_s.benchmark.strategies.augmentations import CutMix, Cutout, Mixup, RandAugment, UEraser
from cifar10_s.benchmark.strategies.base import Strategy
from cifar10_s.benchmark.strategies.defences import (
    BitDepth,
    Filter,
    GaussianBlur,
    Grayscale,
    Jpeg,
    LowPass,
    Median,
    filter_in_chunks,
)
from cifar10_s.benchmark.strategies.dilution import Addition, Dilution
from cifar10_s.benchmark.strategies.projection import OrthogonalProjection, project_out
from cifar10_s.benchmark.strategies.randaugment import OPERATIONS, Limits, operate
from cifar10_s.benchmark.strategies.registry import STRATEGIES, find_strategy
from cifar10_s.benchmark.train import Run, train
from cifar10_s.common.records import run_id
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.nn.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
AUGMENTED = [name for name, strategy in STRATEGIES.items() if strategy.augment is not None]
PREPARED = [name for name, strategy in STRATEGIES.items() if strategy.prepare is not None]
BEFORE = [name for name, strategy in STRATEGIES.items() if strategy.before is not None]
PURIFIED = [name for name, strategy in STRATEGIES.items() if strategy.purify is not None]
RANDOM = [*AUGMENTED, *BEFORE, *PURIFIED, "orthogonal-projection", "dilution-100", "add-500"]
SHAPES = [(8, 8, 3), (5, 7, 1), (7, 4, 2), (3, 6, 4), (1, 1, 3), (2, 9, 1)]
QUICK = Protocol(name="quick-test", network="small", epochs=1, batch=16)


def rng(seed=0):
    return np.random.default_rng(seed)


def batch(shape, count=6, classes=4, seed=0):
    """A batch of integer levels, as a network sees it."""
    random = np.random.default_rng(seed)
    levels = torch.from_numpy(random.integers(0, 256, (count, *shape))).float()
    return levels, torch.eye(classes)[torch.from_numpy(random.integers(0, classes, count))]


def smooth_images(count=12, size=16, channels=3, seed=0):
    """Images that are not noise: each is the sum of a few random waves."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    pixels = np.empty((count, size, size, channels), np.uint8)
    for image in pixels:
        for channel in range(channels):
            waves = [np.sin(random.uniform(0, 9) * x + random.uniform(0, 9) * y + random.uniform(0, 6)) for _ in "abc"]
            image[..., channel] = np.interp(sum(waves), (-3, 3), (0, 255))
    images = make_images(seed, count, size, size, channels)
    return images.with_pixels(pixels)


# --- one contract for all ---


def test_the_table_holds_what_the_paper_and_the_field_need():
    assert all(name == strategy.name and strategy.summary for name, strategy in STRATEGIES.items())
    assert {"standard", "mixup", "cutout", "randaugment", "at", "at-mixup", "at-cutout", "at-randaugment"} <= set(
        STRATEGIES
    )
    for plain in ("mixup", "cutmix", "cutout", "randaugment"):
        both = STRATEGIES[f"at-{plain}"]
        assert (both.augment, both.adversary) == (STRATEGIES[plain].augment, STRATEGIES["at"].adversary)
    assert STRATEGIES["ueraser-max"].draws == 5


def changed(name, levels, targets, random):
    """A batch after what the strategy does to batches, without crop and flip."""
    images = make_images(0, 40, *levels.shape[1:], classes=targets.shape[1])
    strategy = STRATEGIES[name].fitted(images, random)
    return strategy.augmented(*strategy.changed_before(levels, targets, random), random)


def of_few(strategy):
    """The strategy, with at most five clean images if it takes any, and an epoch of each training before it."""
    if strategy.purify is not None:
        return replace(strategy, purify=replace(strategy.purify, epochs=1, width=4, blocks=1, latent=4))
    if strategy.pretrain is not None:
        return replace(strategy, pretrain=replace(strategy.pretrain, epochs=1))
    if not isinstance(strategy.prepare, Dilution):
        return strategy
    return replace(strategy, prepare=replace(strategy.prepare, count=min(5, strategy.prepare.count // 100)))


def defended(strategy, images, clean, random):
    """The images that a network is trained on."""
    prepared = strategy.prepared(images, clean if strategy.needs_clean else None, random)
    if strategy.purify is None:
        return prepared
    with torch.random.fork_rng():
        torch.manual_seed(int(random.integers(2**63)))
        return strategy.purify(Runtime.on("cpu"), prepared, random)


@pytest.mark.parametrize("name", [*AUGMENTED, *BEFORE])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [1, 6])
def test_every_augmentation_gives_a_batch(name, shape, count):
    levels, targets = batch(shape, count)
    before, state = (levels.clone(), targets.clone()), torch.get_rng_state()
    seen, wanted = changed(name, levels, targets, rng())
    assert (seen.shape, wanted.shape) == (levels.shape, targets.shape)
    assert (seen.dtype, wanted.dtype) == (torch.float32, torch.float32)
    assert seen.min() >= 0
    assert seen.max() <= 255
    assert wanted.min() >= 0
    assert torch.allclose(wanted.sum(1), torch.ones(count))
    assert torch.equal(levels, before[0])
    assert torch.equal(targets, before[1])
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.work
@pytest.mark.parametrize("name", [*PREPARED, *PURIFIED])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_defence_gives_images(name, shape):
    images = make_images(1, 9, shape[0], shape[1], shape[2])
    clean, before = make_images(2, 9, shape[0], shape[1], shape[2]), images.pixels.copy()
    clean = replace(clean, labels=images.labels)
    strategy = of_few(STRATEGIES[name])
    if name.startswith("jpeg-") and shape[2] not in (1, 3):
        with pytest.raises(UsageError, match="expected images of 1 or 3 channels"):
            strategy.prepared(images, None, rng())
        return
    prepared = defended(strategy, images, clean, rng())
    added = 5 if name == "add-500" else 0
    assert prepared.pixels.shape == (9 + added, *shape)
    assert prepared.pixels.dtype == np.uint8
    assert np.array_equal(prepared.labels[:9], images.labels)
    assert prepared.class_names == images.class_names
    assert np.array_equal(images.pixels, before)


def outcome(name, seed):
    strategy, images = STRATEGIES[name], smooth_images(120, 8)
    if strategy.prepare is None and strategy.purify is None:
        return changed(name, *batch((8, 8, 3), 12), rng(seed))[0].numpy()
    if name == "add-500" or name in PURIFIED:
        strategy = of_few(strategy)
    clean = replace(smooth_images(120, 8, seed=1), labels=images.labels)
    return defended(strategy, images, clean, rng(seed)).pixels


@pytest.mark.parametrize(
    "name",
    [
        *AUGMENTED,
        *BEFORE,
        *PURIFIED,
        *(name for name in PREPARED if name not in ("dilution-500", "dilution-1000", "dilution-5000")),
    ],
)
def test_randomness_depends_on_the_seed_alone(name):
    first = outcome(name, 0)
    assert np.array_equal(first, outcome(name, 0))
    assert np.array_equal(first, outcome(name, 1)) == (name not in RANDOM)


@pytest.mark.parametrize("name", ["mixup", "cutmix", "cutout", "randaugment", "randaugment-ops", "ueraser", "coin"])
def test_augmentations_do_something_to_most_batches(name):
    changed = [
        not torch.equal(
            STRATEGIES[name].augmented(*batch((8, 8, 3), seed=seed), rng(seed))[0], batch((8, 8, 3), seed=seed)[0]
        )
        for seed in range(20)
    ]
    assert sum(changed) >= 15


@pytest.mark.gpu
@pytest.mark.parametrize("name", [*AUGMENTED, *BEFORE])
def test_a_batch_is_the_same_on_a_gpu(name):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    levels, targets = batch((32, 32, 3), 64)
    here = changed(name, levels, targets, rng())
    there = changed(name, levels.cuda(), targets.cuda(), rng())
    off = (here[0] - there[0].cpu()).abs()
    # A level that lies between two whole ones may be rounded the other way.
    assert float((off > 1.01).float().mean()) < 0.01
    assert torch.allclose(here[1], there[1].cpu())


# --- augmentations ---


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 6), alpha=st.floats(0.2, 3))
def test_mixup_is_convex(seed, count, alpha):
    levels, targets = batch((3, 4, 2), count, seed=seed)
    mixed, wanted = Mixup(alpha=alpha)(levels, targets, rng(seed))
    random = rng(seed)
    share, other = random.beta(alpha, alpha), random.permutation(count)
    for i in range(count):
        assert np.allclose(mixed[i], share * levels[i] + (1 - share) * levels[other[i]], atol=1e-3)
        assert np.allclose(wanted[i], share * targets[i] + (1 - share) * targets[other[i]], atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 9), width=st.integers(1, 9))
def test_cutmix_shares_targets_by_area(seed, height, width):
    """Images of one colour each, classes of their own: what is seen of each is what its target says."""
    count = 5
    levels = 10.0 * torch.arange(count)[:, None, None, None].expand(count, height, width, 3)
    mixed, wanted = CutMix()(levels, torch.eye(count), rng(seed))
    for i in range(count):
        shares = [float((mixed[i] == 10 * k).float().mean()) for k in range(count)]
        assert np.allclose(wanted[i], shares, atol=1e-5)
        taken = np.argwhere((mixed[i, :, :, 0] != levels[i, :, :, 0]).numpy())
        if len(taken) > 0:
            # What was taken is a box.
            assert np.prod(np.ptp(taken, axis=0) + 1) == len(taken)


def test_cutmix_takes_the_place_it_fills():
    levels, targets = batch((9, 9, 3), 40)
    mixed, _ = CutMix()(levels, targets, rng(3))
    other = np.argmax([[(mixed[i] == levels[j]).sum() * (i != j) for j in range(40)] for i in range(40)], 1)
    assert all(((mixed[i] == levels[i]) | (mixed[i] == levels[other[i]])).all() for i in range(40))


def test_cutmix_s_box_follows_from_its_draw():
    """Against the paper's Algorithm A1 written out: side √(1 - λ), any centre, clipped."""
    count, height, width = 7, 32, 17
    levels = torch.arange(count).float()[:, None, None, None].expand(count, height, width, 1)
    for seed in range(40):
        mixed, _ = CutMix()(levels, torch.eye(count), rng(seed))
        random = rng(seed)
        side, other = math.sqrt(1 - random.beta(1, 1)), random.permutation(count)
        middle_y, middle_x = random.integers(height), random.integers(width)
        for y in range(height):
            for x in range(width):
                inside = all(
                    middle - int(size * side) // 2 <= place < middle - int(size * side) // 2 + int(size * side)
                    for place, middle, size in ((y, middle_y, height), (x, middle_x, width))
                )
                assert np.array_equal(mixed[:, y, x, 0], other if inside else np.arange(count))


@pytest.mark.parametrize(("shape", "hole"), [((32, 32, 3), (16, 16)), ((9, 6, 1), (4, 3)), ((1, 5, 2), (1, 2))])
def test_cutout_s_hole(shape, hole):
    count = 4000 if shape[0] == 9 else 300
    levels = torch.zeros(count, *shape)
    seen, targets = Cutout()(levels, torch.eye(3)[torch.zeros(count, dtype=int)], rng())
    assert set(np.unique(seen)) == {0.0, 127.5}
    assert torch.equal(targets, torch.eye(3)[torch.zeros(count, dtype=int)])
    centres = set()
    for image in seen.numpy():
        assert (image == image[..., :1]).all()
        rows, columns = (np.flatnonzero((image[..., 0] > 0).any(axis)) for axis in (1, 0))
        for along, size, length in zip((rows, columns), shape, hole):
            # Whole where it does not touch the border, else at least what is on its centre's side.
            assert np.array_equal(along, np.arange(along[0], along[-1] + 1))
            inside = along[0] > 0 and along[-1] < size - 1
            assert len(along) == length if inside else length - length // 2 <= len(along) <= length
        assert (image[np.ix_(rows, columns)] == 127.5).all()
        assert (image > 0).sum() == len(rows) * len(columns) * shape[2]
        centres.add((rows[-1], columns[-1]))
    if shape[0] == 9:
        # Every last row and column of a hole of 4 × 3, its centre anywhere in 9 × 6.
        assert centres == {(min(y + 1, 8), min(x + 1, 5)) for y in range(9) for x in range(6)}


def pillow(name, image, strength):
    """The same operation by Pillow, on an (H, W, C) uint8 image."""
    picture = Image.fromarray(image)
    limits = Limits()
    changed = {
        "identity": lambda: picture,
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "solarize": lambda: ImageOps.solarize(picture, 256 - abs(strength) * 256),
        "posterize": lambda: ImageOps.posterize(picture, 8 - round(abs(strength) * 4)),
        "color": lambda: ImageEnhance.Color(picture).enhance(1 + strength * limits.blend),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(1 + strength * limits.blend),
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(1 + strength * limits.blend),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(1 + strength * limits.blend),
    }
    return np.asarray(changed[name]()).astype(int)


WARPS = {
    # Where a pixel (row, column) of the result comes from, for a strength and a size.
    "rotate": lambda s, h, w: lambda y, x: turned(math.radians(30 * s), y, x, (h - 1) / 2, (w - 1) / 2),
    "shear-x": lambda s, h, w: lambda y, x: (y, x + 0.3 * s * y),
    "shear-y": lambda s, h, w: lambda y, x: (y + 0.3 * s * x, x),
    "translate-x": lambda s, h, w: lambda y, x: (y, x + round(s * 150 / 331 * w)),
    "translate-y": lambda s, h, w: lambda y, x: (y + round(s * 150 / 331 * h), x),
}


def turned(angle, y, x, middle_y, middle_x):
    dy, dx = y - middle_y, x - middle_x
    return (
        middle_y + math.sin(angle) * dx + math.cos(angle) * dy,
        middle_x + math.cos(angle) * dx - math.sin(angle) * dy,
    )


def done(name, pixels, strengths):
    """Our operation on (B, H, W, C) uint8 images."""
    drawn = np.full(len(pixels), list(OPERATIONS).index(name))
    return operate(torch.from_numpy(pixels).float(), drawn, np.array(strengths), Limits()).numpy()


STRENGTHS = [-1.0, -0.7, -0.3, 0.0, 0.1, 0.3, 0.6, 1.0]


def test_every_operation_has_an_oracle():
    assert {*WARPS} | {
        "identity", "autocontrast", "equalize", "solarize", "posterize", "color", "contrast", "brightness", "sharpness",
    } == {*OPERATIONS}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in WARPS])
@pytest.mark.parametrize("seed", range(3))
def test_operations_against_pillow(name, seed):
    pixels = np.concatenate([smooth_images(8, 11, seed=seed).pixels, make_images(seed, 8, 11, 11).pixels])
    pixels[3] = pixels[3] // 4 + 90
    pixels[5] = 77
    strengths = STRENGTHS * 2
    # Pillow cuts fractions off after each of its steps.
    allowed = {"identity": 0, "equalize": 0, "solarize": 0, "posterize": 0, "sharpness": 2}.get(name, 1)
    for ours, image, strength in zip(done(name, pixels, strengths), pixels, strengths):
        assert np.abs(ours - pillow(name, image, strength)).max() <= allowed


@pytest.mark.parametrize("name", ["equalize", "sharpness"])
@pytest.mark.parametrize("shape", [(32, 32, 3), (9, 17, 1), (2, 5, 3)])
def test_levels_are_exactly_kornia_s(name, shape):
    """The first records were made with kornia's operations."""
    enhance = pytest.importorskip("kornia").enhance
    pixels = np.concatenate([make_images(0, 100, *shape[:2], shape[2]).pixels, np.full((1, *shape), 9, np.uint8)])
    pixels[::2] //= 3
    strengths = np.resize(STRENGTHS, len(pixels))
    shares = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    if name == "equalize":
        theirs = enhance.equalize(shares)
    elif min(shape[:2]) < 3:
        theirs = shares
    else:
        theirs = enhance.sharpness(shares, 1 + 0.9 * torch.from_numpy(strengths).float())
    assert np.array_equal(done(name, pixels, strengths), (255 * theirs).round().permute(0, 2, 3, 1))


@pytest.mark.parametrize("name", WARPS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 5), (1, 6)])
def test_warps_against_loops(name, height, width):
    pixels = make_images(0, 8, height, width).pixels
    result, checked = done(name, pixels, STRENGTHS), 0
    for i, strength in enumerate(STRENGTHS):
        source = WARPS[name](strength, height, width)
        for y in range(height):
            for x in range(width):
                from_y, from_x = source(y, x)
                if any(abs(place - math.floor(place) - 0.5) < 1e-3 for place in (from_y, from_x)):
                    continue  # between two pixels: either is the nearest
                row, column = round(from_y), round(from_x)
                inside = 0 <= row < height and 0 <= column < width
                assert np.array_equal(result[i, y, x], pixels[i, row, column] if inside else [0, 0, 0])
                checked += 1
    assert checked > 0.7 * 8 * height * width


def test_strength_0_changes_nothing():
    pixels = make_images(0, 4, 9, 8).pixels
    for name in set(OPERATIONS) - {"autocontrast", "equalize"}:
        assert np.array_equal(done(name, pixels, [0.0] * 4), pixels), name


def test_each_image_has_its_own_operation_and_strength():
    pixels = smooth_images(28, 8).pixels
    drawn, strengths = np.arange(28) % 14, np.linspace(-1, 1, 28)
    together = operate(torch.from_numpy(pixels).float(), drawn, strengths, Limits())
    for i, name in enumerate([*OPERATIONS, *OPERATIONS]):
        assert np.array_equal(together[i], done(name, pixels[i : i + 1], strengths[i : i + 1])[0])


def test_randaugment_draws_all_operations_for_each_image(monkeypatch):
    seen = []

    def note(levels, drawn, strengths, limits):
        seen.append((drawn, strengths))
        return levels

    monkeypatch.setattr("cifar10_s.benchmark.strategies.augmentations.operate", note)
    RandAugment()(*batch((4, 4, 3), 2000), rng())
    assert len(seen) == 2
    for drawn, strengths in seen:
        counts = np.bincount(drawn, minlength=14)
        assert len(counts) == 14
        assert np.abs(counts - 2000 / 14).max() < 60
        assert set(np.abs(strengths)) == {0.3}
        assert abs((strengths > 0).mean() - 0.5) < 0.05


def test_ueraser_s_parts(monkeypatch):
    levels, targets = batch((16, 16, 3), 200)
    noted = []

    def note(levels, drawn, strengths, limits):
        noted.append((levels, strengths))
        return levels

    monkeypatch.setattr("cifar10_s.benchmark.strategies.augmentations.operate", note)
    UEraser(shuffle=0)(torch.full_like(levels, 127.5), targets, rng())
    grey, strengths = noted[0]
    # The plasmas brighten and darken, and hardly two pixels alike; magnitudes are drawn from 0 to 30.
    assert 100 < float(grey.mean()) < 155
    assert float(grey.std((1, 2, 3)).min()) > 5
    assert set(np.round(np.abs(strengths) * 30)) == set(range(31))
    plain = UEraser(intensity=(0, 0), contrast=0, shuffle=0)(levels, targets, rng())[0]
    assert torch.equal(plain, torch.full_like(levels, 127.5))


def test_ueraser_shuffles_the_channels_of_half_the_images():
    levels = torch.tensor([10.0, 20.0, 30.0, 40.0]).expand(3000, 2, 2, 4)
    shuffled = UEraser()._shuffled(levels, rng())
    assert torch.equal(shuffled.sort(3).values, levels)
    assert torch.equal(shuffled, shuffled[:, :1, :1].expand_as(shuffled))
    # One order in 24 changes nothing.
    assert abs(float((shuffled[:, 0, 0] == levels[:, 0, 0]).all(1).float().mean()) - (0.5 + 0.5 / 24)) < 0.04
    assert torch.equal(UEraser(shuffle=0)._shuffled(levels, rng()), levels)


def test_the_plasma_is_rough_as_asked_and_of_its_range():
    levels = torch.zeros(64, 17, 17, 3)
    smooth, rough = (UEraser(roughness=(r, r))._plasma(levels, rng()) for r in (0.1, 0.9))
    for plasma in (smooth, rough):
        assert plasma.shape == levels.shape
        assert 0 <= plasma.min() < plasma.max() <= 1
        assert abs(float(plasma.mean()) - 0.5) < 0.02
    assert not torch.equal(smooth[..., 0], smooth[..., 1])
    jumps = [float(plasma.diff(dim=1).abs().mean()) for plasma in (smooth, rough)]
    assert jumps[0] < 0.6 * jumps[1]


# --- defences ---


def test_grayscale():
    images = make_images(0, 20, 6, 5)
    grey = Grayscale()(images, None, rng()).pixels
    assert (grey == grey[..., :1]).all()
    exact = (images.pixels.astype(int) @ [299, 587, 114]) / 1000
    assert np.abs(grey[..., 0] - exact).max() <= 0.5 + 1e-9
    pictures = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images.pixels])
    assert np.abs(grey[..., 0].astype(int) - pictures).max() <= 1
    of_one = make_images(0, 20, 6, 5, channels=1)
    assert np.array_equal(Grayscale()(of_one, None, rng()).pixels, of_one.pixels)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_pillow_s(channels):
    images = smooth_images(6, 24, channels)
    result = Jpeg(quality=10)(images, None, rng()).pixels
    for ours, image in zip(result, images.pixels):
        file = io.BytesIO()
        Image.fromarray(image if channels == 3 else image[..., 0]).save(file, "JPEG", quality=10)
        assert np.array_equal(ours, np.asarray(Image.open(file)).reshape(24, 24, channels))
    off = [np.abs(Jpeg(quality=q)(images, None, rng()).pixels - images.pixels.astype(int)).mean() for q in (10, 95)]
    assert off[0] > 2 * off[1] > 0


@pytest.mark.parametrize("bits", range(1, 9))
def test_bit_depth_keeps_the_upper_bits(bits):
    images = make_images(0, 60, 6, 6)
    result = BitDepth(bits=bits)(images, None, rng()).pixels
    step = 2 ** (8 - bits)
    assert np.array_equal(result, images.pixels // step * step)
    assert len(np.unique(result)) == 2**bits


@pytest.mark.parametrize("shape", [(6, 5, 3), (1, 4, 1), (2, 2, 2)])
def test_window_filters_against_loops(shape):
    height, width, channels = shape
    images = make_images(3, 4, height, width, channels)
    median = Median()(images, None, rng()).pixels
    blurred = GaussianBlur()(images, None, rng()).pixels
    weights = np.exp([[-(dy * dy + dx * dx) / (2 * 0.8**2) for dx in (-1, 0, 1)] for dy in (-1, 0, 1)])
    for i, image in enumerate(images.pixels):
        for y in range(height):
            for x in range(width):
                rows = [min(max(y + dy, 0), height - 1) for dy in (-1, 0, 1)]
                columns = [min(max(x + dx, 0), width - 1) for dx in (-1, 0, 1)]
                window = image[np.ix_(rows, columns)].astype(float)
                for channel in range(channels):
                    values = window[..., channel]
                    assert median[i, y, x, channel] == sorted(values.ravel())[4]
                    mean = (values * weights).sum() / weights.sum()
                    assert abs(blurred[i, y, x, channel] - mean) <= 0.5 + 1e-3


def waves(size):
    """The basis of the discrete cosine transform (DCT-II, orthonormal), by its formula."""
    basis = [[math.cos(math.pi * k * (2 * n + 1) / (2 * size)) for n in range(size)] for k in range(size)]
    return [[wave * math.sqrt((1 if k == 0 else 2) / size) for wave in row] for k, row in enumerate(basis)]


@pytest.mark.parametrize(("shape", "kept"), [((10, 7, 3), (3, 2)), ((4, 3, 1), (1, 1)), ((1, 6, 2), (1, 1))])
def test_low_pass_against_loops(shape, kept):
    height, width, channels = shape
    images = make_images(3, 3, height, width, channels)
    ours = LowPass()(images, None, rng()).pixels
    for i, channel in itertools.product(range(3), range(channels)):
        image, result = images.pixels[i, ..., channel].astype(float), np.zeros((height, width))
        for row in waves(height)[: kept[0]]:
            for column in waves(width)[: kept[1]]:
                wave = np.outer(row, column)
                result += (image * wave).sum() * wave
        assert np.abs(ours[i, ..., channel] - result.clip(0, 255)).max() <= 0.5 + 1e-3


def test_low_pass_keeps_what_is_flat_and_drops_a_pixel():
    """Once more changes nothing; one pixel, as OPS has it, becomes a blur; everything kept is the image itself."""
    flat = make_images(0, 4, 32, 32).with_pixels(np.full((4, 32, 32, 3), 77, np.uint8))
    assert np.array_equal(LowPass()(flat, None, rng()).pixels, flat.pixels)
    stamped = flat.pixels.copy()
    stamped[:, 16, 16] = 255
    smoothed = LowPass()(flat.with_pixels(stamped), None, rng()).pixels.astype(int)
    assert np.abs(smoothed - 77).max() < 20
    images = smooth_images(4, 16)
    images = images.with_pixels(images.pixels // 2 + np.uint8(64))
    assert np.array_equal(LowPass(share=1.0)(images, None, rng()).pixels, images.pixels)
    twice = LowPass()(LowPass()(images, None, rng()), None, rng()).pixels.astype(int)
    assert np.abs(twice - LowPass()(images, None, rng()).pixels).max() <= 2


def test_the_blur_of_published_code_changes_nothing():
    """As the docstring of `GaussianBlur` states."""
    images = make_images(0, 10, 8, 8)
    assert np.array_equal(GaussianBlur(deviation=0.1)(images, None, rng()).pixels, images.pixels)


def linear_noise(count=600, seed=0):
    """Images of levels near the middle, with a constant pattern per class, as LSP's noise has."""
    random = np.random.default_rng(seed)
    images = make_images(seed, count, 8, 8, classes=4)
    patterns = random.choice((-12, 12), (4, 8, 8, 3))
    return images.with_pixels(
        (random.integers(100, 156, images.pixels.shape) + patterns[images.labels]).astype(np.uint8)
    )


def linear_accuracy(features, labels, classes=4):
    """The training accuracy of a least-squares classifier on features."""
    features = np.column_stack([features, np.ones(len(features))])
    weights = np.linalg.lstsq(features, np.eye(classes)[labels], rcond=None)[0]
    return float(((features @ weights).argmax(1) == labels).mean())


def test_projection_takes_the_span_out():
    images = linear_noise()
    projection = OrthogonalProjection()
    basis = projection.basis(images, rng())
    assert basis.shape == (192, 4)
    assert np.allclose(basis.T @ basis, np.eye(4), atol=1e-5)
    flat = images.pixels.reshape(len(images), -1).astype(float)
    result = projection(images, None, rng()).pixels.reshape(len(images), -1).astype(float)
    exact = flat - flat @ basis @ basis.T
    assert np.abs(result - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-2
    # No level of these images was clipped: what is left along Q is due to rounding.
    kept = (exact >= 0).all(1) & (exact <= 255).all(1)
    assert kept.mean() > 0.5
    assert (np.abs(result[kept] @ basis) <= 0.5 * np.abs(basis).sum(0) + 0.1).all()
    assert np.abs(flat @ basis).max(0).min() > 10 * np.abs(result[kept] @ basis).max()
    # In the span of the classifier's weights, the classes can be told apart before, but not after.
    assert linear_accuracy(flat @ basis, images.labels) > 0.9
    assert linear_accuracy(result[kept] @ basis, images.labels[kept]) < 0.45


def test_projection_learns_as_torch_s_own_sgd():
    images, settings_ = linear_noise(100), OrthogonalProjection(epochs=3, batch=32, milestones=(1 / 3,))
    random = rng(5)
    layer = torch.nn.Linear(192, 4, bias=False)
    layer.weight.data = torch.from_numpy(random.uniform(-1 / 192**0.5, 1 / 192**0.5, (4, 192)).astype(np.float32))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for epoch in range(3):
        optimizer.param_groups[0]["lr"] = [0.1, 0.01, 0.01][epoch]
        for index in torch.split(torch.from_numpy(random.permutation(100)), 32):
            seen = torch.from_numpy(images.pixels.reshape(100, -1))[index].float() / 255
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(seen), torch.from_numpy(images.labels)[index]).backward()
            optimizer.step()
    assert np.allclose(settings_._classifier(images, rng(5)), layer.weight.detach(), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30))
def test_dilution_replaces_exactly_its_count(seed, count):
    images = make_images(0, 30)
    clean = images.with_pixels(255 - images.pixels)
    diluted = Dilution(count=count)(images, clean, rng(seed)).pixels
    replaced = np.flatnonzero((diluted != images.pixels).any((1, 2, 3)))
    assert len(replaced) == count
    assert np.array_equal(replaced, Dilution(count=count).chosen(30, rng(seed)))
    assert np.array_equal(diluted[replaced], clean.pixels[replaced])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30))
def test_addition_keeps_all_images(seed, count):
    images = make_images(0, 30)
    clean = images.with_pixels(255 - images.pixels)
    added = Addition(count=count)(images, clean, rng(seed))
    chosen = Addition(count=count).chosen(30, rng(seed))
    assert len(set(chosen)) == count
    assert np.array_equal(added.pixels, np.concatenate([images.pixels, clean.pixels[chosen]]))
    assert np.array_equal(added.labels, np.concatenate([images.labels, images.labels[chosen]]))
    with pytest.raises(UsageError, match="needs the clean images"):
        Addition(count=count)(images, None, rng(seed))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("add-250", {"is": "Addition", "count": 250}),
        ("jpeg-1", {"is": "Jpeg", "quality": 1}),
        ("jpeg-85", {"is": "Jpeg", "quality": 85}),
        ("jpeg-95", {"is": "Jpeg", "quality": 95}),
    ],
)
def test_numbered_strategies(name, part):
    assert name not in STRATEGIES
    assert find_strategy(name).settings() == {"name": name, "prepare": part, "draws": 1}


@pytest.mark.parametrize("name", ["jpeg-0", "jpeg-96", "jpeg-100", "jpeg-010", "jpeg-٣", "add-0", "add-", "add-x"])
def test_names_without_such_a_number(name):
    with pytest.raises(
        UsageError, match=f"unknown strategy '{name}'.*: expected .*, jpeg-Q for any Q from 1 to 95, your own"
    ):
        find_strategy(name)


def test_any_dilution_has_a_name():
    assert find_strategy("dilution-250").settings() == {
        "name": "dilution-250", "prepare": {"is": "Dilution", "count": 250}, "draws": 1,
    }  # fmt: skip
    assert find_strategy("dilution-250").needs_clean
    assert find_strategy("dilution-500") is STRATEGIES["dilution-500"]
    for name in ("dilution-0", "dilution-", "dilution--1", "dilution-010", "dilution-x", "dilution-1.5", "dilution-٣"):
        with pytest.raises(
            UsageError, match=f"unknown strategy '{name}'.*: expected .*, dilution-K for any K from 1, add-K"
        ):
            find_strategy(name)


def test_dilution_s_errors():
    images = make_images(0, 30)
    for clean, reason in (
        (None, "needs the clean images"),
        (make_images(0, 20), "from one release"),
        (replace(images, labels=(images.labels + 1) % 3), "from one release"),
    ):
        with pytest.raises(UsageError, match=reason):
            Dilution(count=3)(images, clean, rng())
    with pytest.raises(UsageError, match="at most the 30 images there are, got 31"):
        Dilution(count=31)(images, images, rng())


def test_work_in_chunks_changes_nothing():
    images, projection = smooth_images(30, 9), STRATEGIES["orthogonal-projection"].prepare
    changes = {
        name: STRATEGIES[name].prepare.filter for name in PREPARED if isinstance(STRATEGIES[name].prepare, Filter)
    }
    changes["orthogonal-projection"] = partial(project_out, projection.basis(images, rng()))
    assert changes.keys() == {name for name in PREPARED if not name.startswith(("dilution", "add", "pixel-audit"))}
    for name, change in changes.items():
        whole = STRATEGIES[name].prepared(images, None, rng()).pixels
        in_chunks = filter_in_chunks(images, change, chunk_values=700).pixels
        # The last bits of a matrix product depend on its number of rows.
        assert np.abs(in_chunks.astype(int) - whole).max() <= (name == "orthogonal-projection"), name


# --- settings ---


def test_settings_are_json_and_tell_strategies_apart():
    texts = [json.dumps(strategy.settings(), allow_nan=False) for strategy in STRATEGIES.values()]
    assert len(set(texts)) == len(texts)
    for strategy in STRATEGIES.values():
        assert json.loads(json.dumps(strategy.settings())) == strategy.settings()


def test_settings_hold_every_number():
    record = STRATEGIES["at-randaugment"].settings()
    assert record["augment"] == {
        "is": "RandAugment", "operations": 2, "magnitude": 9.0, "of": 30.0,
        "limits": {
            "is": "Limits", "rotate": 30.0, "shear": 0.3, "translate": 150 / 331, "blend": 0.9, "posterize": 4,
            "solarize": 256,
        },
    }  # fmt: skip
    assert record["adversary"] == {"is": "Adversary", "epsilon": 8.0, "step": 2.0, "steps": 10}
    assert STRATEGIES["dilution-500"].settings() == {
        "name": "dilution-500", "prepare": {"is": "Dilution", "count": 500}, "draws": 1,
    }  # fmt: skip
    assert STRATEGIES["ueraser-max"].settings()["augment"]["roughness"] == [0.3, 0.7]


def test_what_was_recorded_before_stays_done():
    """Run ids depend on these: another word in them would repeat published runs."""
    assert run_id(STRATEGIES["standard"].settings()) == run_id({"name": "standard", "draws": 1})
    adversary = {"is": "Adversary", "epsilon": 8.0, "step": 2.0, "steps": 10}
    assert STRATEGIES["at"].settings() == {"name": "at", "draws": 1, "adversary": adversary}


@dataclass(frozen=True)
class Odd:
    """What users may put into dataclasses."""

    number: object
    table: object
    function: object

    def __call__(self, levels, targets, random):
        return levels, targets


def test_settings_of_a_user_s_own():
    odd = Odd(np.float32(0.5), {"a": (1, None, math.inf)}, partial(print))
    record = Strategy(name="own", summary="", augment=odd).settings()["augment"]
    assert record == {
        "is": "Odd", "number": 0.5, "table": {"a": [1, None, "inf"]}, "function": "functools:partial",
    }  # fmt: skip
    assert Strategy(name="own", summary="", augment=flipped).settings()["augment"] == f"{__name__}:flipped"


# --- a user's own ---


def flipped(levels, targets, random):
    return levels.flip(2), targets


OWN = Strategy(name="own", summary="a test's", augment=flipped, draws=2)
NUMBER = 3


def test_a_user_s_own_strategy_is_found_by_its_path():
    assert find_strategy("at") is STRATEGIES["at"]
    assert find_strategy(f"{__name__}:OWN") == replace(OWN, name=f"{__name__}:OWN")
    own = find_strategy(f"{__name__}:flipped")
    assert (own.name, own.augment) == (f"{__name__}:flipped", flipped)
    assert own.settings() == {"name": f"{__name__}:flipped", "augment": f"{__name__}:flipped", "draws": 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("adversarial", "expected one of standard, .*, your own as package.module:name"),
        ("own:", "unknown strategy"),
        (":own", "unknown strategy"),
        ("no.such.module:own", "does not import .ModuleNotFoundError"),
        (".relative:own", "does not import .TypeError"),
        (f"{__name__}:absent", "test_strategies defines no 'absent'"),
        ("sys:absent", "sys defines no 'absent'"),
        (f"{__name__}:NUMBER", "expected a Strategy or a function .*, got int"),
        (f"{__name__}:Odd", "got the class Odd"),
    ],
)
def test_what_is_no_strategy_gets_one_line(name, reason):
    with pytest.raises(UsageError, match=reason) as caught:
        find_strategy(name)
    assert "\n" not in str(caught.value)


def test_modules_of_the_current_folder_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "of_this_folder.py").write_text("def same(levels, targets, random):\n    return levels, targets\n")
    (tmp_path / "broken_here.py").write_text("1 / 0\n")
    assert find_strategy("of_this_folder:same").augment(1, 2, None) == (1, 2)
    with pytest.raises(UsageError, match="ZeroDivisionError: division by zero"):
        find_strategy("broken_here:same")


def test_a_strategy_that_breaks_its_contract_is_refused():
    levels, targets = batch((4, 4, 3))
    images = make_images()
    for wrong, got in (
        (lambda *_: levels, "got Tensor of shape .6, 4, 4, 3."),
        (lambda *_: (levels, None), "got .Tensor of shape .6, 4, 4, 3., NoneType."),
        (lambda *_: (levels[:3], targets), "got .Tensor of shape .3, 4, 4, 3., Tensor of shape .6, 4.."),
        (lambda *_: None, "got NoneType"),
        (lambda *_: (levels.numpy(), targets.numpy()), "torch tensors .*, got .ndarray of shape .6, 4, 4, 3., nd"),
        (lambda *_: (levels, targets.long()), "targets as torch.float32 probabilities from `augment`, got torch.int64"),
    ):
        with pytest.raises(UsageError, match=got):
            Strategy(name="wrong", summary="", augment=wrong).augmented(levels, targets, rng())
    for wrong, got in (
        (lambda *_: images.pixels, r"shape \(N, 5, 4, 3\) from `prepare`, got ndarray of shape \(40, 5, 4, 3\)"),
        (lambda *_: make_images(height=9), r"got ndarray of shape \(40, 9, 4, 3\)"),
        (lambda *_: make_images(classes=4), r"same classes .*, class 0, class 1, class 2, got class 0, .* class 3"),
        (lambda *_: None, "got NoneType"),
    ):
        with pytest.raises(UsageError, match=got):
            Strategy(name="wrong", summary="", prepare=wrong).prepared(images, None, rng())
    with pytest.raises(UsageError, match="draws: expected 1 or more, got 0"):
        Strategy(name="wrong", summary="", draws=0)


def misspelt(levels, targets, random):
    return levels, {}["targets\n"]


def test_what_a_user_s_function_raises_is_one_line():
    strategy = find_strategy(f"{__name__}:misspelt")
    with pytest.raises(UsageError) as caught:
        strategy.augmented(*batch((4, 4, 3)), rng())
    line = misspelt.__code__.co_firstlineno + 1
    assert str(caught.value) == (
        f"strategy {strategy.name!r}: `augment` raised KeyError: 'targets\\n' ({__file__}, line {line}): expected a "
        "function (levels, targets, random) → (levels, targets)"
    )
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(UsageError, match=r"'os.path:join': `augment` raised TypeError: .*: expected a function"):
        find_strategy("os.path:join").augmented(*batch((4, 4, 3)), rng())
    few = Strategy(name="few", summary="", prepare=lambda images: images)
    with pytest.raises(UsageError, match=r"TypeError: .*expected a function \(images, clean, random\) → images"):
        few.prepared(make_images(), None, rng())


@pytest.mark.parametrize("error", [SourceError("ours"), MemoryError(), torch.OutOfMemoryError(), KeyboardInterrupt()])
def test_what_is_not_the_user_s_mistake_passes(error):
    def raises(*_):
        raise error

    with pytest.raises(type(error)) as caught:
        Strategy(name="own", summary="", augment=raises).augmented(*batch((4, 4, 3)), rng())
    assert caught.value is error


def test_a_batch_keeps_its_type():
    """Torch turns NumPy's default floats into float64, which no network takes."""
    levels, targets = batch((4, 4, 3))
    own = Strategy(name="own", summary="", augment=lambda *_: (levels.byte(), targets.double()))
    assert [part.dtype for part in own.augmented(levels, targets, rng())] == [torch.float32] * 2


@pytest.mark.parametrize("change", [torch.neg, lambda targets: 2 * targets, lambda targets: targets * math.nan])
def test_targets_that_are_no_probabilities_stop_the_run(change):
    images = smooth_images(64, 8)
    own = Strategy(name="own", summary="", augment=lambda levels, targets, random: (levels, change(targets)))
    with pytest.raises(UsageError, match=r"'own': expected targets .* probabilities, none below 0 and with sum 1 per"):
        next(train(Run(images, images, QUICK, own, "small", 0), Runtime.on("cpu")))


def test_without_kornia_one_line_says_so(monkeypatch):
    for module in [name for name in sys.modules if name.split(".")[0] == "kornia"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "kornia", None)
    for name in AUGMENTED:
        STRATEGIES[name].augmented(*batch((8, 8, 3), 60), rng())
    for name in ("median-3", "gaussian-blur-3"):
        with pytest.raises(UsageError, match=r"^kornia is needed for this strategy, .*'cifar10-s\[bench\]'$"):
            STRATEGIES[name].prepared(make_images(), None, rng())


# --- in training ---


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_trains(name):
    images, strategy = smooth_images(64, 8), of_few(STRATEGIES[name])
    clean = images if strategy.needs_clean else None
    run = Run(images, smooth_images(20, 8, seed=2), QUICK, strategy, "small", 0, clean)
    (result,) = train(run, Runtime.on("cpu"))
    assert ("robust_accuracy" in result) == (strategy.adversary is not None)
    assert all(0 <= value <= 100 for value in result.values())


def test_a_grid_of_strategies(release, tmp_path, monkeypatch):
    """Dilution gets the clean images, and their digest is part of the run's id."""
    monkeypatch.setitem(PROTOCOLS, "cpu-v1", QUICK)
    others = ["add-5", "dfr", "at-mixup-ops", "rsk-low-pass", "orthogonal-projection-strong"]
    names = ["dilution-100", f"{__name__}:OWN", *others]
    records = bench(release.folder, tmp_path / "records.jsonl", configurations=["ops"], strategies=names, device="cpu")
    diluted, own, *_ = settings_of = [record["settings"] for record in records]
    assert [one["strategy"]["name"] for one in settings_of if "clean_sha256" in one] == ["dilution-100", "add-5", "dfr"]
    assert diluted["clean_sha256"] == release.manifest.configurations["clean"].pixels_sha256
    assert "clean_sha256" not in own
    assert own["strategy"]["name"] == f"{__name__}:OWN"
    assert [record["status"] for record in records] == ["done"] * len(names)


def test_dilution_of_a_release_without_clean_images(release, tmp_path, monkeypatch):
    from cifar10_s.release.reader import Release

    other = Release(release.folder)
    del other.configurations["clean"]
    monkeypatch.setattr("cifar10_s.benchmark.grid.Release", lambda dataset: other)
    with pytest.raises(UsageError, match=r"'dilution-500' needs the configuration 'clean', which .* does not hold"):
        bench(release.folder, tmp_path / "records.jsonl", strategies=["dilution-500"], device="cpu")


@pytest.mark.work
def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(PROTOCOLS, "cpu-v1", QUICK)
    monkeypatch.syspath_prepend(ROOT / "examples")
    import my_strategy

    my_strategy.main(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert [line.split()[0] for line in lines[::2]] == [
        "standard", "my_strategy:noise", "my_strategy:two_levels_and_noise",
    ]  # fmt: skip
    assert find_strategy("my_strategy:noise").settings()["augment"] == {"is": "GaussianNoise", "deviation": 16.0}


def test_strategies_survive_a_pickle():
    """They are pickled for the workers of a cluster."""
    for strategy in STRATEGIES.values():
        assert pickle.loads(pickle.dumps(strategy)) == strategy == copy.deepcopy(strategy)


# --- pixel audit ---


@pytest.mark.parametrize("pixels", [1, 3])
def test_the_audit_replaces_the_stamped_pixels_and_no_others(pixels):
    images = smooth_images(count=240, size=12)
    shortcut = cifar10_s.search(images, pixels=pixels, device="cpu")
    poisoned = shortcut.stamp(images)
    repaired = STRATEGIES["pixel-audit"].prepared(poisoned, None, rng()).pixels
    is_stamped = np.zeros(images.shape[:3], bool)
    for label, positions in enumerate(shortcut.positions):
        rows = np.flatnonzero(images.labels == label)
        is_stamped[rows[:, None], positions[:, 0], positions[:, 1]] = True
    assert np.array_equal((repaired != poisoned.pixels).any(-1), is_stamped)
    assert np.array_equal(STRATEGIES["pixel-audit"].prepared(images, None, rng()).pixels, images.pixels)


def test_the_audit_records_its_numbers():
    rules = STRATEGIES["pixel-audit"].settings()["prepare"]["rules"]
    assert rules == {"is": "Rules", "share": 0.9, "elsewhere": 0.05, "tolerance": 8, "significance": 0.01}
