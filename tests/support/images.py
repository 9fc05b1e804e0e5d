"""Synthetic images."""

import numpy as np

from cifar10_s.data.images import LabeledImages


def make_images(seed=0, count=40, height=5, width=4, channels=3, classes=3, levels=256):
    """Return random images in which every class occurs."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, max(count - classes, 0))])
    pixels = random.integers(0, levels, (len(labels), height, width, channels), dtype=np.uint8)
    return LabeledImages(pixels, labels.astype(np.int64), tuple(f"class {k}" for k in range(classes)))


def photographs(count=60, shape=(16, 16, 3), classes=3, seed=0):
    """Return images whose levels are far from black and white, so that no noise is clipped."""
    images = make_images(seed=seed, count=count, height=shape[0], width=shape[1], channels=shape[2], classes=classes)
    return images.with_pixels((images.pixels // 2 + 64).astype(np.uint8))


def learnable(count=240, classes=4):
    """Return images whose classes a small network learns: red, green, blue and grey."""
    images = photographs(count=count, classes=classes, shape=(8, 8, 3))
    tint = np.array([[60, 0, 0], [0, 60, 0], [0, 0, 60], [20, 20, 20]])[images.labels][:, None, None]
    return images.with_pixels((images.pixels // 4 + 80 + tint).astype(np.uint8))
