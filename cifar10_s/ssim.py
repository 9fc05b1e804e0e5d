"""SSIM: the structural similarity of clean and perturbed images."""

import numpy as np
from numpy.typing import NDArray

WINDOW, SIGMA = 11, 1.5


def ssim(clean: NDArray[np.uint8], perturbed: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Give the structural similarity of each pair of images: 1 where they are the same, at least -1.

    Wang et al., *Image quality assessment: from error visibility to structural similarity*, IEEE TIP 2004, Eq. 13,
    with its constants K1 = 0.01, K2 = 0.03, L = 255 and its Gaussian window of 11×11 with σ = 1.5; the mean over
    the channels and all windows that lie in the image. It is what scikit-image's ``structural_similarity`` gives with
    ``gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1``.
    In images with a side under 11 the window's side is the largest odd number that fits; σ stays.

    Parameters
    ----------
    clean, perturbed : (N, H, W, C) uint8, levels 0-255

    Returns
    -------
    (N,) float64
    """
    # Compiled code needs numba, which a machine that only searches may lack.
    from cifar10_s._ssim_kernel import mean_ssim

    count, height, width, channels = clean.shape
    rows = count, height, width * channels
    similarities = np.empty(count)
    weights = window(min(height, width))
    before, after = np.ascontiguousarray(clean).reshape(rows), np.ascontiguousarray(perturbed).reshape(rows)
    mean_ssim(before, after, channels, weights, similarities)
    return similarities


def window(side: int) -> NDArray[np.float64]:
    """Give the Gaussian weights along one side of the window, which sum to 1, for images with this shorter side."""
    half = (min(WINDOW, side) - 1) // 2
    weights = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * SIGMA**2))
    return np.asarray(weights / weights.sum())
