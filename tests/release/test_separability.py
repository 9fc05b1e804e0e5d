"""Which images are chosen, and how well a linear classifier predicts the class of perturbations."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import make_images

from cifar10_s.data.images import LabeledImages
from cifar10_s.release.metrics.separability import Separability, choose, measure, measure_all

GREY = 128


def measured(noise, labels):
    """Measure noise in levels, (n, H, W, C), on grey images."""
    clean = np.full(noise.shape, GREY, np.uint8)
    return measure(clean, (clean + noise).astype(np.uint8), labels)


def balanced(classes=4, each=100):
    return np.random.default_rng(5).permutation(np.repeat(np.arange(classes), each))


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(15, 60), min_size=1, max_size=6), seed=st.integers(0, 9), limit=st.integers(20, 300))
def test_the_first_of_each_class_are_chosen(counts, seed, limit):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    images = LabeledImages(np.zeros((len(labels), 2, 3, 1), np.uint8), labels, tuple("abcdef"[: len(counts)]))
    chosen = choose(images, max_images=limit)
    each = min(min(counts), limit // len(counts))
    expected = []
    if each >= 20 and len(counts) > 1:
        for label in range(len(counts)):
            expected += [row for row, of_row in enumerate(labels) if of_row == label][:each]
    assert np.flatnonzero(chosen).tolist() == sorted(expected)


def test_large_images_are_chosen_within_the_number_of_values_allowed():
    images = make_images(count=400, height=8, width=8, classes=2)
    assert choose(images, max_values=192 * 101).sum() == 100
    assert choose(images).sum() == 2 * min(np.bincount(images.labels))


def test_nothing_to_measure():
    images = make_images(count=200, classes=2)
    assert measure_all(images, images) is None
    few = make_images(count=30, classes=2)
    assert measure_all(few, few.with_pixels(255 - few.pixels)) is None
    absent = replace(images, class_names=("a", "b", "without images"))
    assert measure_all(absent, absent.with_pixels(255 - images.pixels)) is None


def test_class_wise_noise_is_separable():
    labels, random = balanced(), np.random.default_rng(0)
    of_class = random.integers(-8, 9, (4, 6, 5, 3))
    assert measured(of_class[labels], labels) == Separability(100.0, 320, 80)


def test_one_pixel_is_separable():
    labels = balanced()
    noise = np.zeros((400, 6, 5, 3), int)
    noise[np.arange(400), labels, 2] = 100
    assert measured(noise, labels).accuracy == 100


def test_noise_that_does_not_depend_on_the_class_is_not_separable():
    """On held-out images: 600 values suffice to memorise 320 rows, but predict no others."""
    noise = np.random.default_rng(0).integers(-8, 9, (400, 20, 10, 3))
    assert measured(noise, balanced()).accuracy < 40


def test_noise_that_is_not_linearly_separable():
    """The class is whether two pixels change alike: XOR."""
    signs = np.random.default_rng(0).choice([-8, 8], (2, 4000))
    labels = (signs[0] == signs[1]).astype(np.int64)
    each = min(np.bincount(labels))
    rows = np.sort(np.concatenate([np.flatnonzero(labels == k)[:each] for k in (0, 1)]))
    noise = np.zeros((len(rows), 3, 3, 1), int)
    noise[:, 0, 0, 0], noise[:, 2, 1, 0] = signs[:, rows]
    assert 40 < measured(noise, labels[rows]).accuracy < 60


def test_fitted_on_the_first_of_each_class_and_scored_on_the_others():
    """The last fifth of each class has the next class's noise: none of it is classified correctly."""
    labels, of_class = balanced(), np.random.default_rng(0).integers(-8, 9, (4, 6, 5, 3))
    worn = labels.copy()
    for label in range(4):
        worn[np.flatnonzero(labels == label)[80:]] = (label + 1) % 4
    assert measured(of_class[worn], labels) == Separability(0.0, 320, 80)


def test_the_clean_images_and_the_noises_scale_do_not_count():
    labels, random = balanced(), np.random.default_rng(0)
    noise = random.integers(-8, 9, (400, 6, 5, 3)) + random.integers(-2, 3, (4, 6, 5, 3))[labels]
    clean = random.integers(64, 192, noise.shape).astype(np.uint8)
    first = measured(noise, labels)
    assert 30 < first.accuracy < 100
    assert measure(clean, (clean + noise).astype(np.uint8), labels) == first
    assert measured(4 * noise, labels) == first


def slow_accuracy(noise, labels):
    """Return the accuracy by plain gradient descent to convergence on Σ log-loss / d + |w|² / 2, intercept free."""
    rows = noise.reshape(len(noise), -1) / np.sqrt(np.mean(noise**2.0))
    count = np.bincount(labels)[0]
    fit = np.concatenate([np.flatnonzero(labels == k)[: count * 4 // 5] for k in np.unique(labels)])
    held_out = np.setdiff1d(np.arange(len(labels)), fit)
    truth = np.eye(labels.max() + 1)[labels]
    weights, intercept = np.zeros((rows.shape[1], truth.shape[1])), np.zeros(truth.shape[1])
    for _ in range(5_000):
        logits = rows[fit] @ weights + intercept
        odds = np.exp(logits - logits.max(1, keepdims=True))
        error = odds / odds.sum(1, keepdims=True) - truth[fit]
        weights -= 0.05 * (rows[fit].T @ error / rows.shape[1] + weights)
        intercept -= 0.05 * error.sum(0) / rows.shape[1]
    predicted = (rows[held_out] @ weights + intercept).argmax(1)
    return 100 * np.mean(predicted == labels[held_out])


@pytest.mark.parametrize("seed", range(3))
def test_the_classifier_is_that_of_plain_gradient_descent(seed):
    labels, random = balanced(), np.random.default_rng(seed)
    noise = random.integers(-8, 9, (400, 6, 5, 3)) + random.integers(-2, 3, (4, 6, 5, 3))[labels]
    got = measured(noise, labels)
    assert 30 < got.accuracy < 100
    assert got.agrees(slow_accuracy(noise, labels))


def test_how_far_machines_may_differ():
    many, few = Separability(50.0, 3200, 800), Separability(50.0, 80, 20)
    assert many.agrees(50.5)
    assert many.agrees(49.5)
    assert few.agrees(60.0)
    assert Separability(round(100 / 3, 6), 240, 60).agrees(round(110 / 3, 6))
    for accuracy in (50.625, 49.375, float("nan"), float("inf")):
        assert not many.agrees(accuracy)
    assert not few.agrees(65.0)
