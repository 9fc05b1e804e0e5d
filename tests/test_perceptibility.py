"""Norms, PSNR and SSIM against loops written out, and SSIM against scikit-image."""

import math

import numpy as np
import pytest
from conftest import make_images
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from cifar10_s.perceptibility import Perceptibility, measure, measure_all
from cifar10_s.ssim import ssim


def pairs(shape, count=6, seed=0):
    """Smooth and rough images with all kinds of change: none, one value, one pixel, little noise, everything."""
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
    """SSIM of one pair as its paper has it: window after window, each with its own weighted moments."""
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
    """1 to the last bit for the same images; symmetric; at most 1; blind to mirroring and to the channels' order."""
    clean, perturbed = pairs(shape, seed=seed)
    got = ssim(clean, perturbed)
    assert np.all(ssim(clean, clean) == 1)
    assert np.array_equal(ssim(perturbed, clean), got)
    assert np.all(np.abs(got) <= 1 + 1e-12)
    for turn in (lambda a: a[:, ::-1], lambda a: a[:, :, ::-1], lambda a: a[..., ::-1], lambda a: a.swapaxes(1, 2)):
        assert np.allclose(ssim(turn(clean), turn(perturbed)), got, rtol=0, atol=1e-12)


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
    assert got.to_dict() == pytest.approx(expected, abs=1e-6)


def test_one_value_of_known_psnr():
    """One level in one of 3,072 values: 10·log₁₀(255²·3072)."""
    clean = np.zeros((1, 32, 32, 3), np.uint8)
    perturbed = clean.copy()
    perturbed[0, 5, 6, 1] = 1
    assert measure(clean, perturbed).to_dict()["psnr_min"] == round(20 * math.log10(255) + 10 * math.log10(3072), 6)


def test_unchanged_images_have_no_psnr():
    clean = make_images(count=7).pixels
    found = measure(clean, clean).to_dict()
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
    assert parts.to_dict() == pytest.approx(whole.to_dict(), abs=2e-6)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    clean, perturbed = make_images(seed=1, count=700), make_images(seed=2, count=700)
    expected = measure_all(clean, perturbed)
    monkeypatch.setattr("cifar10_s.parallel.cores", lambda: 5)
    assert measure_all(clean, perturbed) == expected
