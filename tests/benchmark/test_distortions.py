"""Displaced pixels, random sharpening, chains: each against loops over pixels."""

import math

import numpy as np
import pytest
import torch

from cifar10_s.benchmark.strategies.defences import LowPass
from cifar10_s.benchmark.strategies.distortions import Chain, Coin, RandomSharpening, SmoothBatch, Sometimes

SHAPES = [(8, 8, 3), (5, 7, 1), (1, 4, 2)]


def batch(shape, count=4):
    random = np.random.default_rng(7)
    return torch.from_numpy(random.integers(0, 256, (count, *shape))).float(), torch.eye(count)


@pytest.mark.parametrize("shape", SHAPES)
def test_coin_against_loops(shape):
    height, width, channels = shape
    levels, targets = batch(shape)
    seen, same = Coin(reach=2.0)(levels, targets, np.random.default_rng(3))
    assert same is targets
    draws = 4 * np.random.default_rng(3).random((2, 4, height, width), dtype=np.float32).astype(float) - 2
    for i in range(4):
        for y in range(height):
            for x in range(width):
                place = y + draws[0, i, y, x], x + draws[1, i, y, x]
                top, left = (math.floor(along) for along in place)
                for channel in range(channels):
                    mean = sum(
                        float(levels[i, (top + a) % height, (left + b) % width, channel])
                        * (1 - abs(place[0] - top - a)) * (1 - abs(place[1] - left - b))
                        for a in (0, 1) for b in (0, 1)
                    )  # fmt: skip
                    assert float(seen[i, y, x, channel]) == pytest.approx(mean, abs=0.01)


def test_coin_is_scipy_s_but_for_the_period():
    """The authors call `map_coordinates`; where the border is not crossed, its mode does not matter."""
    ndimage = pytest.importorskip("scipy.ndimage")
    levels, targets = batch((16, 16, 1), 1)
    down, right = 4 * np.random.default_rng(3).random((2, 1, 16, 16), dtype=np.float32)[:, 0].astype(float) - 2
    y, x = np.mgrid[:16, :16]
    seen = Coin()(levels, targets, np.random.default_rng(3))[0][0, ..., 0]
    theirs = ndimage.map_coordinates(levels[0, ..., 0].numpy(), [y + down, x + right], order=1, mode="wrap")
    assert np.abs(seen.numpy() - theirs)[2:-2, 2:-2].max() < 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_sharpening_against_loops(shape):
    height, width, channels = shape
    levels, targets = batch(shape)
    seen, _ = RandomSharpening()(levels, targets, np.random.default_rng(3))
    draws = np.random.default_rng(3).standard_normal((5, 4))
    for i in range(4):
        centre = 2.5 + 0.1 * draws[0, i]
        kernel = np.zeros((3, 3))
        kernel[1, 1] = centre
        for number, place in enumerate(((0, 1), (1, 0), (1, 2), (2, 1)), 1):
            kernel[place] = -((centre - 1) / 4 + 0.1 * draws[number, i])
        for y in range(height):
            for x in range(width):
                rows = [min(max(y + a, 0), height - 1) for a in (-1, 0, 1)]
                columns = [min(max(x + b, 0), width - 1) for b in (-1, 0, 1)]
                for channel in range(channels):
                    window = levels[i, :, :, channel].numpy()[np.ix_(rows, columns)]
                    assert float(seen[i, y, x, channel]) == pytest.approx(
                        np.clip((window * kernel).sum(), 0, 255), abs=0.01
                    )


def test_sharpening_keeps_what_is_flat_on_average():
    levels = torch.full((4000, 3, 3, 1), 100.0)
    seen = RandomSharpening()(levels, torch.zeros(4000, 1), np.random.default_rng(0))[0][:, 1, 1, 0]
    assert abs(float(seen.mean()) - 100) < 1.5
    # Of the sum, the centre has no part; four draws of deviation 0.1 are left.
    assert abs(float(seen.std()) / 100 - 0.2) < 0.01
    plain = RandomSharpening(centre=1.0, deviation=0.0)(*batch((8, 8, 3)), np.random.default_rng(0))[0]
    assert torch.equal(plain, batch((8, 8, 3))[0])


def test_smooth_batches_are_low_passed_images():
    levels, targets = batch((12, 9, 3))
    smooth = SmoothBatch()(levels, targets, np.random.default_rng(0))[0]
    whole = LowPass().filter(levels.numpy().astype(np.uint8))
    assert np.abs(smooth.numpy() - whole).max() <= 0.5 + 1e-3


def plus_one(levels, targets, random):
    return levels + 1, targets


def double(levels, targets, random):
    return 2 * levels, targets.flip(0)


class Fitted:
    def fitted(self, images, random):
        return double if images == "images" else None

    def __call__(self, *_):
        raise AssertionError


def test_a_chain_has_an_order_and_fits_its_parts():
    levels, targets = batch((2, 2, 1))
    chain = Chain(parts=(plus_one, Fitted())).fitted("images", None)
    seen, wanted = chain(levels, targets, None)
    assert torch.equal(seen, 2 * (levels + 1))
    assert torch.equal(wanted, targets.flip(0))


def test_sometimes_changes_a_share_of_the_batches():
    levels, targets = batch((2, 2, 1))
    random, some = np.random.default_rng(0), Sometimes(augment=plus_one, probability=0.3)
    changed = [not torch.equal(some(levels, targets, random)[0], levels) for _ in range(2000)]
    assert abs(np.mean(changed) - 0.3) < 0.04
