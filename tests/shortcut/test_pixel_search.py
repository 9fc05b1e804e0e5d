"""The search against a slow oracle; stamping, JSON, and the random control."""

import math
import sys
import weakref
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support import search_oracle as oracle
from support.images import make_images
from support.moments import compute_moments
from support.options import on_cpu

import cifar10_s
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import UsageError
from cifar10_s.shortcut import cpu as compiled_sums
from cifar10_s.shortcut import spread
from cifar10_s.shortcut.augmentation import Augmentation
from cifar10_s.shortcut.layout import arrange
from cifar10_s.shortcut.moments import Moments, channel_pairs, no_moments
from cifar10_s.shortcut.objectives import RANDOM, SEARCHED, Deviations, Objective, mean_over_variance
from cifar10_s.shortcut.pixel_search import _choose, _deviations, best_colors, find_pixels, score_maps, search
from cifar10_s.shortcut.shortcut import Shortcut
from cifar10_s.shortcut.torch_device import DeviceSums
from speed.plain import plain_search

shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**32),
        "count": st.integers(1, 25),
        "height": st.integers(1, 4),
        "width": st.integers(1, 4),
        "channels": st.integers(1, 4),
        "classes": st.integers(1, 4),
        # Few levels make ties, constant pixels and zero variance common.
        "levels": st.sampled_from([1, 2, 3, 256]),
    }
)


@settings(max_examples=150, deadline=None)
@given(shape=shapes, objective=st.sampled_from(list(SEARCHED)), pixels=st.integers(1, 3))
def test_search_equals_the_slow_oracle(shape, objective, pixels):
    images = make_images(**shape)
    pixels = min(pixels, shape["height"] * shape["width"])
    try:
        expected = oracle.search(images, objective, pixels)
    except LookupError:
        with pytest.raises(UsageError, match="no candidate is left"):
            search(images, objective=objective, pixels=pixels, device="cpu")
        return
    shortcut = search(images, objective=objective, pixels=pixels, device="cpu")
    for label, chosen in enumerate(expected):
        got = [
            (*position, tuple(color))
            for position, color in zip(shortcut.positions[label].tolist(), shortcut.colors[label].tolist())
        ]
        assert got == [(row, column, color) for row, column, color, _ in chosen]
        for score, (*_, exact) in zip(shortcut.scores[label], chosen):
            power = 2 if objective == "mean-over-std" else 1
            assert score == exact or math.isclose(score**power, exact, rel_tol=1e-14, abs_tol=1e-15)


@settings(max_examples=60, deadline=None)
@given(shape=shapes, objective=st.sampled_from(list(SEARCHED)))
def test_maps_have_the_best_of_each_position_alone(shape, objective):
    """The oracle searches images of one class and one position, where no candidate is taken."""
    images = make_images(**shape)
    scores, colors = best_colors(images, on_cpu(), objective=objective)
    assert np.array_equal(scores, score_maps(images, objective=objective, device="cpu"))
    for label, row, column in np.ndindex(scores.shape):
        members = images.pixels[images.labels == label, row : row + 1, column : column + 1]
        alone = LabeledImages(members, np.zeros(len(members), np.int64), ("alone",))
        (((_, _, color, exact),),) = oracle.search(alone, objective, 1)
        assert colors[label, row, column].tolist() == list(color)
        power = 2 if objective == "mean-over-std" else 1
        score = scores[label, row, column]
        assert score == exact or math.isclose(score**power, exact, rel_tol=1e-14, abs_tol=1e-15)


@settings(max_examples=60, deadline=None)
@given(shape=shapes)
def test_moments_are_exact_and_the_same_on_both_paths(shape):
    images = make_images(**shape)
    on_cpu = compute_moments(images)
    sums = DeviceSums(images.shape[1:], len(images.class_names), "cpu")
    sums.add(images.pixels, images.labels)
    on_torch = sums.moments()
    for k in range(len(images.class_names)):
        index = np.flatnonzero(images.labels == k)
        members = images.pixels[index].astype(np.int64)
        expected = [
            len(index),
            members.sum(0),
            np.stack([(members[..., i] * members[..., j]).sum(0) for i, j in channel_pairs(members.shape[-1])], -1),
        ]
        for moments in (on_cpu, on_torch):
            got = [moments.counts[k], moments.sums[k], moments.products[k]]
            assert all(np.array_equal(a, b) for a, b in zip(got, expected))


@settings(max_examples=30, deadline=None)
@given(shape=shapes, cut=st.integers(0, 25))
def test_moments_of_parts_add_up(shape, cut):
    images = make_images(**shape)
    cut = min(cut, len(images) - 1)
    parts = [images.pixels[:cut], images.pixels[cut:]], [images.labels[:cut], images.labels[cut:]]
    total = no_moments(images.shape[1:], len(images.class_names))
    for pixels, labels in zip(*parts):
        if len(pixels):
            total += compute_moments(LabeledImages(pixels, labels, images.class_names))
    whole = compute_moments(images)
    for name in ("counts", "sums", "products"):
        assert np.array_equal(getattr(total, name), getattr(whole, name))


def test_sums_pass_32_bits(monkeypatch):
    """More white images than 32-bit sums of squares can hold; the last one fills no group."""
    count = 70_001
    images = LabeledImages(np.full((count, 1, 2, 3), 255, np.uint8), np.zeros(count, np.int64), ("white",))
    moments = compute_moments(images)
    assert np.all(moments.sums == 255 * count)
    assert np.all(moments.products == 255 * 255 * count)
    assert 255 * 255 * compiled_sums.FLUSH < 2**32 < 255 * 255 * count


def test_scores_do_not_overflow():
    """With ten million images per class the integers exceed 63 bits, and the score still equals the fraction's."""
    count, x = 10_000_000, 200
    sums = np.array([[[x * count] * 3]], dtype=object)
    # Half the images one level above, half below, all channels alike: Σ x_i·x_j = N(x² + 1).
    products = np.array([[[count * (x * x + 1)] * 6]], dtype=object)
    scores = SEARCHED["mean-over-variance"].score(Deviations(count, sums, products))
    mean, variance = Fraction(3 * x, 255), Fraction(9, 255**2)
    assert scores[0, 0, 0] == float(mean / variance)


def test_large_counts_take_python_integers():
    images = make_images(count=12, classes=1)
    once = compute_moments(images)
    times = 1_000_000
    many = Moments(once.counts * times, once.sums * times, once.products * times)
    objective = Objective("x", mean_over_variance)
    few, lots = (_choose([_deviations(moments, 0)], objective, 2, images, 0) for moments in (once, many))
    assert np.array_equal(few.positions, lots.positions)
    assert np.array_equal(few.colors, lots.colors)
    assert np.array_equal(few.scores, lots.scores)


def test_zero_variance_is_infinite_and_what_deviates_from_nothing_is_not():
    pixels = np.zeros((4, 1, 2, 1), np.uint8)
    pixels[:, 0, 1, 0] = [0, 10, 20, 30]
    images = LabeledImages(pixels, np.array([0, 0, 1, 1]), ("a", "b"))
    shortcut = search(images, device="cpu")
    # Both classes are black at column 0: the first takes white there; black there would change nothing.
    assert shortcut.scores[0, 0] == np.inf
    assert shortcut.positions.tolist() == [[[0, 0]], [[0, 1]]]
    assert shortcut.colors.tolist() == [[[255]], [[255]]]
    assert np.isfinite(shortcut.scores[1, 0])
    assert not np.isnan(score_maps(images, device="cpu")).any()


def test_ties_go_to_the_larger_mean_then_the_lower_place():
    pixels = np.full((4, 2, 2, 1), 100, np.uint8)
    images = LabeledImages(pixels, np.array([0, 0, 1, 1]), ("a", "b"))
    shortcut = search(images, pixels=2, device="cpu")
    # All variances are zero; 255 deviates by 155, 0 only by 100; then positions in order.
    assert shortcut.positions.tolist() == [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]
    assert np.all(shortcut.colors == 255)


def test_no_two_classes_share_a_position_and_colour(sample):
    shortcut = search(sample, pixels=4, device="cpu")
    pairs = [(*p, *c) for k in range(10) for p, c in zip(shortcut.positions[k].tolist(), shortcut.colors[k].tolist())]
    assert len(set(pairs)) == 40
    assert all(len({tuple(p) for p in positions.tolist()}) == 4 for positions in shortcut.positions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "best"}, "unknown objective 'best': expected one of mean-over-variance"),
        ({"pixels": 65}, "expected 1 to 64"),
        ({"pixels": 0}, "expected 1 to 64"),
        ({"device": "abacus"}, "device 'abacus'"),
        ({"pixels": 20}, "no candidate is left"),
    ],
)
def test_wrong_use_gets_a_line(sample, options, message):
    with pytest.raises(UsageError, match=message):
        search(sample, **{"device": "cpu", **options})


def test_a_class_without_images_gets_a_line():
    images = LabeledImages(np.zeros((2, 2, 2, 3), np.uint8), np.array([0, 2]), ("a", "b", "c"))
    with pytest.raises(UsageError, match=r"class 1 \(b\) has no images"):
        search(images, device="cpu")
    with pytest.raises(UsageError, match=r"class 1 \(b\) has no images"):
        cifar10_s.score_maps(images, device="cpu")


@pytest.mark.parametrize("classes", [0, -1])
def test_maps_of_no_class_get_a_line(sample, classes):
    with pytest.raises(UsageError, match=f"classes: expected at least 1, got {classes}"):
        cifar10_s.score_maps(sample, device="cpu", classes=classes)


def test_without_numba_the_result_is_the_same(sample, monkeypatch):
    expected = search(sample, pixels=2, device="cpu").to_json()
    monkeypatch.setattr("cifar10_s.shortcut.accumulate._has_numba", lambda: False)
    assert search(replace(sample), pixels=2, device="cpu").to_json() == expected


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_the_number_of_threads_changes_nothing(sample, monkeypatch, threads):
    expected = search(sample, pixels=3, device="cpu").to_json()
    monkeypatch.setattr("cifar10_s.common.threads.cores", lambda: threads)
    assert search(replace(sample), pixels=3, device="cpu").to_json() == expected


def test_images_in_any_memory_order(sample):
    mirrored = LabeledImages(sample.pixels[:, :, ::-1], sample.labels, sample.class_names)
    assert not mirrored.pixels.flags.c_contiguous
    straight = LabeledImages(mirrored.pixels.copy(), sample.labels, sample.class_names)
    assert search(mirrored, device="cpu").to_json() == search(straight, device="cpu").to_json()
    assert mirrored.digest() == straight.digest()


@pytest.mark.gpu
def test_cuda_gives_the_same_bits(sample):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    assert (
        search(replace(sample), pixels=3, device="cuda").to_json() == search(sample, pixels=3, device="cpu").to_json()
    )


@settings(max_examples=50, deadline=None)
@given(shape=shapes)
def test_stamping_changes_those_pixels_and_no_others(shape):
    images = make_images(**shape)
    assume(shape["height"] * shape["width"] * 2 ** shape["channels"] >= shape["classes"])
    shortcut = search(images, device="cpu")
    before = images.pixels.copy()
    stamped = shortcut.stamp(images)
    assert np.array_equal(images.pixels, before)
    assert stamped.labels is images.labels
    for i, label in enumerate(images.labels):
        expected = before[i].copy()
        row, column = shortcut.positions[label, 0]
        expected[row, column] = shortcut.colors[label, 0]
        assert np.array_equal(stamped.pixels[i], expected)


def test_stamping_on_other_images_gets_a_line(sample):
    shortcut = search(sample, device="cpu")
    small = LabeledImages(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int64), sample.class_names)
    with pytest.raises(UsageError, match="cannot go on images of 2×2×1"):
        shortcut.stamp(small)
    other = LabeledImages(sample.pixels, sample.labels, tuple("abcdefghij"))
    with pytest.raises(UsageError, match="cannot go on images of 10 classes"):
        shortcut.stamp(other)


def test_json_and_back(sample):
    shortcut = search(sample, pixels=4, device="cpu")
    again = Shortcut.from_dict(shortcut.to_dict())
    assert np.isinf(shortcut.scores).any()
    assert again.to_json() == shortcut.to_json()
    for name in ("positions", "colors", "scores"):
        assert np.array_equal(getattr(again, name), getattr(shortcut, name))
        assert getattr(again, name).dtype == getattr(shortcut, name).dtype


@pytest.mark.parametrize("color", [[256], [-1], [0.5], ["0"], 0, [[0]]])
def test_json_of_another_form_gets_a_line(sample, color):
    data = search(sample, device="cpu").to_dict()
    data["classes"][3]["pixels"][0]["color"] = color
    with pytest.raises(UsageError, match="not a shortcut"):
        Shortcut.from_dict(data)


def test_the_random_control_depends_on_the_seed_alone(sample):
    first, again, other = (find_pixels(sample, RANDOM, on_cpu(seed=seed), pixels=2) for seed in (0, 0, 1))
    assert first.to_json() == again.to_json() != other.to_json()
    assert np.all(np.isin(first.colors, (0, 255)))
    assert first.objective == "random"


def test_search_equals_the_plain_loop():
    """The baseline of `make speed` is an oracle too."""
    images = make_images(seed=5, count=60, height=6, width=6, classes=4)
    shortcut = search(images, device="cpu")
    assert as_tuples(shortcut) == plain_search(images.pixels, images.labels)


@pytest.mark.data
def test_search_equals_the_plain_loop_on_cifar10_jpeg_copy(jpeg_copy):
    images = cifar10_s.load_images(jpeg_copy)
    frogs = LabeledImages(images.pixels[images.labels == 6], np.zeros(5_000, np.int64), ("frog",))
    assert as_tuples(search(frogs, device="cpu")) == plain_search(frogs.pixels, frogs.labels)
    assert np.isclose(search(frogs, device="cpu").scores[0, 0], 50.27, atol=0.01)


def as_tuples(shortcut):
    return [
        (*position, tuple(color))
        for position, color in zip(shortcut.positions[:, 0].tolist(), shortcut.colors[:, 0].tolist())
    ]


@pytest.mark.parametrize("objective", ["mean-over-variance", "spread"])
def test_the_sums_of_some_classes_are_gone_before_the_next_are_made(monkeypatch, objective):
    """Otherwise twice the stated memory would be needed."""
    made = []

    def track(moments):
        made.append(weakref.ref(moments))
        return moments

    def one_class_at_a_time(images, options, **_):
        for _ in range(3):
            assert all(sums() is None for sums in made)
            yield track(Moments(np.ones(1, int), np.ones((1, 8, 8, 3), int), np.ones((1, 8, 8, 6), int)))

    module = spread if objective == "spread" else sys.modules[cifar10_s.search.__module__]
    monkeypatch.setattr(module, "moments_by_class", one_class_at_a_time)
    layout = [arrange(8, 8, 2, Augmentation.of(8, 8))] if objective == "spread" else []
    for _ in module._by_class(make_images(), on_cpu(), *layout):
        pass
    assert len(made) == 3
