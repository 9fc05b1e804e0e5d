"""The contract that every method keeps."""

from dataclasses import replace

import numpy as np

from cifar10_s.methods.base import CHUNK_IMAGES
from cifar10_s.methods.learned import Learned
from cifar10_s.methods.registry import METHODS
from cifar10_s.release.compose import compose
from cifar10_s.release.metrics.perceptibility import per_image
from cifar10_s.release.recipes import CONFIGURATIONS
from cifar10_s.shortcut.pixel_search import search
from support.images import photographs
from support.options import on_cpu

SIZES = [(8, 8, 1), (16, 16, 3), (9, 21, 3)]
# The methods that train a model, with their recipes cut to as little work as possible.
SHORT = {
    "network": "small", "batch": 16, "learning_rate": 0.01, "steps": 3, "step": 2.0, "train_batches": 2,
    "max_rounds": 3, "stop_error": -1.0, "epochs": 2, "snapshots": 1, "train_steps": 6, "samples": 1,
    "adversary_steps": 1, "restarts": 1, "start_error": 2.0, "deviations": (0.0, 0.25), "noise_draws": 2,
    "train_draws": 2, "particles": 3, "iterations": 2,
}  # fmt: skip


def shorten(method):
    if not isinstance(method, Learned):
        return method
    return replace(method, **{key: value for key, value in SHORT.items() if hasattr(method, key)})


TRIED = {name: shorten(method) for name, method in METHODS.items()}
# Of three classes, class y + 3 is class y.
TRIED["dune"] = replace(TRIED["dune"], offset=1)
LEARNED = [name for name, method in METHODS.items() if isinstance(method, Learned)]


def check_the_contract(name, shape, tmp_path, monkeypatch):
    """Check type and shape, that the input is unchanged, that the seed decides the result, and the declared bound."""
    method, images = TRIED[name], photographs(shape=shape)
    before = images.pixels.copy()
    first = method.perturb(images, on_cpu())
    assert (first.dtype, first.shape) == (np.uint8, before.shape)
    assert np.array_equal(images.pixels, before)
    assert np.array_equal(method.perturb(images, on_cpu()), first)
    monkeypatch.setenv("CIFAR10_S_CACHE", str(tmp_path / "another"))
    assert np.array_equal(method.perturb(images, on_cpu()), first)
    assert not np.array_equal(method.perturb(images, on_cpu(seed=1)), first)
    l0, l2, linf = per_image(before, first)
    bound = method.bound(shape)
    assert l0.min() > 0
    assert l2.max() <= bound.l2_rounded(shape)
    assert linf.max() <= bound.linf
    assert method.settings()["name"] == name


def check_the_number_of_threads_changes_nothing(name, monkeypatch):
    images = photographs(count=2 * CHUNK_IMAGES + 7)
    expected = METHODS[name].perturb(images, on_cpu())
    monkeypatch.setattr("cifar10_s.common.threads.cores", lambda: 5)
    assert np.array_equal(METHODS[name].perturb(images, on_cpu()), expected)


def check_alone_and_with_ops_in_the_table(name):
    """Compare with a slow version: search the clean images, add the noise, then stamp the exact pixel."""
    images = photographs()
    alone = compose(replace(CONFIGURATIONS[name], method=TRIED[name]), images, on_cpu(seed=3))
    both = compose(replace(CONFIGURATIONS[f"{name}-ops"], method=TRIED[name]), images, on_cpu(seed=3))
    assert alone.shortcut is None
    expected = TRIED[name].perturb(images, on_cpu(seed=3)).copy()
    shortcut = search(images, device="cpu")
    assert both.shortcut.to_json() == shortcut.to_json()
    assert np.array_equal(alone.images.pixels, expected)
    for image, label in zip(expected, images.labels):
        image[tuple(shortcut.positions[label, 0])] = shortcut.colors[label, 0]
    assert np.array_equal(both.images.pixels, expected)
    assert both.images.labels is images.labels


def check_no_class_is_degenerate(name):
    """Check that each of ten classes is perturbed in all channels and all quarters, and unlike the others."""
    images = photographs(count=200, classes=10)
    flat = images.with_pixels(np.full_like(images.pixels, 128))
    source = images if name == "cuda" or name in LEARNED else flat
    noise = TRIED[name].perturb(source, on_cpu()).astype(int) - source.pixels
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
