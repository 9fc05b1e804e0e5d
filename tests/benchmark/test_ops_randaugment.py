"""RandAugment of the OPS authors: each operation against Pillow, and the two figures that tell it from ours."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from support.images import photographs

from cifar10_s.benchmark.strategies.ops_randaugment import OpsRandAugment, operations
from cifar10_s.benchmark.strategies.randaugment import Limits, operate

GREY = (128, 128, 128)
MOVES = {
    "shear-x": lambda s, width, height: (1, 0.3 * s, 0, 0, 1, 0),
    "shear-y": lambda s, width, height: (1, 0, 0, 0.3 * s, 1, 0),
    "translate-x": lambda s, width, height: (1, 0, 150 / 331 * s * width, 0, 1, 0),
    "translate-y": lambda s, width, height: (1, 0, 0, 0, 1, 150 / 331 * s * height),
}
CHANGES = {
    "sharpness": lambda image, s: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * s),
    "contrast": lambda image, s: ImageEnhance.Contrast(image).enhance(1 + 0.9 * s),
    "color": lambda image, s: ImageEnhance.Color(image).enhance(1 + 0.9 * s),
    "brightness": lambda image, s: ImageEnhance.Brightness(image).enhance(1 + 0.9 * s),
    "autocontrast": lambda image, s: ImageOps.autocontrast(image),
    "equalize": lambda image, s: ImageOps.equalize(image),
    "invert": lambda image, s: ImageOps.invert(image),
    "posterize": lambda image, s: ImageOps.posterize(image, round(8 - 4 * abs(s))),
    "solarize": lambda image, s: ImageOps.solarize(image, 256 - 256 * abs(s)),
}
# Levels by which results may differ: Pillow cuts fractions off after each of its steps.
ALLOWED = {"invert": 0, "equalize": 0, "posterize": 0, "solarize": 0, "sharpness": 2, "color": 2}


def by_pillow(name, pixels, strength):
    """What the authors' code does, on an (H, W, 3) uint8 image."""
    image = Image.fromarray(pixels)
    if name in MOVES:
        how = Image.Resampling.BICUBIC if name.startswith("shear") else Image.Resampling.NEAREST
        matrix = MOVES[name](strength, *image.size)
        return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, how, fillcolor=GREY))
    if name == "rotate":
        turned = image.convert("RGBA").rotate(30 * abs(strength))
        return np.asarray(Image.composite(turned, Image.new("RGBA", image.size, (*GREY, 128)), turned).convert("RGB"))
    return np.asarray(CHANGES[name](image, strength))


def test_the_fifteen_operations():
    assert set(operations(128.0)) == {*MOVES, *CHANGES, "rotate", "cutout"}
    assert len(operations(128.0)) == 15


@pytest.mark.parametrize("name", [name for name in operations(128.0) if name != "cutout"])
def test_operations_against_pillow(name):
    pixels = photographs(count=36, shape=(32, 24, 3), classes=4).pixels
    strengths = np.array([sign * magnitude / 9 for sign in (-1, 1) for magnitude in range(1, 10)] * 2)
    table = operations(128.0)
    drawn = np.full(36, list(table).index(name))
    ours = operate(torch.from_numpy(pixels).float(), drawn, strengths, Limits(), table, fill=128.0).numpy()
    theirs = np.stack([by_pillow(name, image, s) for image, s in zip(pixels, strengths)]).astype(int)
    off = np.abs(ours - theirs).max(3)
    # At a place between two pixels, or on the border, rounding may decide otherwise.
    assert (off > ALLOWED.get(name, 1)).mean() <= (0.004 if name in MOVES or name == "rotate" else 0), off.max()


def test_holes_are_even_and_grow():
    """20 of 32 pixels at full strength, of the authors' colour, with any centre."""
    levels, count = torch.zeros(900, 32, 32, 3), 900
    strengths = torch.arange(1, 10).repeat(100) / 9
    centres = torch.from_numpy(np.random.default_rng(0).random((2, count))).float()
    cut = OpsRandAugment()._cut(levels, strengths, centres).numpy()
    for i, image in enumerate(cut):
        size = int(np.round(np.linspace(0, 20, 10))[i % 9 + 1])
        y, x = (int(32 * centre) for centre in centres[:, i])
        expected = np.zeros((32, 32, 3))
        half = size // 2
        expected[max(0, y - half) : y + half, max(0, x - half) : x + half] = (125, 122, 113)
        assert np.array_equal(image, expected)
    assert torch.equal(OpsRandAugment()._cut(levels, torch.zeros(count), centres), levels)


def published(share, images, pixel):
    """Augment images that have a magenta pixel, and return the shares that stay, and whose pixel stays."""
    stamped = images.copy()
    stamped[(slice(None), *pixel)] = (255, 0, 255)
    levels = torch.from_numpy(stamped).float()
    seen = share(levels, torch.zeros(len(levels), 1), np.random.default_rng(0))[0]
    off = (seen - levels).abs()
    there = off[(slice(None), *pixel)].amax(1) <= 30
    return float((off.amax((1, 2, 3)) == 0).float().mean()), float(there.float().mean())


def test_what_it_leaves_of_ops():
    """A quarter of the images stay: no operation is applied. The pixel of OPS is still seen in half of them.

    With the authors' code, on CIFAR-10: 26.7 % of the images and 55 % of the pixels (within 30 levels). With the
    RandAugment of its paper: 0.5 % and 27 %.
    """
    images = np.concatenate([photographs(seed=seed, count=500, shape=(32, 32, 3)).pixels for seed in range(6)])
    same, there = published(OpsRandAugment(), images, (15, 16))
    assert abs(same - 0.267) < 0.03
    assert abs(there - 0.55) < 0.05


def test_draws_are_independent_of_images():
    """An image of one level is changed with the probability that an operation is applied."""
    levels = torch.full((3000, 8, 8, 3), 100.0)
    once = OpsRandAugment(operations=1)(levels, torch.zeros(3000, 1), np.random.default_rng(0))[0]
    never = OpsRandAugment(probability=0.0)(levels, torch.zeros(3000, 1), np.random.default_rng(0))[0]
    always = OpsRandAugment(operations=1, probability=1.0)(levels, torch.zeros(3000, 1), np.random.default_rng(0))[0]
    assert torch.equal(never, levels)
    shares = [float((seen != levels).any(3).any(2).any(1).float().mean()) for seen in (once, always)]
    assert abs(shares[0] - shares[1] / 2) < 0.03
