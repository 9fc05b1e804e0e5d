"""Compute the moments of images in memory, streamed or on a cluster, in as few passes as memory allows."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.machine import cores, free_memory, show_size
from cifar10_s.common.options import Options
from cifar10_s.data.images import Images, Rows
from cifar10_s.data.stream import Stream
from cifar10_s.errors import UsageError
from cifar10_s.shortcut.moments import Moments, Sums, channel_pairs, no_moments
from cifar10_s.shortcut.plain_sums import PlainSums

logger = logging.getLogger(__name__)

# Moments up to this size are kept with their images, since each configuration of a release needs them.
KEPT_BYTES = 256 << 20
# Up to so many bytes of pixels, and of sums of 8 bits, NumPy is done before numba is loaded; and the memory it needs.
FEW_BYTES, FEW_MEMORY = 1 << 20, 64 << 20


def check_classes(images: Images) -> None:
    """Raise UsageError if a class has no images."""
    names = images.class_names
    for empty in np.flatnonzero(np.bincount(images.labels, minlength=len(names)) == 0):
        raise UsageError(
            f"class {empty} ({names[empty]}) has no images: expected at least one; name the others with --classes"
        )


def moments_by_class(
    images: Images, options: Options, *, classes: int | None = None, keep_bytes: int = KEPT_BYTES
) -> Iterator[Moments]:
    """Yield the moments of consecutive classes, in groups that fit into memory; each group takes one pass.

    A pass reads the images of its classes only, so all passes together decode each image once.

    Parameters
    ----------
    images
        Any number, of any size.
    options
        The device to sum up on, and how much memory the sums may take.
    classes
        Number of classes, from the first on; by default all.
    keep_bytes
        Moments of all classes up to this size are kept with the images.

    Raises
    ------
    UsageError
        If not even one class fits.
    """
    total = len(images.class_names)
    # A cluster sums up on its CPUs, whose result is the same bits.
    device = "cpu" if _is_distributed(images) else options.device
    count = total if classes is None else min(classes, total)
    kept = images.kept(Moments)
    if kept is not None:
        yield kept
        return
    if _are_few(images, device, options.memory):
        yield images.keep(_sum_up(images, range(total), PlainSums))
        return
    make, shared = partial(_make_sums, device=device), device != "cpu"
    size = _class_bytes(images, device)
    group = _classes_at_a_time(images, size, device, options.memory)
    if total <= group and total * size <= keep_bytes:
        yield images.keep(_sum_up(images, range(total), make, shared=shared))
        return
    logger.info(
        "the sums of %d classes of %s take %s%s%s",
        count, "×".join(map(str, images.shape[1:])), show_size(min(count, group) * size),
        " on each machine" if _is_distributed(images) else "",
        "" if count <= group else f" at a time: {-(-count // group)} passes of up to {group} classes",
    )  # fmt: skip
    for start in range(0, count, group):
        yield _sum_up(images, range(start, min(start + group, count)), make, shared=shared)


def _are_few(images: Images, device: str, memory: int) -> bool:
    """Return whether there are so few images on this CPU that loading the compiled kernel takes longer than summing."""
    larger = max(len(images), len(images.class_names)) * math.prod(images.shape[1:])
    return device == "cpu" and not _is_distributed(images) and larger <= FEW_BYTES and memory >= FEW_MEMORY


def _class_bytes(images: Images, device: str = "cpu") -> int:
    """Return the bytes that the sums of one class take on a machine: those of each worker, and the totals.

    Compiled sums are all added to one set of totals. On a cluster each worker has totals, and sends a copy.
    """
    _, height, width, channels = images.shape
    cluster = images.mapper if isinstance(images, Stream) else None
    if cluster:
        workers, totals = cluster.workers_per_node, 2 * cluster.workers_per_node + 2
    else:
        workers, totals = cores(), 1 if _is_compiled(device) else 2
    kinds = channels + len(channel_pairs(channels))
    return _sums_bytes(images) * workers + 8 * height * width * kinds * totals


def _sums_bytes(images: Images) -> int:
    """Return the bytes that a worker's sums of one class take in main memory."""
    if not _has_numba():
        return _device_bytes(images)
    from cifar10_s.shortcut.cpu import class_bytes

    return class_bytes(images.shape[1:], int(np.bincount(images.labels, minlength=1).max()))


def _device_bytes(images: Images) -> int:
    """Return the bytes that the sums of one class take on a torch device: C + 1 of 64 bits per value."""
    return 8 * math.prod(images.shape[1:]) * (images.shape[-1] + 1)


def _classes_at_a_time(images: Images, size: int, device: str, memory: int) -> int:
    """Return how many classes of ``size`` bytes fit into memory and on the device."""
    if size > memory:
        raise UsageError(
            f"memory: the sums of one class of {'×'.join(map(str, images.shape[1:]))} take "
            f"{show_size(size)}: expected at least that, got {show_size(memory)}"
        )
    return max(1, min(memory // size, free_memory(device) // (2 * _device_bytes(images))))


def _sum_up(
    images: Images, classes: range, make_sums: Callable[[tuple[int, int, int], int], Sums], *, shared: bool = False
) -> Moments:
    """Sum up the images of some classes in one pass; ``shared`` sums take those of all threads."""
    labels = images.labels
    everything = classes == range(len(images.class_names))
    mask = None if everything else (labels >= classes.start) & (labels < classes.stop)
    make = partial(make_sums, images.shape[1:])
    if _is_distributed(images):
        total = no_moments(images.shape[1:], len(classes))
        for first, moments in images.map_partitions(partial(_sum_run, make), mask=mask, desc="sum up"):
            of_run = total[first - classes.start :][: len(moments.counts)]
            of_run += moments
        return total
    pool = _Pool(partial(make, len(classes)), shared=shared)

    def put(rows: Rows, pixels: NDArray[np.uint8]) -> None:
        with pool.one() as sums:
            sums.add(pixels, labels[rows] - classes.start)

    for _ in images.map_batches(put, mask=mask, desc="sum up"):
        pass
    return pool.total()


def _sum_run(
    make: Callable[[int], Sums], labels: Int64Array, pieces: Iterator[tuple[Int64Array, NDArray[np.uint8]]]
) -> tuple[int, Moments]:
    """Sum up consecutive images; return their first class, and the moments from it to their last class.

    If images are sorted by class, as in folders, these are few, and little has to be sent.
    """
    first = int(labels.min())
    sums = make(int(labels.max()) - first + 1)
    for of_piece, pixels in pieces:
        sums.add(pixels, of_piece - first)
    return first, sums.moments()


def _is_distributed(images: Images) -> TypeGuard[Stream]:
    return isinstance(images, Stream) and images.is_distributed


class _Pool:
    """Sums for several threads: each is used by one thread at a time, unless one is ``shared`` by all."""

    def __init__(self, make: Callable[[], Sums], *, shared: bool) -> None:
        self._make, self._shared = make, shared
        self._all = [make()]
        self._free: SimpleQueue[Sums] = SimpleQueue()
        self._free.put(self._all[0])

    @contextmanager
    def one(self) -> Iterator[Sums]:
        if self._shared:
            yield self._all[0]
            return
        try:
            sums = self._free.get_nowait()
        except Empty:
            sums = self._make()
            self._all.append(sums)
        yield sums
        self._free.put(sums)

    def total(self) -> Moments:
        total = self._all.pop().moments()
        while self._all:
            total = self._all.pop().moments(total)
        return total


def _make_sums(shape: tuple[int, int, int], classes: int, device: str) -> Sums:
    if _is_compiled(device):
        from cifar10_s.shortcut.cpu import CompiledSums

        return CompiledSums(shape, classes)
    # Imported here: a search on the CPU does not need torch.
    from cifar10_s.shortcut.torch_device import DeviceSums

    return DeviceSums(shape, classes, device)


def _is_compiled(device: str) -> bool:
    return device == "cpu" and _has_numba()


def _has_numba() -> bool:
    """Return whether numba is installed, which the compiled kernel needs."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True
