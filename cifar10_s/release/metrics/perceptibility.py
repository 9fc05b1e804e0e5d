"""Perceptibility of perturbations: norms, PSNR and SSIM of perturbed images against the clean ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from operator import add
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks
from cifar10_s.data.images import Images
from cifar10_s.release.metrics.ssim import read_only_rows, ssim

CHUNK = 256

_deciding = Lock()


@dataclass(frozen=True, kw_only=True)
class Visibility:
    """Means over images, and extremes, rounded as in a manifest; see `Perceptibility`.

    ``psnr_mean`` is the mean over the changed images; it and ``psnr_min`` are None if no image is changed. All other
    means are over all images.
    """

    l0_mean: float
    l0_max: int
    l2_mean: float
    l2_max: float
    linf_max: int
    psnr_mean: float | None
    psnr_min: float | None
    ssim_mean: float
    ssim_min: float


@dataclass(frozen=True)
class Perceptibility:
    """Metrics of the perturbations of a set of images; those of disjoint sets can be added.

    Attributes
    ----------
    images
        Number of images.
    changed
        Number of images that differ from the clean ones.
    l0, l0_max
        Pixels changed in any channel: sum over images, and maximum.
    l2, l2_max
        ℓ2 norm, x in [0, 1]: sum over images, and maximum.
    linf_max
        Maximum change of any value, in levels 0-255.
    psnr, psnr_min
        Peak signal-to-noise ratio in dB: sum over the changed images, and minimum. Unchanged images, for which it is
        infinite, are not included.
    ssim, ssim_min
        Structural similarity (`ssim.ssim`): sum over images, and minimum. That of an unchanged image is 1.
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

    def summary(self) -> Visibility:
        """Return the means and the extremes."""
        return Visibility(
            l0_mean=round(self.l0 / self.images, 6),
            l0_max=self.l0_max,
            l2_mean=round(self.l2 / self.images, 6),
            l2_max=round(self.l2_max, 6),
            linf_max=self.linf_max,
            psnr_mean=round(self.psnr / self.changed, 6) if self.changed else None,
            psnr_min=round(self.psnr_min, 6) if self.changed else None,
            ssim_mean=round(self.ssim / self.images, 6),
            ssim_min=round(self.ssim_min, 6),
        )


def per_image(
    clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return ℓ0, ℓ2 (x in [0, 1]) and ℓ∞ (in levels) of the perturbation of each image.

    Parameters
    ----------
    clean, perturbed : (N, H, W, C) uint8

    Returns
    -------
    Three (N,) arrays.
    """
    norms: NDArray[np.int64] = np.empty((3, len(clean)), np.int64)
    with _deciding:
        kernel = _kernel()
    kernel(read_only_rows(clean), read_only_rows(perturbed), clean.shape[-1], *norms)
    # Sums of squared levels are integers, so they are exact in floating point.
    return norms[0], np.sqrt(norms[1].astype(np.float64)) / 255, norms[2]


@cache
def _kernel() -> Callable[..., None]:
    """Return the compiled kernel, or `norms_plain` without numba or if it does not compile; decided once."""
    try:
        from cifar10_s.common.jit import compiled_or_plain
        from cifar10_s.release.metrics.norm_kernel import norms
    except ImportError:  # a machine that only searches may lack numba
        return norms_plain
    no_rows, no_norms = read_only_rows(np.empty((0, 1, 1, 1), np.uint8)), np.empty((3, 0), np.int64)
    return compiled_or_plain(norms, norms_plain, (no_rows, no_rows, 1, *no_norms))


def norms_plain(
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    channels: int,
    changed: NDArray[np.int64],
    squares: NDArray[np.int64],
    largest: NDArray[np.int64],
) -> None:
    """Do what `norm_kernel.norms` does in plain NumPy."""
    difference = np.subtract(y, x, dtype=np.int64).reshape(len(x), -1, channels)
    changed[:] = difference.any(2).sum(1)
    squares[:] = np.square(difference).sum((1, 2))
    largest[:] = np.abs(difference).max((1, 2))


def psnr(l2: NDArray[np.float64], values: int) -> NDArray[np.float64]:
    """Return the peak signal-to-noise ratio in dB, 10·log₁₀(1 / MSE) for x in [0, 1], of each image, (N,).

    Parameters
    ----------
    l2 : (N,) float64
        ℓ2 norms of the perturbations, x in [0, 1], all positive.
    values
        Number of values of an image, H·W·C: MSE = ℓ2² / values.
    """
    return np.asarray(10 * np.log10(values / l2**2))


def measure(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> Perceptibility:
    """Return the metrics of the perturbations of (N, H, W, C) uint8 images."""
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
    """Do the same for any number of images, a chunk at a time."""
    return reduce(add, (measure(clean[part], perturbed[part]) for part in chunks(len(clean), CHUNK)), Perceptibility())


def measure_all(clean: Images, perturbed: Images) -> Perceptibility:
    """Return the metrics of a configuration, computed on all cores."""
    parts = perturbed.map_pairs(clean, lambda rows, before, after: measure_parts(before, after), desc="measure")
    return reduce(add, parts, Perceptibility())
