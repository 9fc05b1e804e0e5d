"""Structural similarity (SSIM) of clean and perturbed images."""

from collections.abc import Callable
from functools import cache
from threading import Lock

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cifar10_s.common.read_only import read_only

WINDOW, SIGMA = 11, 1.5
# (K·L)² with L = 255; they avoid division by zero.
CONSTANTS = (0.01 * 255) ** 2, (0.03 * 255) ** 2

_deciding = Lock()


def ssim(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the structural similarity of each pair of images: 1 if they are equal, at least -1.

    Wang et al., *Image quality assessment: from error visibility to structural similarity*, IEEE TIP 2004, Eq. 13,
    with the constants K1 = 0.01, K2 = 0.03, L = 255 and the Gaussian window of 11×11 with σ = 1.5; the mean over
    channels and all windows within the image. This equals scikit-image's ``structural_similarity`` with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1``.
    If a side of the image is less than 11, the window's side is the largest odd number that fits, with the same σ.

    Parameters
    ----------
    clean, perturbed : (N, H, W, C) uint8, levels 0-255

    Returns
    -------
    (N,) float64
    """
    count, height, width, channels = clean.shape
    similarities = np.empty(count)
    rows = [read_only_rows(images) for images in (clean, perturbed)]
    with _deciding:
        mean_ssim = _kernel()
    mean_ssim(*rows, channels, window(min(height, width)), CONSTANTS, similarities)
    return similarities


def window(side: int) -> NDArray[np.float64]:
    """Return the Gaussian weights along a side of the window, summing to 1, for images whose shorter side is this."""
    half = (min(WINDOW, side) - 1) // 2
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * SIGMA**2))
    return np.asarray(weights / weights.sum())


@cache
def _kernel() -> Callable[..., None]:
    """Return the compiled kernel, or `mean_ssim_plain` without numba or if it does not compile; decided once."""
    try:
        from cifar10_s.common.jit import compiled_or_plain
        from cifar10_s.release.metrics.ssim_kernel import mean_ssim
    except ImportError:  # a machine that only searches may lack numba
        return mean_ssim_plain
    no_rows = read_only_rows(np.empty((0, 1, 1, 1), np.uint8))
    return compiled_or_plain(mean_ssim, mean_ssim_plain, (no_rows, no_rows, 1, window(1), CONSTANTS, np.empty(0)))


def read_only_rows(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images as read-only (N, H, W·C); see `read_only`."""
    count, height, width, channels = images.shape
    return read_only(images).reshape(count, height, width * channels)


def mean_ssim_plain(
    x: NDArray[np.uint8],
    y: NDArray[np.uint8],
    channels: int,
    weights: NDArray[np.float64],
    constants: tuple[float, float],
    ssim: NDArray[np.float64],
) -> None:
    """Do what `ssim_kernel.mean_ssim` does in plain NumPy, bit for bit: each sum is in the same order."""
    c1, c2 = constants
    for n in range(len(x)):
        a, b = x[n].astype(np.float64), y[n].astype(np.float64)
        planes = a, b, a * a + b * b, a * b
        a, b, squares, product = (_blur(_blur(plane.T, 1, weights).T, channels, weights) for plane in planes)
        ab, aa_bb = a * b, a * a + b * b
        values = (2 * ab + c1) * (2 * (product - ab) + c2) / ((aa_bb + c1) * (squares - aa_bb + c2))
        unchanged = sliding_window_view((x[n] == y[n]).all(1), weights.size).all(1)
        sums = np.where(unchanged, values.shape[1], _sum(values))
        ssim[n] = _sum(sums) / values.size


def _blur(values: NDArray[np.float64], step: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Σ_t weights[t]·values[:, t·step + p] for each p; the weights are symmetric."""
    half = weights.size // 2
    parts = [values[:, t * step : values.shape[1] - (weights.size - 1 - t) * step] for t in range(weights.size)]
    blurred = weights[half] * parts[half]
    for t in range(half):
        blurred += weights[t] * (parts[t] + parts[-1 - t])
    return np.asarray(blurred)


def _sum(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums over the last axis, in order; `numpy.sum` adds in another order."""
    return np.asarray(np.add.accumulate(values, axis=-1)[..., -1])
