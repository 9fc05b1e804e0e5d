"""Norms: how far a configuration's images are from the clean ones."""

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.parallel import chunks, thread_map

CHUNK = 256


@dataclass(frozen=True)
class Norms:
    """Norms of the perturbations of some images; those of disjoint sets add up.

    Attributes
    ----------
    images
        How many images were compared.
    l0, l0_max
        Pixels changed (in any channel): summed over images, and the largest.
    l2, l2_max
        Euclidean norm, x in [0, 1]: summed over images, and the largest.
    linf_max
        The largest change of any value, in levels 0-255.
    """

    images: int = 0
    l0: int = 0
    l0_max: int = 0
    l2: float = 0.0
    l2_max: float = 0.0
    linf_max: int = 0

    def __add__(self, other: "Norms") -> "Norms":
        return Norms(
            self.images + other.images,
            self.l0 + other.l0,
            max(self.l0_max, other.l0_max),
            self.l2 + other.l2,
            max(self.l2_max, other.l2_max),
            max(self.linf_max, other.linf_max),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the means and maxima, as the manifest has them."""
        return {
            "l0_mean": round(self.l0 / self.images, 6),
            "l0_max": self.l0_max,
            "l2_mean": round(self.l2 / self.images, 6),
            "l2_max": round(self.l2_max, 6),
            "linf_max": self.linf_max,
        }


def per_image(
    clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Give ℓ0, ℓ2 and ℓ∞ of each image's perturbation, three (N,) arrays; two (N, H, W, C) uint8 arrays in."""
    difference = np.subtract(perturbed, clean, dtype=np.int16)
    # Reducing over an axis of three is ten times as slow as taking the channels apart.
    pixels = reduce(np.logical_or, np.moveaxis(difference != 0, -1, 0)).sum((1, 2))
    # Sums of squared levels are whole numbers, so floating point adds them exactly.
    rows = difference.reshape(len(clean), -1).astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows)) / 255
    return pixels, lengths, np.abs(difference).max((1, 2, 3)).astype(np.int64)


def measure(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> Norms:
    """Measure the perturbations of a chunk of images: two (N, H, W, C) uint8 arrays."""
    l0, l2, linf = per_image(clean, perturbed)
    return Norms(len(clean), int(l0.sum()), int(l0.max()), float(l2.sum()), float(l2.max()), int(linf.max()))


def measure_all(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> Norms:
    """Measure any number of images, on all cores."""
    parts = thread_map(lambda part: measure(clean[part], perturbed[part]), chunks(len(clean), CHUNK))
    return reduce(add, parts, Norms())
