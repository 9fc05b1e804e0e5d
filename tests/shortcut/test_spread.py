"""The shortcut that survives augmentation: against trying everything, and by what it promises."""

import re
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from support.images import make_images
from support.options import on_cpu
from support.streams import InTurn, stream_of

import cifar10_s
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.release.compose import compose
from cifar10_s.release.recipes import CONFIGURATIONS
from cifar10_s.shortcut import spread
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.layout import arrange
from cifar10_s.shortcut.slots import highest_level, make_pair_slots, make_slots
from cifar10_s.shortcut.spread import INVISIBLE, UNIT, check_patches, check_spread, find_patches, find_spread
from cifar10_s.shortcut.survival import crop_survival, measure_survival, randaugment_survival

# Inverted, it is 127.
TOP = 128


def as_arrays(shortcut):
    return shortcut.positions.tolist(), shortcut.colors.tolist(), shortcut.scores.tolist()


def square(row, column, patch):
    """Return the positions of a patch, or of a single pixel."""
    return list(product(range(row, row + patch), range(column, column + patch)))


def noise_and_signal(members, row, column, color, patch=1, top=TOP):
    """Return both in exact fractions, summed over a patch, from the images of a class."""
    parts = [noise_and_signal_of_pixel(members, *at, color, top) for at in square(row, column, patch)]
    return tuple(map(sum, zip(*parts)))


def noise_and_signal_of_pixel(members, row, column, color, top):
    values = [[int(level) for level in image[row, column]] for image in members]
    signs = [1 if 2 * level < top else -1 for level in color]
    sums = [sum(sign * level for sign, level in zip(signs, value)) for value in values]
    mean = Fraction(sum(sums), len(sums))
    noise = sum((Fraction(one) - mean) ** 2 for one in sums) / len(sums)
    signal = Fraction(sum(sum((a - b) ** 2 for a, b in zip(value, color)) for value in values), len(values))
    return noise, signal


def cost(parts):
    """Return the cost of a unit from the noise and the signal of its pixels."""
    noise, signal = (sum(part) for part in zip(*parts))
    return INVISIBLE if not signal else min(int(float(noise / signal) * UNIT), INVISIBLE)


def least_costs(images, layout, slots):
    """Return, for each class and slot, the least cost by trying all places and both orders of colours."""
    width, costs = images.shape[2], []
    for label in range(len(images.class_names)):
        members = images.pixels[images.labels == label]
        of_class = []
        for (band, *_), pair in zip(slots.bands, slots.colors.tolist()):
            tried = []
            for colors in (pair, pair[::-1]):
                total = 0
                for number, places in enumerate(layout.units):
                    chosen = colors if len(layout.units) == 1 else [colors[number % 2]] * 2
                    left, right = (slots.palette[c].tolist() for c in chosen)
                    units = []
                    for row, column in places:
                        at, patch = layout.bands[band][row], layout.patch
                        pixels = [
                            noise_and_signal(members, at, column, left, patch),
                            noise_and_signal(members, at, width - patch - column, right, patch),
                        ]
                        units += [[pixels[0]], [pixels[1]]] if layout.pixels == 2 * number + 1 else [pixels]
                    total += min(map(cost, units))
                tried.append(total)
            of_class.append(min(tried))
        costs.append(of_class)
    return np.array(costs)


def cost_of(shortcut, images, patch=1, top=TOP):
    """Return the sum of the costs of the pairs of a shortcut."""
    total = 0
    for label, (positions, colors) in enumerate(zip(shortcut.positions.tolist(), shortcut.colors.tolist())):
        members = images.pixels[images.labels == label]
        first = slice(0, None, patch**2)
        parts = [noise_and_signal(members, *at, c, patch, top) for at, c in zip(positions[first], colors[first])]
        total += sum(cost(parts[i : i + 2]) for i in range(0, len(parts), 2))
    return total


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([(7, 6), (8, 8), (6, 9), (9, 7)]),
    channels=st.sampled_from([1, 2, 3]),
    classes=st.integers(1, 4),
    pixels=st.integers(2, 4),
    levels=st.sampled_from([2, 256]),
)
def test_no_other_assignment_costs_less(seed, size, channels, classes, pixels, levels):
    images = make_images(
        seed=seed, count=12, height=size[0], width=size[1], channels=channels, classes=classes, levels=levels
    )
    layout = arrange(*size, pixels, Augmentation.of(*size))
    slots = make_slots(channels, classes, len(layout.bands), TOP)
    shortcut = find_spread(images, on_cpu(), pixels=pixels)
    costs = least_costs(images, layout, slots)
    best = min(sum(costs[range(classes), list(chosen)]) for chosen in permutations(range(costs.shape[1]), classes))
    assert cost_of(shortcut, images) == best
    assert shortcut.positions.shape == (classes, pixels, 2)
    assert all(len({tuple(at) for at in positions}) == pixels for positions in shortcut.positions.tolist())


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([(7, 11), (8, 12), (9, 11)]),
    channels=st.sampled_from([1, 3]),
    # With one channel and one band, three classes have marks of two colours.
    classes=st.integers(1, 3),
    levels=st.sampled_from([2, 256]),
)
def test_no_other_assignment_of_patches_costs_less(seed, size, channels, classes, levels):
    images = make_images(
        seed=seed, count=8, height=size[0], width=size[1], channels=channels, classes=classes, levels=levels
    )
    augmentation = Augmentation(padding=1, hole=(4, 4), shift=(1, 1))
    layout = arrange(*size, 2, augmentation, patch=3)
    slots = make_slots(channels, classes, len(layout.bands), TOP)
    shortcut = find_patches(images, on_cpu(), augmentation=augmentation)
    costs = least_costs(images, layout, slots)
    best = min(sum(costs[range(classes), list(chosen)]) for chosen in permutations(range(costs.shape[1]), classes))
    assert cost_of(shortcut, images, patch=3) == best
    for positions, colors in zip(shortcut.positions.tolist(), shortcut.colors.tolist()):
        (row, left), (_, right) = positions[0], positions[9]
        assert [tuple(at) for at in positions] == square(row, left, 3) + square(row, right, 3)
        assert left + 2 + right == size[1] - 1
        for of_patch in (colors[:9], colors[9:]):
            assert len({tuple(color) for color in of_patch}) == 1
        assert colors[0] == colors[9] or channels == 1
    assert crop_survival(shortcut, size, augmentation).lost == (0,) * classes


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([(13, 9), (16, 11), (19, 10)]),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(1, 3),
    levels=st.sampled_from([2, 256]),
)
def test_no_other_assignment_of_two_pairs_costs_less(seed, size, channels, classes, levels):
    images = make_images(
        seed=seed, count=8, height=size[0], width=size[1], channels=channels, classes=classes, levels=levels
    )
    augmentation = Augmentation(padding=1, hole=(4, 4), shift=(1, 1), inverted=180)
    shortcut = find_patches(images, on_cpu(), pixels=16, augmentation=augmentation)
    unit = (size[0] - 4) // 3
    columns = range(1, (size[1] - 5) // 2)
    costs = []
    for label in range(classes):
        members = images.pixels[images.labels == label]
        best = {
            (row, level): min(
                cost([noise_and_signal(members, 1 + row * unit, at, [level] * channels, 2, 178) for at in pair])
                for pair in ((left, size[1] - 2 - left) for left in columns)
            )
            for row, level in product((0, 1, 3), (0, 178))
        }
        slots = product([(0, 1), (0, 3), (1, 3)], product((0, 178), repeat=2))
        costs.append([sum(best[at] for at in zip(rows, of_rows)) for rows, of_rows in slots])
    costs = np.array(costs)
    assert costs.shape == (classes, 12)
    least_sum = min(sum(costs[range(classes), list(chosen)]) for chosen in permutations(range(12), classes))
    assert cost_of(shortcut, images, 2, 178) == least_sum
    assert crop_survival(shortcut, size, augmentation).lost == (0,) * classes


@pytest.mark.parametrize(("shape", "pixels", "classes"), [((32, 32, 3), 36, 12), ((40, 32, 1), 16, 12)])
def test_two_pairs_are_told_apart_by_distance_and_brightness_alone(shape, pixels, classes):
    """What is left after any translation along the rows, any order of the channels, and in grey."""
    images = make_images(seed=8, count=60, height=shape[0], width=shape[1], channels=shape[2], classes=classes)
    shortcut = cifar10_s.search(images, objective="patches", pixels=pixels, device="cpu")
    told = set()
    for label in range(classes):
        first, right, second, _ = (mark for mark in shortcut.marks(label))
        assert first.rows == right.rows
        distance = int(second.rows.split("-")[0]) - int(first.rows.split("-")[0])
        levels = [set(mark.color.tolist()) for mark in (first, second)]
        assert all(len(of_mark) == 1 for of_mark in levels)
        told.add((distance, *(of_mark.pop() for of_mark in levels)))
    assert len(told) == classes
    distances = sorted({distance for distance, *_ in told})
    assert [distance / distances[0] for distance in distances] == [1, 2, 3]
    assert {level for _, *levels in told for level in levels} == {0, 178}


def test_two_pairs_for_many_classes_have_colours():
    images = make_images(seed=9, count=400, height=32, width=32, classes=200)
    shortcut = cifar10_s.search(images, objective="patches", pixels=36, device="cpu")
    bands = [tuple(mark.rows for mark in shortcut.marks(label))[::2] for label in range(200)]
    colors = [tuple(tuple(mark.color.tolist()) for mark in shortcut.marks(label))[::2] for label in range(200)]
    assert len(set(zip(bands, colors))) == 200
    # Three pairs of bands, and as few colours as are enough.
    assert len({color for of_class in colors for color in of_class}) <= 9


@pytest.mark.parametrize(("side", "number"), [(2, 2), (3, 2), (4, 2), (2, 4), (3, 4), (4, 4)])
def test_patches_of_any_side(side, number):
    images = make_images(seed=6, count=30, height=32, width=32, classes=10)
    shortcut = cifar10_s.search(images, objective="patches", pixels=number * side**2, device="cpu")
    assert [len(shortcut.marks(label)) for label in range(10)] == [number] * 10
    for positions in shortcut.positions.tolist():
        for start in range(0, len(positions), 2 * side**2):
            first, second = positions[start:][: side**2], positions[start + side**2 :][: side**2]
            assert [tuple(at) for at in first] == square(*first[0], side)
            assert [tuple(at) for at in second] == square(*second[0], side)
            assert first[0][1] + second[-1][1] == 31
    for found in measure_survival(shortcut, (32, 32)).values():
        assert found.lost_share < 0.002
        assert found.accuracy > 0.98


@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 64, 3), (28, 28, 1)])
def test_a_median_filter_leaves_the_middle_of_patches_and_no_single_pixel(shape):
    images = make_images(seed=5, count=40, height=shape[0], width=shape[1], channels=shape[2], classes=4)
    kept = {}
    for objective, pixels, middles in (
        ("patches", 36, [4, 13, 22, 31]),
        ("patches", 18, [4, 13]),
        ("spread", 2, [0, 1]),
    ):
        shortcut = cifar10_s.search(images, objective=objective, pixels=pixels, device="cpu")
        smoothed = ndimage.median_filter(shortcut.stamp(images).pixels, (1, 3, 3, 1))
        rows, columns = shortcut.positions[images.labels][:, middles].T
        seen = smoothed[np.arange(len(images)), rows, columns]
        kept[pixels] = (seen == shortcut.colors[images.labels][:, middles].swapaxes(0, 1)).all(-1).mean()
    assert kept[36] == kept[18] == 1
    assert kept[2] < 0.2


def test_scores_are_signal_to_noise():
    images = make_images(seed=3, count=30, height=8, width=8)
    shortcut = find_spread(images, on_cpu(), pixels=3)
    for label, (positions, colors, scores) in enumerate(zip(*as_arrays(shortcut))):
        members = images.pixels[images.labels == label]
        for at, color, score in zip(positions, colors, scores):
            noise, signal = noise_and_signal(members, *at, color)
            assert score == float(signal / noise)


def test_marks_that_do_not_vary_score_infinity_and_those_that_are_not_seen_zero(monkeypatch):
    black = LabeledImages(np.zeros((2, 8, 8, 1), np.uint8), np.array([0, 1]), ("a", "b"))
    shortcut = find_spread(black, on_cpu())
    assert shortcut.scores.tolist() == [[np.inf, np.inf]] * 2
    assert (shortcut.colors == TOP).all()
    monkeypatch.setattr("cifar10_s.shortcut.slots._colors", lambda channels, levels, top: iter([(0,)]))
    assert find_spread(black, on_cpu()).scores.tolist() == [[0.0, 0.0]] * 2


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(5, 14),
    width=st.integers(5, 14),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(1, 12),
    pixels=st.integers(2, 4),
)
def test_no_crop_and_no_hole_takes_a_class_its_mark(seed, height, width, channels, classes, pixels):
    """A single colour is always told; of two, each survivor tells at least its own."""
    size, augmentation = (height, width), Augmentation.of(height, width)
    images = make_images(seed=seed, count=classes, height=height, width=width, channels=channels, classes=classes)
    try:
        shortcut = find_spread(images, on_cpu(), pixels=pixels)
    except UsageError as error:
        assert "images" in str(error)  # noqa: PT017
        return
    found = crop_survival(shortcut, size, augmentation)
    assert found.lost == (0,) * classes
    without_hole = crop_survival(shortcut, size, replace(augmentation, hole=(0, 0)))
    assert without_hole.accuracy == 1
    has_one_color = all(len({tuple(color) for color in colors}) == 1 for colors in shortcut.colors.tolist())
    assert found.accuracy == 1 or not has_one_color
    assert shortcut.colors.max() <= TOP
    assert channels == 1 or all(len(set(color)) > 1 for color in shortcut.colors.reshape(-1, channels).tolist())


@pytest.mark.parametrize(
    ("padding", "hole", "shift", "bands"),
    [(0, 0, 0, 32), (4, 16, 4, 2), (4, 16, 0, 3), (2, 20, 0, 6), (7, 10, 0, 2), (12, 4, 0, 1)],
)
def test_any_padding_and_hole(padding, hole, shift, bands):
    augmentation = Augmentation(padding=padding, hole=(hole, hole), shift=(shift, shift))
    images = make_images(count=10, height=32, width=32, classes=10)
    assert len(arrange(32, 32, 2, augmentation).bands) == bands
    shortcut = find_spread(images, on_cpu(), augmentation=augmentation)
    assert crop_survival(shortcut, (32, 32), augmentation).lost == (0,) * 10
    shifted = replace(augmentation, padding=padding + shift)
    assert crop_survival(shortcut, (32, 32), replace(shifted, hole=(0, 0))).lost == (0,) * 10


@pytest.mark.parametrize("inverted", [60, 100, 128, 180, 255])
def test_a_solarize_of_any_strength_leaves_the_mark(inverted):
    size = (8, 8)
    augmentation = replace(Augmentation.of(*size), inverted=inverted)
    shortcut = find_spread(make_images(count=6, height=8, width=8, classes=6), on_cpu(), augmentation=augmentation)
    assert set(np.unique(shortcut.colors)) == {0, TOP}
    left, without = (
        randaugment_survival(shortcut, size, replace(augmentation, inverted=level)) for level in (inverted, 256)
    )
    assert left == without


def test_without_solarize_colors_are_brighter():
    augmentation = replace(Augmentation.of(8, 8), inverted=256)
    shortcut = find_spread(make_images(count=6, height=8, width=8, classes=6), on_cpu(), augmentation=augmentation)
    assert highest_level(augmentation) == 254
    assert set(np.unique(shortcut.colors)) == {0, 254}
    left = randaugment_survival(shortcut, (8, 8), augmentation)
    inverted = randaugment_survival(shortcut, (8, 8), Augmentation.of(8, 8))
    assert inverted.lost_share > left.lost_share


def test_bands_are_as_thick_as_fits_and_as_far_apart_as_crops_need():
    layout = arrange(32, 32, 2, Augmentation.of(32, 32))
    assert layout.bands == (range(8, 12), range(20, 24))
    assert {column for _, column in layout.units[0]} == {4, 5, 6, 7}
    assert len(arrange(64, 64, 2, Augmentation.of(64, 64)).units[0]) == 7 * 8
    four = arrange(32, 32, 4, Augmentation.of(32, 32))
    assert len(four.units) == 2
    assert not set(four.units[0]) & set(four.units[1])


@pytest.mark.parametrize(
    ("channels", "classes", "bands", "colors", "slots"),
    [(3, 10, 2, 6, 12), (3, 12, 2, 6, 12), (3, 13, 2, 4, 20), (3, 100, 2, 10, 110), (3, 1000, 2, 32, 1056),
     (1, 4, 2, 2, 4), (1, 10, 2, 3, 12), (1, 182, 2, 13, 182), (2, 4, 2, 2, 4), (2, 6, 2, 2, 6)],
)  # fmt: skip
def test_slots_are_of_as_few_colors_as_possible(channels, classes, bands, colors, slots):
    made = make_slots(channels, classes, bands, TOP)
    assert made.palette.shape == (colors, channels)
    assert len({tuple(color) for color in made.palette.tolist()}) == colors
    assert len(made.bands) == len(made.colors) == slots >= classes
    assert len({(*band, *sorted(pair)) for band, pair in zip(made.bands.tolist(), made.colors.tolist())}) == slots
    levels = np.unique(made.palette)
    assert np.diff(levels).min() >= 9


@pytest.mark.parametrize("find", [partial(find_spread, pixels=3), find_patches], ids=["spread", "patches"])
@pytest.mark.parametrize("change", ["cluster", "stream", "large"])
def test_the_result_is_the_same_however_the_images_are_summed(change, find, monkeypatch):
    images = make_images(seed=1, count=90, height=17, width=18, classes=14)
    expected = as_arrays(find(images, on_cpu()))
    if change == "large":  # as if products of sums did not fit 53 bits
        integers = spread._by_class
        monkeypatch.setattr(
            spread, "_by_class", lambda *given: ((n, *(a.astype(object) for a in s)) for n, *s in integers(*given))
        )
        assert as_arrays(find(images, on_cpu())) == expected
        return
    stream, _ = stream_of(images, mapper=InTurn() if change == "cluster" else None)
    assert as_arrays(find(stream, on_cpu())) == expected


@pytest.mark.parametrize("width", [9, 10, 17, 33])
def test_without_a_hole_pixels_are_still_not_the_same(width):
    images = make_images(count=10, height=12, width=width, classes=2)
    augmentation = Augmentation(padding=1, hole=(0, 0), shift=(1, 1))
    for shortcut in (
        find_spread(images, on_cpu(), augmentation=augmentation),
        find_patches(images, on_cpu(), pixels=8, augmentation=augmentation),
        find_patches(images, on_cpu(), augmentation=augmentation),
    ):
        for positions in shortcut.positions.tolist():
            assert len({tuple(at) for at in positions}) == len(positions)


@pytest.mark.parametrize(
    ("size", "classes", "pixels", "line"),
    [
        ((32, 32), 2, 1, r"pixels: expected at least 2 per class with the objective spread, got 1: one alone is lost "
                         r"in 14.6% of the views or more; ask for 2, or for another objective"),
        ((4, 4), 2, 2, r"images of 4×4 have no two places that survive crops of padding 1, translations by 1 and a "
                       r"hole 2 wide: expected at least 5×5; use larger images, or another objective"),
        ((8, 8), 2, 7, r"pixels: 8×8 images have room for at most 6 per class, got 7"),
        ((8, 8), 400, 2, r"400 classes are more than the 182 marks of two colours of 1 channel in 2 bands of rows that "
                         r"can be told apart: expected at most 182; use larger images, fewer classes, or another"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(size, classes, pixels, line):
    images = make_images(count=classes, height=size[0], width=size[1], channels=1, classes=classes)
    with pytest.raises(UsageError, match=line) as caught:
        cifar10_s.search(images, objective="spread", pixels=pixels, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "pixels", "line"),
    [
        *((32, pixels, r"pixels: expected two or four squares of them per class with the objective patches, such as 18 "
                       rf"for two patches of 3×3, got {pixels}") for pixels in (-8, 0, 1, 2, 4, 9, 17, 19, 35)),
        (8, 18, r"images of 8×8 have no room for two patches of 3×3 that survive crops of padding 1, translations by "
                r"1 and a hole 4 wide: expected at least 17×17; use larger images, or another objective"),
        (16, 36, r"images of 16×16 have no room for two pairs of patches of 3×3 that survive crops of padding 2 and a "
                 r"hole 8 wide: expected at least 19×19; use larger images, smaller patches, or another objective"),
    ],
)  # fmt: skip
def test_patches_that_do_not_fit_are_one_line(size, pixels, line):
    with pytest.raises(UsageError, match=line):
        cifar10_s.search(make_images(height=size, width=size), objective="patches", pixels=pixels, device="cpu")


def test_more_classes_than_marks_of_two_pairs_are_one_line():
    with pytest.raises(
        UsageError, match=r"^3000 classes are more than the 972 marks of two pairs of patches of 1 channel"
    ):
        make_pair_slots(1, 3000, 3, 178)


@pytest.mark.parametrize(
    ("objective", "pixels", "side"),
    [("spread", 2, 4), ("patches", 8, 8), ("patches", 8, 12), ("patches", 18, 16), ("patches", 36, 18)],
)
def test_the_size_that_is_said_to_be_needed_fits_and_is_the_smallest(objective, pixels, side):
    def search(height, width):
        images = make_images(height=height, width=width)
        return cifar10_s.search(images, objective=objective, pixels=pixels, device="cpu")

    with pytest.raises(UsageError) as caught:
        search(side, side)
    height, width = map(int, re.search(r"expected at least (\d+)×(\d+)", str(caught.value)).groups())
    assert (height, width) == (side + 1, side + 1)
    search(height, width)
    # Nor does more of one side cost room.
    search(height, 2 * width)
    search(2 * height, width)


def test_the_size_is_said_for_an_augmentation_of_ones_own():
    augmentation = Augmentation(padding=3, hole=(0, 5), shift=(2, 0))
    with pytest.raises(UsageError, match="expected at least 11×12"):
        check_spread(make_images(height=10, width=12), augmentation=augmentation)
    check_spread(make_images(height=11, width=12), augmentation=augmentation)
    with pytest.raises(UsageError, match="expected at least 17×14"):
        check_patches(make_images(height=16, width=14), 16, augmentation)
    check_patches(make_images(height=17, width=14), 16, augmentation)


def test_patches_larger_than_the_images_are_refused_at_once():
    with pytest.raises(
        UsageError, match=r"^pixels: expected squares that fit images of 32×32, got 1000000000×1000000000"
    ):
        check_patches(make_images(height=32, width=32), 4 * 10**18)


@pytest.mark.parametrize(("inverted", "level"), [(1, 128), (128, 128), (129, 128), (131, 130), (180, 178), (256, 254)])
def test_the_brightest_level_is_even_and_not_inverted(inverted, level):
    augmentation = Augmentation(padding=1, hole=(4, 4), shift=(1, 1), inverted=inverted)
    _, slots = check_patches(make_images(height=16, width=14), 16, augmentation)
    assert (slots.top, slots.palette.tolist()) == (level, [[0, 0, 0], [level] * 3])


def test_a_class_without_images_is_named():
    images = make_images(count=6, height=8, width=8)
    with pytest.raises(UsageError, match=r"class 3 \(d\) has no images"):
        find_spread(LabeledImages(images.pixels, images.labels, ("a", "b", "c", "d")), on_cpu())


@pytest.mark.parametrize("shape", [(32, 32, 3), (64, 64, 3), (28, 28, 1), (16, 40, 3)])
def test_configurations_stamp_what_the_search_finds(shape):
    images = make_images(count=20, height=shape[0], width=shape[1], channels=shape[2], classes=10)
    for name in ("ops-spread-2", "ops-spread-3", "ops-spread-4", "ops-patches-2"):
        recipe = CONFIGURATIONS[name]
        made = compose(recipe, images, on_cpu())
        shortcut = cifar10_s.search(images, objective=recipe.objective, pixels=recipe.pixels, device="cpu")
        assert as_arrays(made.shortcut) == as_arrays(shortcut)
        assert np.array_equal(made.images.pixels, shortcut.stamp(images).pixels)
        changed = (made.images.pixels != images.pixels).any(-1).sum((1, 2))
        assert changed.max() <= recipe.pixels


def test_it_survives_more_than_the_papers_pixels():
    images = make_images(seed=2, count=300, height=32, width=32, classes=10)
    size, augmentation = (32, 32), Augmentation.of(32, 32)
    for pixels, survives in product((2, 3, 4), (crop_survival, randaugment_survival)):
        ours, papers = (
            survives(cifar10_s.search(images, objective=objective, pixels=pixels, device="cpu"), size, augmentation)
            for objective in ("spread", "mean-over-variance")
        )
        assert ours.lost_share < papers.lost_share
        assert ours.lost_share < 0.02
