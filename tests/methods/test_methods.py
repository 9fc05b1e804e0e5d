"""The contract of all methods, and the properties of each."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.images import photographs
from support.method_contract import (
    LEARNED,
    SIZES,
    check_alone_and_with_ops_in_the_table,
    check_no_class_is_degenerate,
    check_the_contract,
    check_the_number_of_threads_changes_nothing,
)
from support.options import on_cpu

from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.errors import UsageError
from cifar10_s.methods import ar, linear_process
from cifar10_s.methods import linear_process_kernel as kernel
from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.linear_process import (
    LinearProcess,
    draw_filters,
    least_responses,
    least_responses_plain,
    run_plain,
)
from cifar10_s.methods.registry import METHODS
from cifar10_s.release.metrics.perceptibility import per_image


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("shape", SIZES)
def test_the_contract(name, shape, tmp_path, monkeypatch):
    check_the_contract(name, shape, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LEARNED])
def test_the_number_of_threads_changes_nothing(name, monkeypatch):
    check_the_number_of_threads_changes_nothing(name, monkeypatch)


@pytest.mark.parametrize("name", list(METHODS))
def test_alone_and_with_ops_in_the_table(name):
    check_alone_and_with_ops_in_the_table(name)


@pytest.mark.parametrize("name", list(METHODS))
def test_no_class_is_degenerate(name):
    check_no_class_is_degenerate(name)


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_rounding_is_to_nearest(values):
    expected = [min(255, max(0, round(value))) for value in values]
    assert to_uint8(np.array(values, np.float32)).tolist() == expected


def test_lsp_is_linearly_separable():
    from sklearn.linear_model import LogisticRegression

    images = photographs(count=300, classes=5)
    noise = METHODS["lsp"].perturb(images, on_cpu()).astype(float) - images.pixels
    rows = noise.reshape(len(noise), -1)
    assert LogisticRegression(max_iter=200).fit(rows, images.labels).score(rows, images.labels) == 1


def test_lsp_has_the_published_norm():
    assert np.isclose(METHODS["lsp"].bound((32, 32, 3)).l2, 1.304, atol=5e-4)
    images = LabeledImages(np.full((40, 32, 32, 3), 128, np.uint8), np.arange(40) % 4, tuple("abcd"))
    lengths = per_image(images.pixels, METHODS["lsp"].perturb(images, on_cpu()))[1]
    assert np.allclose(lengths, 1.304, atol=0.05)


def written_out(process, values):
    """Run a process over (C, H, W) values, in place, from their first two rows and columns."""
    for c, y, x in np.ndindex(values.shape):
        if min(y, x) >= 2:
            window = [(i, j) for i in range(3) for j in range(3) if (i, j) != (2, 2)]
            values[c, y, x] = sum(process[c, i, j] * values[c, y - 2 + i, x - 2 + j] for i, j in window)
    return values


def test_the_row_matrices_run_the_recursion_written_out():
    random = np.random.default_rng(7)
    process = draw_filters(random, 2)
    rows, columns = random.standard_normal((2, 2, 9, 3)), random.standard_normal((2, 8, 2, 3))
    got = LinearProcess(process, 9).run(rows, columns)
    for n in range(3):
        values = np.zeros((2, 10, 9))
        values[:, :2], values[:, 2:, :2] = rows[..., n], columns[..., n]
        assert np.allclose(got[..., n], written_out(process, values))


def test_filters_are_normal_draws_divided_by_their_sum():
    filters = draw_filters(np.random.default_rng(0), 50)
    raw = np.random.default_rng(0).standard_normal((50, 3, 3))
    assert not filters[:, 2, 2].any()
    for one, drawn in zip(filters, raw):
        drawn[2, 2] = 0
        assert np.allclose(one * drawn.sum(), drawn)


@pytest.mark.parametrize("run", [run_plain, kernel.run])
def test_each_filter_runs_its_own_image_until_it_diverges(run):
    random = np.random.default_rng(3)
    filters, values, bounded = draw_filters(random, 60), random.standard_normal((60, 14, 11)), np.empty(60, bool)
    expected = [written_out(one[None], start[None].copy())[0] for one, start in zip(filters, values)]
    run(filters, values, 9.0, bounded)
    assert bounded.tolist() == [bool(np.abs(one[2:, 2:]).max() <= 9) for one in expected]
    assert 5 < bounded.sum() < 55
    assert np.allclose(values[bounded], np.array(expected)[bounded])


def response_written_out(process, image):
    """Return the summed positive outputs of the convolution with -1 as the last tap, for (H, W, C) of any norm."""
    image, total = image / np.linalg.norm(image), 0.0
    for y in range(image.shape[0] - 2):
        for x in range(image.shape[1] - 2):
            predicted = sum(
                process[c, i, j] * image[y + i, x + j, c]
                for c in range(image.shape[2]) for i in range(3) for j in range(3) if (i, j) != (2, 2)
            )  # fmt: skip
            total += max(predicted - image[y + 2, x + 2].sum(), 0)
    return total


def test_responses_written_out():
    random = np.random.default_rng(5)
    processes = draw_filters(random, 8).reshape(4, 2, 3, 3)
    noise = random.standard_normal((6, 7, 5, 2))
    expected = [min(response_written_out(process, image) for process in processes) for image in noise]
    assert np.allclose(least_responses(processes, noise, 0.0), expected)
    floor = float(np.median(expected))
    assert np.array_equal(least_responses(processes, noise, floor) >= floor, np.array(expected) >= floor)
    assert np.isinf(least_responses(processes[:0], noise, 0.0)).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(1, 3)))
def test_the_kernels_give_the_bits_of_the_plain_versions(seed, shape):
    random = np.random.default_rng(seed)
    height, width, channels = shape
    filters, values = draw_filters(random, 20), random.standard_normal((20, height, width))
    runs = [(run, values.copy(), np.empty(20, bool)) for run in (run_plain, kernel.run)]
    for run, ran, bounded in runs:
        run(filters, ran, 4.0, bounded)
    assert np.array_equal(runs[0][2], runs[1][2])
    assert np.array_equal(runs[0][1][runs[0][2]], runs[1][1][runs[0][2]])
    weights, noise = (
        draw_filters(random, 3 * channels).reshape(3, channels, 3, 3),
        random.random((5, channels, *shape[:2])),
    )
    floor = float(random.uniform(0, 20))
    least = [np.full(5, np.inf), np.full(5, np.inf)]
    least_responses_plain(weights, noise, floor, least[0])
    kernel.least_responses(weights, noise, floor, least[1])
    assert np.array_equal(*least)


def test_ar_runs_without_numba(monkeypatch):
    expected = Autoregressive().processes(3, (9, 8, 2), seed=5)
    monkeypatch.setattr(linear_process, "_kernels", lambda: (run_plain, least_responses_plain))
    ar._draw_processes.cache_clear()
    assert np.array_equal(Autoregressive().processes(3, (9, 8, 2), seed=5), expected)


def test_ar_filters_respond_to_the_noise_of_every_later_class():
    method, shape = Autoregressive(), (16, 16, 3)
    processes, least = method.processes(6, shape, seed=0), method.threshold(6, shape)
    random = np.random.default_rng(0)
    for k, process in enumerate(processes):
        assert np.allclose(process.sum((1, 2)), 1)
        assert np.all(process[:, 2, 2] == 0)
        noise = method.run(process, random, 40, shape)
        assert least_responses(process[None], noise, 0.0).max() < 1e-9
        for earlier in processes[:k]:
            # On other starts than those of the choice, so a little less.
            assert least_responses(earlier[None], noise, 0.0).mean() > 0.8 * least


def test_the_response_that_is_asked_for():
    method = Autoregressive()
    assert [round(method.threshold(k, (32, 32, 3)), 6) for k in (2, 10, 100, 1000)] == [10, 10, 3, 0.9]
    assert method.threshold(10, (224, 300, 1)) == method.threshold(10, (32, 32, 3))
    assert np.isclose(method.threshold(10, (8, 8, 1)), 10 * (6 * 6 / 8) / (30 * 30 / 32))


def test_ar_asks_for_less_if_it_must_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(ar, "BATCHES", 1)
    processes = Autoregressive(min_response=20.0).processes(4, (8, 8, 1), seed=0)
    assert processes.shape == (4, 1, 3, 3)
    assert "the 4 processes are less unlike than published" in caplog.text


def test_recorded_processes_make_the_same_images():
    images, method = photographs(count=40, classes=4), Autoregressive()
    drawn = method.drawn(images, on_cpu(seed=2))
    again = method.with_drawn(json.loads(json.dumps(drawn)))
    assert again.settings() == method.settings()
    assert again.drawn(images, on_cpu(seed=2)) == drawn
    assert np.array_equal(again.perturb(images, on_cpu(seed=2)), method.perturb(images, on_cpu(seed=2)))
    with pytest.raises(UsageError, match=r"ar: the recorded processes are \(4, 3, 3, 3\), expected 5 classes"):
        again.perturb(photographs(count=40, classes=5), on_cpu())


@pytest.mark.parametrize(
    "drawn",
    [
        None, {}, [], {"processes": None}, {"processes": "x"}, {"processes": [[1.0]]},
        {"processes": [[[[1.0] * 3] * 2]]},
        {"processes": [[[[1.0] * 3] * 3]]}, {"processes": [[[[0.5] * 3, [0.5] * 3, [math.nan, 0.5, 0.0]]]]},
        {"processes": [[[[0] * 3] * 3]]}, {"processes": [[[["0"] * 3] * 3]]}, {"processes": [[[[0.0] * 3, [0.0]]]]},
    ],
)  # fmt: skip
def test_malformed_processes_are_refused(drawn):
    with pytest.raises(ValueError, match="drawn: expected"):
        Autoregressive().with_drawn(drawn)


@pytest.mark.parametrize("side", [8, 32, 224])
def test_ar_takes_the_same_noise_for_sound_at_every_size(side):
    noise = 0.5 * np.random.default_rng(0).standard_normal((2, side, side, 3))
    assert Autoregressive().in_range(noise).all()
    assert not Autoregressive().in_range(4 * noise).any()
    assert not Autoregressive().in_range(0.01 * noise).any()


def test_ar_says_where_it_cannot_work(monkeypatch):
    monkeypatch.setattr(ar, "BATCHES", 1)
    with pytest.raises(UsageError, match=r"ar: no process found for class 1 .* larger images or fewer classes"):
        Autoregressive(min_response=1000.0).processes(2, (8, 8, 1), seed=0)
    with pytest.raises(UsageError, match="ar: expected images of at least 3×3 pixels, got 2×8"):
        Autoregressive().processes(2, (2, 8, 1), seed=0)


def test_cuda_is_a_convolution_written_out():
    images = photographs(count=6, shape=(5, 4, 3), classes=2)
    method = METHODS["cuda"]
    got = method.perturb(images, on_cpu())
    filters = method._filters(2, 0)
    assert np.all(np.sort(filters.reshape(2, -1))[:, -1] == 1)
    for i, label in enumerate(images.labels):
        padded = np.pad(images.pixels[i].astype(float), ((1, 1), (1, 1), (0, 0)))
        blurred = np.array(
            [
                [(filters[label][..., None] * padded[y : y + 3, x : x + 3]).sum((0, 1)) for x in range(4)]
                for y in range(5)
            ]
        )
        expected = blurred / blurred.max() * 255
        assert np.abs(got[i] - expected).max() <= 0.5 + 1e-3


def test_a_black_image_stays_black():
    images = LabeledImages(np.zeros((2, 8, 8, 3), np.uint8), np.array([0, 1]), ("a", "b"))
    assert not METHODS["cuda"].perturb(images, on_cpu()).any()


@pytest.mark.parametrize("name", ["random-classwise", "random-samplewise"])
def test_random_noise_is_uniform_and_unbiased(name):
    """Neither sign is missing: as much is darker as lighter."""
    labels = np.arange(400) % 4
    images = LabeledImages(np.full((400, 16, 16, 3), 128, np.uint8), labels, tuple("abcd"))
    noise = METHODS[name].perturb(images, on_cpu()).astype(int) - 128
    assert abs(noise.mean()) < 0.3
    assert (noise.min(), noise.max()) == (-8, 8)
    same = all(np.array_equal(noise[i], noise[i % 4]) for i in range(400))
    assert same == (name == "random-classwise")
