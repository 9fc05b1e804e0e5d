"""Norms, PSNR and SSIM against plain loops, and SSIM against scikit-image."""

import logging
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from support.images import make_images

from cifar10_s.release.metrics import ssim as ssim_module
from cifar10_s.release.metrics import ssim_kernel
from cifar10_s.release.metrics.perceptibility import Perceptibility, measure, measure_all, norms_plain, per_image
from cifar10_s.release.metrics.ssim import read_only_rows, ssim


def pairs(shape, count=6, seed=0):
    """Return smooth and rough images with no change, one value, one pixel, little noise or everything changed."""
    height, width, channels = shape
    random = np.random.default_rng(seed)
    slope = np.linspace(30, 200, height)[:, None, None] + np.linspace(0, 40, width)[:, None] + np.zeros(channels)
    clean = np.where(np.arange(count)[:, None, None, None] % 2, slope, random.integers(0, 256, (count, *shape)))
    clean = clean.astype(np.uint8)
    perturbed = clean.copy()
    perturbed[1, height // 2, width // 3, 0] ^= 1
    perturbed[2, -1, 0] = 255 - perturbed[2, -1, 0]
    perturbed[3] = np.clip(clean[3] + random.integers(-8, 9, shape), 0, 255)
    perturbed[4] = 255 - clean[4]
    perturbed[5:] = random.integers(0, 256, perturbed[5:].shape)
    return clean, perturbed


def slow_ssim(x, y):
    """Return the SSIM of one pair by the paper's formula, window after window, with weighted moments of each."""
    height, width, channels = x.shape
    side = max(odd for odd in (1, 3, 5, 7, 9, 11) if odd <= min(height, width))
    weights = np.array([[math.exp(-((r - side // 2) ** 2 + (c - side // 2) ** 2) / 4.5) for c in range(side)]
                        for r in range(side)])  # fmt: skip
    weights /= weights.sum()
    values = []
    for channel in range(channels):
        for row in range(height - side + 1):
            for column in range(width - side + 1):
                a = x[row : row + side, column : column + side, channel].astype(float)
                b = y[row : row + side, column : column + side, channel].astype(float)
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
                covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
                luminance = (2 * mean_a * mean_b + 2.55**2) / (mean_a**2 + mean_b**2 + 2.55**2)
                values.append(luminance * (2 * covariance + 7.65**2) / (var_a + var_b + 7.65**2))
    return np.mean(values)


@pytest.mark.parametrize("shape", [(32, 32, 3), (11, 11, 1), (12, 40, 4), (25, 13, 2)])
def test_ssim_is_that_of_scikit_image(shape):
    clean, perturbed = pairs(shape)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    expected = [structural_similarity(x, y, channel_axis=-1, **options) for x, y in zip(clean, perturbed)]
    assert expected[4] < expected[3] < expected[1] < 1
    assert np.allclose(ssim(clean, perturbed), expected, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 15), st.integers(1, 15), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_ssim_of_any_size_is_that_of_a_slow_loop(shape, seed):
    """A window of 11×11, or the largest odd side that fits."""
    clean, perturbed = pairs(shape, seed=seed)
    expected = [slow_ssim(x, y) for x, y in zip(clean, perturbed)]
    assert np.allclose(ssim(clean, perturbed), expected, rtol=0, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_what_holds_of_every_ssim(shape, seed):
    """Exactly 1 for equal images; symmetric; at most 1; invariant to mirroring and to the order of channels."""
    clean, perturbed = pairs(shape, seed=seed)
    got = ssim(clean, perturbed)
    assert np.all(ssim(clean, clean) == 1)
    assert np.array_equal(ssim(perturbed, clean), got)
    assert np.all(np.abs(got) <= 1 + 1e-12)
    for turn in (lambda a: a[:, ::-1], lambda a: a[:, :, ::-1], lambda a: a[..., ::-1], lambda a: a.swapaxes(1, 2)):
        assert np.allclose(ssim(turn(clean), turn(perturbed)), got, rtol=0, atol=1e-12)


@pytest.fixture
def undecided():
    """Clear the cached choice of the kernel, before and after."""
    ssim_module._kernel.cache_clear()
    yield
    ssim_module._kernel.cache_clear()


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_the_plain_version_gives_the_same_bits(shape, seed):
    """Also if only some rows of an image are equal, or levels differ by little."""
    clean, perturbed = pairs(shape, seed=seed)
    assert ssim_module._kernel() is ssim_kernel.mean_ssim
    got = ssim(clean, perturbed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssim_module, "_kernel", lambda: ssim_module.mean_ssim_plain)
        assert np.array_equal(ssim(clean, perturbed), got)


def test_the_plain_version_takes_over_if_the_kernel_does_not_compile(undecided, monkeypatch, caplog):
    def mean_ssim(*arguments):
        raise RuntimeError("LLVM\nrefuses")

    clean, perturbed = pairs((12, 13, 3))
    expected = ssim(clean, perturbed)
    ssim_module._kernel.cache_clear()
    monkeypatch.setattr(ssim_kernel, "mean_ssim", mean_ssim)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(4) as executor:
        got = list(executor.map(lambda _: ssim(clean, perturbed), range(8)))
    assert all(np.array_equal(values, expected) for values in got)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "mean_ssim does not compile here (RuntimeError: LLVM refuses): continuing with" in line
    assert line.endswith("cifar10_s.release.metrics.ssim.mean_ssim_plain, slower")


def test_without_numba_ssim_is_the_same(undecided, monkeypatch):
    clean, perturbed = pairs((12, 13, 3))
    expected = ssim(clean, perturbed)
    ssim_module._kernel.cache_clear()
    monkeypatch.setitem(sys.modules, "cifar10_s.common.jit", None)
    assert np.array_equal(ssim(clean, perturbed), expected)
    assert ssim_module._kernel() is ssim_module.mean_ssim_plain


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(10, 30), st.integers(10, 30), st.integers(1, 4)),
    places=st.lists(st.tuples(*[st.integers(0, 99)] * 3), max_size=4),
)
def test_ssim_and_norms_have_the_same_bits_in_plain_numpy_wherever_few_values_change(shape, places):
    """At the edges too, where few windows have the value, and in several places, between which all are equal."""
    clean = np.random.default_rng(0).integers(0, 256, (1, *shape), dtype=np.uint8)
    perturbed = clean.copy()
    for place in places:
        perturbed[0][tuple(at % size for at, size in zip(place, shape))] ^= 255
    rows, similarity = [read_only_rows(images) for images in (clean, perturbed)], np.empty(1)
    weights = ssim_module.window(min(shape[:2]))
    ssim_module.mean_ssim_plain(*rows, shape[-1], weights, ssim_module.CONSTANTS, similarity)
    assert np.array_equal(ssim(clean, perturbed), similarity)
    norms = np.empty((3, 1), np.int64)
    norms_plain(*rows, shape[-1], *norms)
    assert np.array_equal(per_image(clean, perturbed), [norms[0], np.sqrt(norms[1]) / 255, norms[2]])


def test_measures_are_those_of_a_slow_loop():
    clean, perturbed = make_images(seed=1, count=600), make_images(seed=2, count=600)
    perturbed.pixels[:300] = clean.pixels[:300]
    perturbed.pixels[7, 2, 3, 1] ^= 255
    counts, lengths, largest, ratios, similarities = [], [], 0, [], []
    for x, y in zip(clean.pixels, perturbed.pixels):
        a, b = x.astype(float), y.astype(float)
        counts.append(sum(any(a[r, c] != b[r, c]) for r in range(5) for c in range(4)))
        lengths.append(np.linalg.norm((a - b).ravel()) / 255)
        largest = max(largest, int(abs(a - b).max()))
        error = np.mean((a - b) ** 2)
        if error:
            ratios.append(10 * math.log10(255**2 / error))
        similarities.append(slow_ssim(x, y))
    got = measure_all(clean, perturbed)
    assert (got.images, got.l0, got.l0_max, got.linf_max) == (600, sum(counts), max(counts), largest)
    assert got.changed == len(ratios) == 301
    expected = {
        "l0_mean": np.mean(counts),
        "l0_max": max(counts),
        "l2_mean": np.mean(lengths),
        "l2_max": max(lengths),
        "linf_max": largest,
        "psnr_mean": np.mean(ratios),
        "psnr_min": min(ratios),
        "ssim_mean": np.mean(similarities),
        "ssim_min": min(similarities),
    }
    assert asdict(got.summary()) == pytest.approx(expected, abs=1e-6)


def test_one_value_of_known_psnr():
    """One level in one of 3,072 values: 10·log₁₀(255²·3072)."""
    clean = np.zeros((1, 32, 32, 3), np.uint8)
    perturbed = clean.copy()
    perturbed[0, 5, 6, 1] = 1
    assert measure(clean, perturbed).summary().psnr_min == round(20 * math.log10(255) + 10 * math.log10(3072), 6)


def test_unchanged_images_have_no_psnr():
    clean = make_images(count=7).pixels
    found = asdict(measure(clean, clean).summary())
    assert found.pop("psnr_mean") is found.pop("psnr_min") is None
    assert (found.pop("ssim_mean"), found.pop("ssim_min")) == (1, 1)
    assert found == dict.fromkeys(found, 0)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(1, 39))
def test_parts_add_up(cut):
    clean, perturbed = make_images(seed=1, count=40).pixels, make_images(seed=2, count=40).pixels
    perturbed[::3] = clean[::3]
    whole = measure(clean, perturbed)
    parts = measure(clean[:cut], perturbed[:cut]) + measure(clean[cut:], perturbed[cut:]) + Perceptibility()
    assert asdict(parts.summary()) == pytest.approx(asdict(whole.summary()), abs=2e-6)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    clean, perturbed = make_images(seed=1, count=700), make_images(seed=2, count=700)
    expected = measure_all(clean, perturbed)
    monkeypatch.setattr("cifar10_s.common.threads.cores", lambda: 5)
    assert measure_all(clean, perturbed) == expected
