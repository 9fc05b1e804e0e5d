"""Moments: exact integer sums over a class's images, from which every candidate's score follows."""

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages
from cifar10_s.parallel import chunks, cores, thread_map

Int64Array = NDArray[np.int64]

# A column takes 4 bytes in each of C + 1 sums: with 16,384 columns they stay in a core's second-level cache.
MAX_TILE = 16_384
# Bytes of 32-bit integers on a device at a time.
DEVICE_BLOCK = 128 << 20


def channel_pairs(channels: int) -> list[tuple[int, int]]:
    """List the pairs (i, j), i ≤ j, in the order of `Moments.products`."""
    return list(combinations_with_replacement(range(channels), 2))


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the images of each class. They are exact, so parts add up to the same bits in any order.

    Attributes
    ----------
    counts : (K,) int64
        Images.
    sums : (K, H, W, C) int64
        Σ x, x in levels 0-255.
    products : (K, H, W, C(C+1)/2) int64
        Σ x_i·x_j for the channel pairs of `channel_pairs`.
    """

    counts: Int64Array
    sums: Int64Array
    products: Int64Array

    def __add__(self, other: "Moments") -> "Moments":
        """Merge the moments of two disjoint sets of images."""
        return Moments(self.counts + other.counts, self.sums + other.sums, self.products + other.products)


def compute_moments(images: LabeledImages, *, device: str = "auto") -> Moments:
    """Sum up images in one pass.

    Parameters
    ----------
    images
        Any number, size and number of classes.
    device
        ``cpu``, a torch device such as ``cuda`` or ``cuda:1``, or ``auto``: CUDA where there is one, else
        the CPU. The result is the same bits on each.

    Raises
    ------
    UsageError
        Where the device is unknown or absent.
    """
    device = resolve_device(device)
    counts = np.bincount(images.labels, minlength=len(images.class_names))
    by_class = np.split(np.argsort(images.labels, kind="stable"), np.cumsum(counts)[:-1])
    add = _on_cpu if device == "cpu" and _has_numba() else _on_torch
    return add(images.pixels, by_class, device)


def resolve_device(device: str) -> str:
    """Turn ``auto`` into ``cuda`` or ``cpu``, and refuse a device that is not there."""
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # each kind of absent device raises its own
        reason = " ".join(str(error).split())[:100]
        raise UsageError(
            f"device {device!r} is not to be had ({reason}): expected auto, cpu or a torch device present here"
        ) from None
    return device


def _has_numba() -> bool:
    """Tell whether the compiled kernel can run; a bare GPU machine may lack numba."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True


def _on_cpu(pixels: NDArray[np.uint8], by_class: list[Int64Array], device: str) -> Moments:
    """Sum with the compiled kernel: an image's bytes are one row, multiplied by itself shifted by 0 … C-1."""
    from cifar10_s._kernel import accumulate

    _, height, width, channels = pixels.shape
    size = height * width * channels
    rows = np.ascontiguousarray(pixels).reshape(-1, size)
    sums = np.zeros((len(by_class), size), np.int64)
    shifted = np.zeros((len(by_class), channels, size), np.int64)

    def add_tile(task: tuple[int, int, int]) -> None:
        label, start, stop = task
        accumulate(rows, by_class[label], start, stop, sums[label], shifted[label])

    # Every task writes columns of its own, so no two threads share a sum.
    tile = min(MAX_TILE, -(-size * len(by_class) // (2 * cores())), size)
    tasks = [
        (label, start, min(start + tile, size)) for label in range(len(by_class)) for start in range(0, size, tile)
    ]
    for _ in thread_map(add_tile, tasks):
        pass

    shifted = shifted.reshape(len(by_class), channels, height, width, channels)
    products = np.stack([shifted[:, j - i, :, :, i] for i, j in channel_pairs(channels)], axis=-1)
    counts = np.array([len(index) for index in by_class], np.int64)
    return Moments(counts, sums.reshape(len(by_class), height, width, channels), products)


def _on_torch(pixels: NDArray[np.uint8], by_class: list[Int64Array], device: str) -> Moments:
    """Sum on a torch device, a block of images of one class at a time."""
    import torch

    _, height, width, channels = pixels.shape
    pairs = channel_pairs(channels)
    block = max(1, DEVICE_BLOCK // (2 * 4 * height * width * channels))

    def add_class(index: Int64Array) -> tuple[Any, Any]:
        sums = torch.zeros((height, width, channels), dtype=torch.int64, device=device)
        products = torch.zeros((height, width, len(pairs)), dtype=torch.int64, device=device)
        for part in chunks(len(index), block):
            levels = torch.from_numpy(pixels[index[part]]).to(device).int()
            sums += levels.sum(0)
            for pair, (i, j) in enumerate(pairs):
                products[..., pair] += (levels[..., i] * levels[..., j]).sum(0)
        return sums.cpu().numpy(), products.cpu().numpy()

    summed = [add_class(index) for index in by_class]
    return Moments(
        np.array([len(index) for index in by_class], np.int64),
        np.stack([sums for sums, _ in summed]),
        np.stack([products for _, products in summed]),
    )
