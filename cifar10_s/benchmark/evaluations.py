"""The images that a trained network is evaluated on besides the test images (paper, Table 1)."""

import numpy as np

from cifar10_s.common.rng import generator
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import LabeledImages, to_uint8
from cifar10_s.release.layout import CLEAN
from cifar10_s.release.reader import Release

# Configurations whose perturbations are also evaluated on other images.
SHUFFLED_CONFIGURATIONS = ("em", "ops")
CHUNK_IMAGES = 500


def shuffle_perturbations(perturbed: LabeledImages, clean: LabeledImages, random: np.random.Generator) -> LabeledImages:
    """Add each perturbation, with its label, to a random image; each image is used once.

    A network that has learned the perturbations classifies these correctly; one that has learned the images is at
    chance level.
    """
    order = random.permutation(len(clean))
    pixels = np.empty_like(perturbed.pixels)
    for part in chunks(len(clean), CHUNK_IMAGES):
        change = perturbed.pixels[part].astype(np.float32) - clean.pixels[part]
        pixels[part] = to_uint8(clean.pixels[order[part]] + change)
    return perturbed.with_pixels(pixels)


def evaluations(release: Release, configuration: str, limit: int | None = None) -> dict[str, LabeledImages]:
    """Return the training images that a network is evaluated on, by name; none if Table 1 lacks its configuration.

    Of each class, these are at most ``limit``, the first ones.

    A network trained on clean images is evaluated on all of them; one trained on perturbed images is evaluated on
    these, on the clean ones, and on its own perturbations of other images.
    """
    if CLEAN not in release.configurations or configuration not in (CLEAN, *SHUFFLED_CONFIGURATIONS):
        return {}
    clean = release.train(CLEAN).first_per_class(limit)
    evaluated = {CLEAN: clean}
    for name in SHUFFLED_CONFIGURATIONS:
        if name in release.configurations and configuration in (CLEAN, name):
            perturbed = release.train(name).first_per_class(limit)
            random = generator(0, "benchmark", "shuffle", name)
            evaluated |= {name: perturbed, f"{name}-shuffled": shuffle_perturbations(perturbed, clean, random)}
    return evaluated
