"""Measure the sums on a CUDA device: the kernel against the device's memory, all of it against the bus."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timing import median, row

from cifar10_s.device_sums import DeviceSums
from cifar10_s.parallel import chunks, thread_map

# Images, height and width, channels, classes: CIFAR-10, and 100 classes of ImageNet.
SIZES = [(50_000, 32, 3, 10), (20_000, 224, 3, 100)]
COPIED = 1 << 30
# Calls that are timed together: what one launch costs the host goes on beside the one before.
CALLS = 10
# Images are added as they are decoded, some at a time.
ADDED = 8 << 20


def measure_device() -> list[dict[str, Any]]:
    """Give the rows of the table; none where there is no CUDA device."""
    if not torch.cuda.is_available():
        return []
    memory, bus = measure_memory(), measure_bus()
    rows = [
        row(f"{torch.cuda.get_device_name()}: copy on the device, read and written", memory / 1e9, "GB/s"),
        row("copy from pinned memory to the device", bus / 1e9, "GB/s"),
    ]
    for count, side, channels, classes in SIZES:
        images = f"{count:,}×{side}×{side}×{channels}"
        read = measure_kernel(count, side * side * channels, channels, classes)
        torch.cuda.empty_cache()
        added = measure_all(count, (side, side, channels), classes)
        torch.cuda.empty_cache()
        rows += [
            row(f"moments kernel, {images}: bytes read", read / 1e9, "GB/s"),
            row(f"moments kernel, {images}: share of the copy's bytes", 100 * read / memory, "%", "70 or more"),
            row(f"moments from host memory, {images}, {torch.cuda.device_count()} GPU", added / 1e9, "GB/s"),
            row(f"moments from host memory, {images}: share of the bus", 100 * added / bus, "%"),
        ]
    return rows


def measure_memory() -> float:
    """Give the bytes a second that a copy on the device reads and writes."""
    source = torch.ones(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED / on_device([lambda: target.copy_(source)])


def measure_bus() -> float:
    """Give the bytes a second that come from pinned memory."""
    source = torch.ones(COPIED, dtype=torch.uint8).pin_memory()
    target = torch.empty_like(source, device="cuda")
    return COPIED / on_device([lambda: target.copy_(source, non_blocking=True)])


def measure_kernel(count: int, size: int, channels: int, classes: int) -> float:
    """Give the bytes of images a second that the kernel sums up, of images that lie on the device in any order."""
    from cifar10_s import _triton

    # Two sets in turn: nothing of the one is left in the cache when its turn comes.
    sets = [torch.randint(256, (count, size), dtype=torch.uint8, device="cuda") for _ in range(2)]
    labels, order = torch.sort(torch.randint(classes, (count,), device="cuda"))
    starts = torch.searchsorted(labels, torch.arange(classes + 1, device="cuda"))
    sums = torch.zeros((classes, size), dtype=torch.int64, device="cuda")
    products = torch.zeros((classes, channels, size), dtype=torch.int64, device="cuda")
    calls = [lambda rows=rows: _triton.accumulate(rows, order, starts, sums, products) for rows in sets]
    return count * size / on_device(calls)


def on_device(calls: list[Any]) -> float:
    """Give the seconds that a call takes on the device, the calls in turn."""

    def run() -> None:
        for call in range(CALLS):
            calls[call % len(calls)]()
        torch.cuda.synchronize()

    return median(run) / CALLS


def measure_all(count: int, shape: tuple[int, int, int], classes: int) -> float:
    """Give the bytes of images a second from the host's memory to moments that lie there."""
    random = np.random.default_rng(0)
    some = random.integers(0, 256, (count // 100, *shape), dtype=np.uint8)
    pixels = np.tile(some, (100, 1, 1, 1))
    labels = random.integers(0, classes, len(pixels))
    return pixels.nbytes / median(lambda: add_all(pixels, labels, classes), repeats=3)


def add_all(pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> None:
    """Add images on all cores, and fetch the moments."""
    height, width, channels = pixels.shape[1:]
    sums = DeviceSums((height, width, channels), classes, "cuda")
    parts = chunks(len(pixels), max(1, ADDED // pixels[0].nbytes))
    for _ in thread_map(lambda part: sums.add(pixels[part], labels[part]), parts):
        pass
    sums.moments()
