"""Measure what the compiled kernels gain over the plain versions beside them, on one core.

`make speed` prints these rows among others, and `python -m speed.kernels` prints them alone.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.release.metrics import ssim, ssim_kernel
from cifar10_s.shortcut import cpu, cpu_kernel
from speed.timing import least, row

SHAPE, CLASSES = (32, 32, 3), 10
SUMMED, COMPARED = 50_000, 2_000


def measure_kernels(*, quick: bool = False) -> list[dict[str, Any]]:
    """Return the rows of the table: the least processor times of a kernel and its plain version in turn."""
    share = 10 if quick else 1
    return [*measure_sums(SUMMED // share), *measure_ssim(COMPARED // share)]


def measure_sums(count: int) -> list[dict[str, Any]]:
    """Compare the sums per class with plain loops, both compiled by numba."""
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (count, np.prod(SHAPE)), dtype=np.uint8)
    rows.flags.writeable = False  # as `CompiledSums` passes them
    labels = random.integers(0, CLASSES, count)
    order, counts = np.argsort(labels, kind="stable"), np.bincount(labels, minlength=CLASSES)
    totals = np.zeros((CLASSES, *cpu.totals_shape(SHAPE)), np.uint32)
    arguments = rows, order, counts, tuple(range(SHAPE[-1])), totals
    what = f"kernel of the sums, {count:,} images, one core"
    return compare(what, cpu_kernel.accumulate, cpu_kernel.accumulate_plain, arguments, "plain numba", "2 or more")


def measure_ssim(count: int) -> list[dict[str, Any]]:
    """Compare SSIM with plain NumPy, on images that differ everywhere: nothing is skipped."""
    random = np.random.default_rng(0)
    pairs = [random.integers(0, 256, (count, SHAPE[0], SHAPE[1] * SHAPE[2]), dtype=np.uint8) for _ in range(2)]
    for images in pairs:
        images.flags.writeable = False  # as `ssim` passes them
    result: NDArray[np.float64] = np.empty(count)
    arguments = *pairs, SHAPE[-1], ssim.window(min(SHAPE[:2])), ssim.CONSTANTS, result
    what = f"kernel of SSIM, {count:,} pairs, one core"
    return compare(what, ssim_kernel.mean_ssim, ssim.mean_ssim_plain, arguments, "plain NumPy", "5 or more")


def compare(
    what: str, kernel: Callable[..., None], plain: Callable[..., None], arguments: tuple[Any, ...], name: str, must: str
) -> list[dict[str, Any]]:
    """Time a kernel and its plain version in turn, by the processor time of the one thread that they take."""
    fast, slow = least([partial(kernel, *arguments), partial(plain, *arguments)], clock=time.thread_time)
    return [
        row(what, 1e3 * fast, "ms"),
        row(f"{what}: in {name}", 1e3 * slow, "ms"),
        row(f"{what}: times as fast as {name}", slow / fast, "x", must),
    ]


if __name__ == "__main__":
    for line in measure_kernels():
        print(f"{line['what']:66} {line['value']:>10,.4g} {line['unit']}")
