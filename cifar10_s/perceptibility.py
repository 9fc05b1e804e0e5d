"""Perceptibility: how far a configuration's images are from the clean ones, and how much of that one could see."""

import math
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import Images
from cifar10_s.parallel import chunks
from cifar10_s.ssim import ssim

CHUNK = 256


@dataclass(frozen=True)
class Perceptibility:
    """Measures of the perturbations of some images; those of disjoint sets add up.

    Attributes
    ----------
    images
        How many images were compared.
    changed
        How many of them differ from the clean one at all.
    l0, l0_max
        Pixels changed (in any channel): summed over images, and the largest.
    l2, l2_max
        Euclidean norm, x in [0, 1]: summed over images, and the largest.
    linf_max
        The largest change of any value, in levels 0-255.
    psnr, psnr_min
        Peak signal-to-noise ratio in dB: summed over the changed images, and the lowest. That of an unchanged image
        is infinite; it enters neither.
    ssim, ssim_min
        Structural similarity (`ssim.ssim`): summed over images, and the lowest. That of an unchanged image is 1.
    """

    images: int = 0
    changed: int = 0
    l0: int = 0
    l0_max: int = 0
    l2: float = 0.0
    l2_max: float = 0.0
    linf_max: int = 0
    psnr: float = 0.0
    psnr_min: float = math.inf
    ssim: float = 0.0
    ssim_min: float = 1.0

    def __add__(self, other: "Perceptibility") -> "Perceptibility":
        return Perceptibility(
            images=self.images + other.images,
            changed=self.changed + other.changed,
            l0=self.l0 + other.l0,
            l0_max=max(self.l0_max, other.l0_max),
            l2=self.l2 + other.l2,
            l2_max=max(self.l2_max, other.l2_max),
            linf_max=max(self.linf_max, other.linf_max),
            psnr=self.psnr + other.psnr,
            psnr_min=min(self.psnr_min, other.psnr_min),
            ssim=self.ssim + other.ssim,
            ssim_min=min(self.ssim_min, other.ssim_min),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the means and the extremes, as the manifest has them.

        ``psnr_mean`` is over the changed images; it and ``psnr_min`` are None where none is. Every other mean is over
        all images.
        """
        return {
            "l0_mean": round(self.l0 / self.images, 6),
            "l0_max": self.l0_max,
            "l2_mean": round(self.l2 / self.images, 6),
            "l2_max": round(self.l2_max, 6),
            "linf_max": self.linf_max,
            "psnr_mean": round(self.psnr / self.changed, 6) if self.changed else None,
            "psnr_min": round(self.psnr_min, 6) if self.changed else None,
            "ssim_mean": round(self.ssim / self.images, 6),
            "ssim_min": round(self.ssim_min, 6),
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


def psnr(l2: NDArray[np.float64], values: int) -> NDArray[np.float64]:
    """Give the peak signal-to-noise ratio, 10·log₁₀(255² / MSE) in dB, of perturbations of these norms, (N,).

    ``l2`` is for x in [0, 1], where the peak is 1, and more than 0; ``values`` is H·W·C: MSE = ℓ2² / values.
    """
    return np.asarray(10 * np.log10(values / l2**2))


def measure(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> Perceptibility:
    """Measure the perturbations of a chunk of images: two (N, H, W, C) uint8 arrays."""
    l0, l2, linf = per_image(clean, perturbed)
    ratios = psnr(l2[l0 > 0], math.prod(clean.shape[1:]))
    similarities = ssim(clean, perturbed)
    return Perceptibility(
        images=len(clean),
        changed=len(ratios),
        l0=int(l0.sum()),
        l0_max=int(l0.max()),
        l2=float(l2.sum()),
        l2_max=float(l2.max()),
        linf_max=int(linf.max()),
        psnr=float(ratios.sum()),
        psnr_min=float(ratios.min(initial=math.inf)),
        ssim=float(similarities.sum()),
        ssim_min=float(similarities.min()),
    )


def measure_parts(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> Perceptibility:
    """Do the same with any number of images, a chunk at a time."""
    return reduce(add, (measure(clean[part], perturbed[part]) for part in chunks(len(clean), CHUNK)), Perceptibility())


def measure_all(clean: Images, perturbed: Images) -> Perceptibility:
    """Measure a configuration, on all cores."""
    parts = perturbed.map_beside(clean, lambda rows, before, after: measure_parts(before, after), what="measure")
    return reduce(add, parts, Perceptibility())
