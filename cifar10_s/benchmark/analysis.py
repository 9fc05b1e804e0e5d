"""Analysis: what else a trained network is evaluated on, to see what it has learned (paper, Table 1)."""

import numpy as np

from cifar10_s.benchmark.released import Released
from cifar10_s.images import LabeledImages, to_uint8
from cifar10_s.parallel import chunks
from cifar10_s.seeds import generator

CLEAN = "clean"
# The configurations whose perturbations are shuffled.
SHUFFLED = ("em", "ops")
CHUNK = 500


def shuffle_perturbations(perturbed: LabeledImages, clean: LabeledImages, random: np.random.Generator) -> LabeledImages:
    """Put each perturbation, with its label, on a random image, each image taken once.

    A network that reads the perturbation is right on these; one that reads the image is right by chance.
    """
    order = random.permutation(len(clean))
    pixels = np.empty_like(perturbed.pixels)
    for part in chunks(len(clean), CHUNK):
        change = perturbed.pixels[part].astype(np.float32) - clean.pixels[part]
        pixels[part] = to_uint8(clean.pixels[order[part]] + change)
    return perturbed.with_pixels(pixels)


def evaluations(released: Released, configuration: str) -> dict[str, LabeledImages]:
    """Give the training images that a network of Table 1 is evaluated on, by name; none for other configurations.

    One that was trained on clean images meets all; one that was trained on perturbed ones meets these, the clean,
    and its own perturbations on other images.
    """
    if CLEAN not in released.configurations or configuration not in (CLEAN, *SHUFFLED):
        return {}
    clean = released.train(CLEAN)
    sets = {CLEAN: clean}
    for name in SHUFFLED:
        if name in released.configurations and configuration in (CLEAN, name):
            perturbed = released.train(name)
            random = generator(0, "benchmark", "shuffle", name)
            sets |= {name: perturbed, f"{name}-shuffled": shuffle_perturbations(perturbed, clean, random)}
    return sets
