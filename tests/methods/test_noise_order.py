"""Noise that was made for images in another order is noticed if that is certain."""

import numpy as np
import pytest

from cifar10_s.methods.noise_order import is_sorted_by_class


def made_for(labels, scale, seed=0):
    """Return noise around a pattern per class."""
    random = np.random.default_rng(seed)
    patterns = random.normal(0, scale, (labels.max() + 1, 8, 8, 3))
    return (patterns[labels] + random.normal(0, 2, (len(labels), 8, 8, 3))).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_only_noise_in_the_order_of_sorted_images_is_noticed(seed):
    labels = np.random.default_rng(seed).integers(0, 10, 2000)
    assert is_sorted_by_class(made_for(np.sort(labels), 1, seed), labels)
    assert not is_sorted_by_class(made_for(labels, 1, seed), labels)
    assert not is_sorted_by_class(made_for(np.sort(labels), 1, seed), np.sort(labels))
    # What depends on no class may be in any order.
    assert not is_sorted_by_class(made_for(labels, 0, seed), labels)
    assert not is_sorted_by_class(made_for(np.random.default_rng(seed + 9).permutation(labels), 1, seed), labels)


@pytest.mark.parametrize("count", [2, 10, 40])
def test_few_images(count):
    labels = np.arange(count) % 4
    assert not is_sorted_by_class(made_for(labels, 0), labels)
    assert not is_sorted_by_class(made_for(labels, 1), labels)
    assert not is_sorted_by_class(np.ones((count, 2, 2, 1), np.float32), labels)
