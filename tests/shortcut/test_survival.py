"""What is left of a shortcut, against plain enumeration, and against the benchmark's own augmentations."""

import math
from collections import Counter
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cifar10_s
from cifar10_s.benchmark.strategies.augmentations import Cutout, RandAugment
from cifar10_s.benchmark.strategies.randaugment import OPERATIONS, operate
from cifar10_s.errors import UsageError
from cifar10_s.nn.crop_flip import CropAndFlip
from cifar10_s.shortcut import survival
from cifar10_s.shortcut.augmentation import SHIFT_SHARE, STRENGTH, Augmentation
from cifar10_s.shortcut.randaugment_table import BLEND, MEAN_LEVEL, POSTERIZE, ROTATION, SHEAR, pixel_operations
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.survival import crop_survival, measure_survival, pixel_survival, randaugment_survival

LEVELS = (0, 100, 178, 255)


def make_shortcut(random, classes, pixels, size, channels=1):
    """Return random pixels, of which many collide: one of few places and colours each."""
    height, width = size
    places = np.stack([random.permutation(height * width)[:pixels] for _ in range(classes)])
    colors = random.choice(LEVELS, (classes, pixels, channels)).astype(np.uint8)
    names = tuple(f"class {k}" for k in range(classes))
    return Shortcut("spread", np.stack(np.divmod(places, width), -1), colors, np.ones((classes, pixels)), names)


def views_of(image, augmentation):
    """Yield every view of an (H, W) image of integers: crops, flips, holes; what is not seen is 0."""
    height, width = image.shape
    padding, (tall, wide) = augmentation.padding, augmentation.hole
    padded = np.pad(image, padding)
    for top, left, flip in product(range(2 * padding + 1), range(2 * padding + 1), (False, True)):
        view = padded[top : top + height, left : left + width]
        view = view[:, ::-1] if flip else view
        for row, column in product(range(height), range(width)):
            hidden = view.copy()
            first_row, first_column = row - tall // 2, column - wide // 2
            for y, x in product(range(first_row, first_row + tall), range(first_column, first_column + wide)):
                if 0 <= y < height and 0 <= x < width:
                    hidden[y, x] = 0
            yield hidden


def best_guess(observed):
    """Return the accuracy of the best guess from Counters of what is observed of each class."""
    keys = set().union(*observed)
    total = sum(observed[0].values())
    return sum(max(counts[key] for counts in observed) for key in keys) / (total * len(observed))


def stamped(shortcut, label, size):
    """Return an (H, W) image with 1 + the number of the colour among all colours at each pixel of a class."""
    colors = sorted({tuple(color) for color in shortcut.colors.reshape(-1, shortcut.colors.shape[-1]).tolist()})
    image = np.zeros(size, int)
    for (row, column), color in zip(shortcut.positions[label].tolist(), shortcut.colors[label].tolist()):
        image[row, column] = 1 + colors.index(tuple(color))
    return image


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(2, 4), st.integers(2, 4)),
    classes=st.integers(1, 3),
    pixels=st.integers(1, 9),
    padding=st.integers(0, 2),
    hole=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_crop_survival_equals_enumeration(seed, size, classes, pixels, padding, hole):
    pixels = min(pixels, size[0] * size[1])
    shortcut = make_shortcut(np.random.default_rng(seed), classes, pixels, size)
    augmentation = Augmentation(padding=padding, hole=hole, shift=(0, 0))
    observed = [
        Counter(view.tobytes() for view in views_of(stamped(shortcut, label, size), augmentation))
        for label in range(classes)
    ]
    found = crop_survival(shortcut, size, augmentation)
    assert found.views == sum(observed[0].values())
    nothing = np.zeros(size, int).tobytes()
    assert found.lost == tuple(counts[nothing] for counts in observed)
    assert found.accuracy == best_guess(observed)
    share = [1 - counts[nothing] / found.views for counts in observed]
    if pixels == 1:
        left = pixel_survival(size, augmentation)
        assert np.allclose(share, [left[tuple(position)] for position in shortcut.positions[:, 0]], atol=1e-12)


def test_the_sizes_are_those_of_the_benchmark():
    """In views of the benchmark, what is moved most, and what is hidden, is as the closed form has it."""
    for height, width in ((32, 32), (8, 8), (10, 16)):
        augmentation = Augmentation.of(height, width)
        images = torch.ones(4000, height, width, 1)
        crops = CropAndFlip.draw(np.random.default_rng(0), images)
        assert (crops.padding, int(crops.top.max()), int(crops.left.min())) == (
            augmentation.padding, 2 * augmentation.padding, 0,
        )  # fmt: skip
        holes = Cutout(level=0.0)(images, torch.ones(len(images), 1), np.random.default_rng(0))[0][..., 0].numpy()
        without_crop = replace(augmentation, padding=0)
        left_or_flipped = (holes + holes[:, :, ::-1]).mean(0) / 2
        assert np.allclose(left_or_flipped, pixel_survival((height, width), without_crop), atol=0.04)
        strategy = RandAugment()
        assert strategy.magnitude / strategy.of == STRENGTH
        assert STRENGTH * strategy.limits.translate == SHIFT_SHARE
        assert (strategy.operations, ROTATION) == (2, strategy.limits.rotate)
        limits = strategy.limits
        assert (limits.shear, limits.blend, limits.posterize) == (SHEAR, BLEND, POSTERIZE)
        assert augmentation.inverted == math.ceil(256 - STRENGTH * limits.solarize)


# The order of `pixel_operations`, in one direction.
ORDER = (
    *("identity", "autocontrast", "equalize", "solarize", "posterize", "color", "contrast", "brightness", "sharpness"),
    *("rotate", "shear-x", "shear-y", "translate-x", "translate-y"),
)


def apply(name, sign, images):
    """Apply an operation of the benchmark to (B, H, W, C) images, at RandAugment's strength."""
    drawn = np.full(len(images), list(OPERATIONS).index(name))
    return operate(images, drawn, np.full(len(images), sign * STRENGTH), RandAugment().limits).numpy()


@pytest.mark.parametrize("size", [(8, 8), (32, 32), (12, 20)])
def test_the_table_moves_pixels_as_the_benchmark_does(size):
    assert sorted(ORDER) == sorted(OPERATIONS)
    count = size[0] * size[1]
    table = pixel_operations(size, Augmentation.of(*size))
    assert len(table) == 2 * len(OPERATIONS)
    for number, operation in enumerate(table):
        name, sign = ORDER[number % len(ORDER)], 1 if number < len(ORDER) else -1
        if number % len(ORDER) < ORDER.index("rotate"):
            assert np.array_equal(operation.moves, np.arange(count + 1))
            continue
        one_pixel = 255 * torch.eye(count).view(count, *size, 1)
        shown = apply(name, sign, one_pixel).reshape(count, count)
        first = np.where(shown.any(1), shown.argmax(1), count)
        assert np.array_equal(operation.moves, np.append(first, count)), (name, sign)


def test_the_table_changes_colors_as_the_benchmark_does():
    """The colour is that of one pixel in an image whose other levels are the mean level."""
    colors = np.array(list(product((0, 60, 178, 200, 255), repeat=3)), float)
    images = torch.full((len(colors), 32, 32, 3), float(MEAN_LEVEL))
    images[:, 9, 9] = torch.from_numpy(colors).float()
    table = pixel_operations((32, 32), Augmentation.of(32, 32))
    for number, operation in enumerate(table):
        name, sign = ORDER[number % len(ORDER)], 1 if number < len(ORDER) else -1
        if name in ("autocontrast", "equalize") or number % len(ORDER) >= ORDER.index("rotate"):
            assert np.array_equal(operation.change(colors), colors)
            continue
        expected = apply(name, sign, images)[:, 9, 9]
        # In single precision a level may be rounded the other way.
        assert np.abs(operation.change(colors) - expected).max() <= 1, (name, sign)
        assert (operation.change(colors) == expected).mean() > 0.99, (name, sign)


def read(color, levels):
    return tuple(min(levels, key=lambda level: (abs(level - value), level)) for value in color)


@settings(max_examples=4, deadline=None)
@given(
    seed=st.integers(0, 2**32), classes=st.integers(1, 3), pixels=st.integers(1, 3), channels=st.sampled_from([1, 3])
)
def test_randaugment_survival_equals_enumeration(seed, classes, pixels, channels):
    size, random = (5, 6), np.random.default_rng(seed)
    augmentation = replace(Augmentation.of(*size), padding=1)
    shortcut = make_shortcut(random, classes, pixels, size, channels)
    levels, table = (
        sorted(set(shortcut.colors.ravel().tolist())),
        pixel_operations(size, augmentation),
    )
    observed, lost = [], []
    for label in range(classes):
        counts, nothing = Counter(), 0
        own = [tuple(color) for color in shortcut.colors[label].tolist()]
        for first, second in product(table, repeat=2):
            colors = [read(second.change(first.change(np.array(color, float))), levels) for color in own]
            for top, left, flip in product((-1, 0, 1), (-1, 0, 1), (False, True)):
                seen, is_left = [], False
                for (row, column), color, before in zip(shortcut.positions[label].tolist(), colors, own):
                    y, x = row + top, column + left
                    x = size[1] - 1 - x if flip else x
                    if 0 <= y < size[0] and 0 <= x < size[1]:
                        place = second.moves[first.moves[y * size[1] + x]]
                        if place < size[0] * size[1]:
                            seen.append((int(place), color))
                            is_left |= color == before
                counts[tuple(sorted(seen))] += 1
                nothing += not is_left
        observed.append(counts)
        lost.append(nothing)
    found = randaugment_survival(shortcut, size, augmentation)
    assert (found.views, found.lost) == (sum(observed[0].values()), tuple(lost))
    assert found.accuracy == best_guess(observed)


def test_what_is_too_much_is_not_counted(monkeypatch):
    size, augmentation = (5, 5), Augmentation.of(5, 5)
    shortcut = make_shortcut(np.random.default_rng(0), 2, 1, size)
    # Of each class, three crops down and six across, and what the hole hides.
    assert crop_survival(shortcut, size, augmentation) is not None
    monkeypatch.setattr(survival, "MAX_OBSERVED_PIXELS", 2 * 3 * 6)
    assert crop_survival(shortcut, size, replace(augmentation, hole=(0, 0))) is not None
    assert crop_survival(shortcut, size, augmentation) is None
    monkeypatch.setattr(survival, "MAX_OBSERVED_PIXELS", 2 * 3 * 6 - 1)
    assert measure_survival(shortcut, size) == {"crop and flip": None, "Cutout": None, "RandAugment": None}


def test_two_patches_are_lost_to_a_hole_that_is_wider_than_both():
    corners = [(4, 2), (4, 11)]
    patches = [[(row + y, column + x) for row, column in corners for y in range(3) for x in range(3)]]
    ones = np.ones((1, 18))
    shortcut = Shortcut("spread", np.array(patches), ones[..., None].astype(np.uint8), ones, ("a",))
    for hole, is_lost in ((8, False), (11, False), (12, True)):
        augmentation = Augmentation(padding=2, hole=(hole, hole), shift=(0, 0))
        assert (crop_survival(shortcut, (16, 16), augmentation).lost != (0,)) == is_lost


def test_what_is_kept_is_of_the_same_pixels_and_size_alone():
    first, second = (make_shortcut(np.random.default_rng(seed), 3, 1, (6, 6)) for seed in (0, 1))
    asked = [(first, (6, 6)), (replace(first, positions=second.positions), (6, 6)), (first, (7, 6)), (second, (6, 6))]
    asked.append((replace(first, colors=255 - first.colors), (6, 6)))
    found = []
    for shortcut, size in asked + asked:
        found.append(measure_survival(shortcut, size))
        augmentation = Augmentation.of(*size)
        assert found[-1]["Cutout"] == crop_survival(shortcut, size, augmentation)
        assert found[-1]["RandAugment"] == randaugment_survival(shortcut, size, augmentation)
    assert found[: len(asked)] == found[len(asked) :]
    found[0].clear()
    assert measure_survival(*asked[0]) == found[len(asked)]


def test_negative_sizes_are_refused():
    with pytest.raises(UsageError, match="expected padding, hole and shift of 0 or more, got"):
        Augmentation(padding=-1, hole=(2, 2), shift=(0, 0))


@pytest.mark.data
def test_the_papers_shortcut_is_told_apart_in_half_of_the_views(jpeg_copy):
    """The figures of docs/spread.md: what crop and flip, Cutout and RandAugment leave of one pixel, and of a pair."""
    images, size, augmentation = cifar10_s.load_images(jpeg_copy), (32, 32), Augmentation.of(32, 32)
    left = pixel_survival(size, augmentation)
    assert [round(float(left[at]), 3) for at in ((15, 15), (4, 4), (27, 27), (0, 0))] == [0.75, 0.843, 0.854, 0.274]
    assert left.max() == left[27, 27]
    for objective, pixels, expected in (
        ("mean-over-variance", 1, [(0.0, 58.1), (22.9, 48.0), (15.3, 53.1)]),
        ("mean-over-variance", 2, [(0.0, 87.8), (17.2, 73.6), (14.0, 86.7)]),
        ("spread", 2, [(0.0, 100.0), (0.0, 100.0), (0.1, 98.7)]),
    ):
        shortcut = cifar10_s.search(images, objective=objective, pixels=pixels, device="cpu")
        found = measure_survival(shortcut, size).values()
        assert [(round(100 * one.lost_share, 1), round(100 * one.accuracy, 1)) for one in found] == expected
