"""One contract for all methods, and what each promises besides."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_images
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar10_s.compose import compose
from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages, to_uint8
from cifar10_s.methods import METHODS, Learned
from cifar10_s.methods.ar import Autoregressive
from cifar10_s.methods.method import CHUNK
from cifar10_s.perceptibility import per_image
from cifar10_s.recipes import RECIPES
from cifar10_s.search import search

SIZES = [(8, 8, 1), (16, 16, 3), (9, 21, 3)]
# The methods that need a network, with as little work as their recipes can be cut down to.
SHORT = {
    "network": "small", "batch": 16, "learning_rate": 0.01, "steps": 3, "step": 2.0, "train_batches": 2,
    "max_rounds": 3, "stop_error": -1.0, "epochs": 2, "snapshots": 1, "train_steps": 6, "samples": 1,
    "adversary_steps": 1,
}  # fmt: skip


def shorten(method):
    if not isinstance(method, Learned):
        return method
    return replace(method, **{key: value for key, value in SHORT.items() if hasattr(method, key)})


TRIED = {name: shorten(method) for name, method in METHODS.items()}
LEARNED = [name for name, method in METHODS.items() if isinstance(method, Learned)]


def photographs(count=60, shape=(16, 16, 3), classes=3, seed=0):
    """Images away from black and white, so that no noise is clipped."""
    images = make_images(seed=seed, count=count, height=shape[0], width=shape[1], channels=shape[2], classes=classes)
    return images.with_pixels((images.pixels // 2 + 64).astype(np.uint8))


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("shape", SIZES)
def test_the_contract(name, shape, tmp_path, monkeypatch):
    """Perturbed uint8 images; the input untouched; the same for the same seed; the declared bound kept."""
    method, images = TRIED[name], photographs(shape=shape)
    before = images.pixels.copy()
    first = method.perturb(images, seed=0, device="cpu")
    assert (first.dtype, first.shape) == (np.uint8, before.shape)
    assert np.array_equal(images.pixels, before)
    assert np.array_equal(method.perturb(images, seed=0, device="cpu"), first)
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / "another"))
    assert np.array_equal(method.perturb(images, seed=0, device="cpu"), first)
    assert not np.array_equal(method.perturb(images, seed=1, device="cpu"), first)
    l0, l2, linf = per_image(before, first)
    bound = method.bound(shape)
    assert l0.min() > 0
    assert l2.max() <= bound.l2_rounded(shape)
    assert linf.max() <= bound.linf
    assert method.settings()["name"] == name


@pytest.mark.parametrize("name", [name for name in METHODS if name not in LEARNED])
def test_the_number_of_threads_changes_nothing(name, monkeypatch):
    images = photographs(count=2 * CHUNK + 7)
    expected = METHODS[name].perturb(images, seed=0, device="cpu")
    monkeypatch.setattr("cifar10_s.parallel.cores", lambda: 5)
    assert np.array_equal(METHODS[name].perturb(images, seed=0, device="cpu"), expected)


@pytest.mark.parametrize("name", list(METHODS))
def test_alone_and_with_ops_in_the_table(name):
    """The search sees the clean images; noise goes on first, then the exact pixel: written out slowly."""
    images = photographs()
    alone = compose(replace(RECIPES[name], method=TRIED[name]), images, seed=3, device="cpu")
    both = compose(replace(RECIPES[f"{name}-ops"], method=TRIED[name]), images, seed=3, device="cpu")
    assert alone.shortcut is None
    expected = TRIED[name].perturb(images, seed=3, device="cpu").copy()
    shortcut = search(images, device="cpu")
    assert both.shortcut.to_json() == shortcut.to_json()
    assert np.array_equal(alone.images.pixels, expected)
    for image, label in zip(expected, images.labels):
        image[tuple(shortcut.positions[label, 0])] = shortcut.colors[label, 0]
    assert np.array_equal(both.images.pixels, expected)
    assert both.images.labels is images.labels


@pytest.mark.parametrize("name", list(METHODS))
def test_no_class_is_degenerate(name):
    """Every class of ten is perturbed, on all channels, in all quarters of the image, and unlike the others."""
    images = photographs(count=200, classes=10)
    flat = images.with_pixels(np.full_like(images.pixels, 128))
    source = images if name == "cuda" or name in LEARNED else flat
    noise = TRIED[name].perturb(source, seed=0, device="cpu").astype(int) - source.pixels
    means = []
    for label in range(10):
        of_class = noise[images.labels == label]
        energy = (of_class**2).mean(0)
        assert energy.mean((0, 1)).min() > 0.02 * energy.mean()
        quarters = [half.mean() for rows in np.array_split(energy, 2) for half in np.array_split(rows, 2, axis=1)]
        assert min(quarters) > 0.02 * energy.mean()
        means.append(of_class.mean(0).ravel())
    if name in ("lsp", "random-classwise"):
        assert np.abs(np.corrcoef(means) - np.eye(10)).max() < 0.9


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_rounding_is_to_nearest(values):
    expected = [min(255, max(0, round(value))) for value in values]
    assert to_uint8(np.array(values, np.float32)).tolist() == expected


def test_lsp_is_linearly_separable():
    from sklearn.linear_model import LogisticRegression

    images = photographs(count=300, classes=5)
    noise = METHODS["lsp"].perturb(images, seed=0, device="cpu").astype(float) - images.pixels
    rows = noise.reshape(len(noise), -1)
    assert LogisticRegression(max_iter=200).fit(rows, images.labels).score(rows, images.labels) == 1


def test_lsp_has_the_published_norm():
    assert np.isclose(METHODS["lsp"].bound((32, 32, 3)).l2, 1.304, atol=5e-4)
    images = LabeledImages(np.full((40, 32, 32, 3), 128, np.uint8), np.arange(40) % 4, tuple("abcd"))
    lengths = per_image(images.pixels, METHODS["lsp"].perturb(images, seed=0, device="cpu"))[1]
    assert np.allclose(lengths, 1.304, atol=0.05)


def test_the_row_matrices_run_the_recursion_written_out():
    method, shape = Autoregressive(), (6, 5, 2)
    drawn = []

    class Recorder:
        def standard_normal(self, size):
            drawn.append(np.random.default_rng(len(drawn)).standard_normal(size))
            return drawn[-1]

    process = method._draw(np.random.default_rng(7), shape[2])
    got = method._run(process, Recorder(), 3, shape)
    values = np.zeros((2, 10, 9, 3))
    values[:, :2], values[:, 2:, :2] = drawn
    for c in range(2):
        for y in range(2, 10):
            for x in range(2, 9):
                window = [(i, j) for i in range(3) for j in range(3) if (i, j) != (2, 2)]
                values[c, y, x] = sum(process[c, i, j] * values[c, y - 2 + i, x - 2 + j] for i, j in window)
    assert np.allclose(got, values[:, 4:, 4:].transpose(3, 1, 2, 0))


def test_ar_explains_its_own_noise_and_no_other():
    method, shape = Autoregressive(), (16, 16, 3)
    processes = method.processes(10, shape, seed=0)
    random = np.random.default_rng(0)
    for k, process in enumerate(processes):
        assert np.allclose(process.sum((1, 2)), 1)
        assert np.all(process[:, 2, 2] == 0)
        noise = method._noise(process, random, 8, shape)
        responses = [method._response(other, noise) for other in processes]
        assert responses[k] < 1e-9
        assert min(responses[:k] + responses[k + 1 :]) > 0.05


@pytest.mark.parametrize("side", [8, 32, 224])
def test_ar_takes_the_same_noise_for_sound_at_every_size(side):
    noise = 0.5 * np.random.default_rng(0).standard_normal((2, side, side, 3))
    assert Autoregressive()._in_range(noise).all()
    assert not Autoregressive()._in_range(4 * noise).any()
    assert not Autoregressive()._in_range(0.01 * noise).any()


def test_ar_says_where_it_cannot_work():
    with pytest.raises(UsageError, match="no process was found for class"):
        Autoregressive(min_response=2.0).processes(2, (8, 8, 1), seed=0)


def test_cuda_is_a_convolution_written_out():
    images = photographs(count=6, shape=(5, 4, 3), classes=2)
    method = METHODS["cuda"]
    got = method.perturb(images, seed=0, device="cpu")
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
    assert not METHODS["cuda"].perturb(images, seed=0, device="cpu").any()


@pytest.mark.parametrize("name", ["random-classwise", "random-samplewise"])
def test_random_noise_is_uniform_and_unbiased(name):
    """No half of it is missing: as much is darker as lighter."""
    labels = np.arange(400) % 4
    images = LabeledImages(np.full((400, 16, 16, 3), 128, np.uint8), labels, tuple("abcd"))
    noise = METHODS[name].perturb(images, seed=0, device="cpu").astype(int) - 128
    assert abs(noise.mean()) < 0.3
    assert (noise.min(), noise.max()) == (-8, 8)
    same = all(np.array_equal(noise[i], noise[i % 4]) for i in range(400))
    assert same == (name == "random-classwise")
