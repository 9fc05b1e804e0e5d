"""Measure the sums on a device: the kernel against the device's memory, all of it against the bus."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.shortcut.torch_device import Accumulate, DeviceSums, accumulate
from speed.timing import median, row

# Images, height and width, channels, classes.
Size = tuple[int, int, int, int]
# CIFAR-10, and 100 classes of ImageNet.
SIZES: tuple[Size, ...] = ((50_000, 32, 3, 10), (20_000, 224, 3, 100))
COPIED = 1 << 30
# Calls that are timed together: what one launch costs the host goes on beside the one before.
CALLS = 10
# Plain torch is slow enough for fewer.
PLAIN_CALLS = 2
# Images are added as they are decoded, some at a time.
ADDED = 8 << 20


def measure_device(device: str, sizes: Sequence[Size] = SIZES, copied: int = COPIED) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table as they are measured; on a CPU, to see that it runs, without the kernel's."""
    memory, bus = measure_memory(device, copied), measure_bus(device, copied)
    yield row("copy on the device, read and written", memory / 1e9, "GB/s")
    yield row("copy from pinned memory to the device", bus / 1e9, "GB/s")
    for count, side, channels, classes in sizes:
        images = f"{count:,}×{side}×{side}×{channels}"
        rate = summed(device, count, side * side * channels, channels, classes)
        if device != "cpu":
            from cifar10_s.shortcut import triton_kernel

            read = rate(triton_kernel.accumulate, CALLS)
            yield row(f"moments kernel, {images}: bytes read", read / 1e9, "GB/s", limit=memory / 1e9)
            yield row(f"moments kernel, {images}: share of the copy's bytes", 100 * read / memory, "%", "70 or more")
        plainly = rate(accumulate, PLAIN_CALLS)
        yield row(f"moments by plain torch, {images}: bytes read", plainly / 1e9, "GB/s", limit=memory / 1e9)
        if device != "cpu":
            yield row(f"moments kernel, {images}: times as fast as plain torch", read / plainly, "x")
        del rate
        _empty_cache(device)
        added = measure_all(device, count, (side, side, channels), classes)
        yield row(f"moments from host memory, {images}", added / 1e9, "GB/s", limit=bus / 1e9)
        _empty_cache(device)


def measure_memory(device: str, copied: int = COPIED) -> float:
    """Return the bytes a second that a copy on the device reads and writes."""
    source = torch.ones(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * copied / on_device(device, [lambda: target.copy_(source)])


def measure_bus(device: str, copied: int = COPIED) -> float:
    """Return the bytes a second that come from pinned memory."""
    source = torch.ones(copied, dtype=torch.uint8, pin_memory=device != "cpu")
    target = torch.empty_like(source, device=device)
    return copied / on_device(device, [lambda: target.copy_(source, non_blocking=True)])


def summed(device: str, count: int, size: int, channels: int, classes: int) -> Callable[[Accumulate, int], float]:
    """Return what gives the bytes a second that some code sums up, of images on the device in any order."""
    # Two sets in turn: nothing of the one is left in the cache when its turn comes.
    sets = [torch.randint(256, (count, size), dtype=torch.uint8, device=device) for _ in range(2)]
    labels, order = torch.sort(torch.randint(classes, (count,), device=device))
    starts = torch.searchsorted(labels, torch.arange(classes + 1, device=device))
    sums = torch.zeros((classes, size), dtype=torch.int64, device=device)
    products = torch.zeros((classes, channels, size), dtype=torch.int64, device=device)

    def rate(add: Accumulate, calls: int) -> float:
        each = [lambda rows=rows: add(rows, order, starts, sums, products) for rows in sets]
        return count * size / on_device(device, each, calls)

    return rate


def on_device(device: str, functions: Sequence[Callable[[], object]], calls: int = CALLS) -> float:
    """Return the seconds that a call takes on the device, of functions that take turns."""

    def run() -> None:
        for call in range(calls):
            functions[call % len(functions)]()
        wait(device)

    return median(run) / calls


def wait(device: str) -> None:
    """Wait until a device has done what it was given."""
    if device != "cpu":
        torch.cuda.synchronize()


def _empty_cache(device: str) -> None:
    if device != "cpu":
        torch.cuda.empty_cache()


def measure_all(device: str, count: int, shape: tuple[int, int, int], classes: int) -> float:
    """Return the bytes of images a second from the host's memory to moments that lie there."""
    random = np.random.default_rng(0)
    some = random.integers(0, 256, (count // 100, *shape), dtype=np.uint8)
    pixels = np.tile(some, (100, 1, 1, 1))
    labels = random.integers(0, classes, len(pixels))
    return pixels.nbytes / median(lambda: add_all(device, pixels, labels, classes), repeats=3)


def add_all(device: str, pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: int) -> None:
    """Add images on all cores, and fetch the moments."""
    height, width, channels = pixels.shape[1:]
    sums = DeviceSums((height, width, channels), classes, device)
    parts = chunks(len(pixels), max(1, ADDED // pixels[0].nbytes))
    for _ in thread_map(lambda part: sums.add(pixels[part], labels[part]), parts):
        pass
    sums.moments()
