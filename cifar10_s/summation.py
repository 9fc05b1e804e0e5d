"""Summation: images, wherever they are → their moments, in one pass or as many as the memory asks for."""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from cifar10_s.device import free_memory, resolve_device
from cifar10_s.errors import UsageError
from cifar10_s.images import Images, Rows
from cifar10_s.memory import Memory, memory_limit, show_size
from cifar10_s.moments import Int64Array, Moments, Sums, channel_pairs, no_moments
from cifar10_s.parallel import cores
from cifar10_s.stream import Stream

logger = logging.getLogger(__name__)

# Moments up to this size stay with the images they are of, since each configuration of a release asks for them.
KEPT_BYTES = 256 << 20


def compute_moments(images: Images, *, device: str = "auto") -> Moments:
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
    return _sum_up(images, range(len(images.class_names)), resolve_device(device))


_KEPT: WeakKeyDictionary[Images, Moments] = WeakKeyDictionary()


def moments_by_class(
    images: Images, *, device: str = "auto", memory: Memory = None, classes: int | None = None
) -> Iterator[Moments]:
    """Give the moments of some consecutive classes at a time, as many as fit into memory; each group is one pass.

    A pass reads the images of its classes only, so that together they decode each image once.

    Parameters
    ----------
    images, device
        See `compute_moments`.
    memory
        How much the sums may take; see `memory.memory_limit`.
    classes
        How many classes, the first; by default all.

    Raises
    ------
    UsageError
        Where the device is unknown or absent, or not even one class fits.
    """
    total = len(images.class_names)
    # Where a cluster's GPUs are is its own affair; the bits are the same on its CPUs.
    device = "cpu" if _is_distributed(images) else resolve_device(device)
    wanted = total if classes is None else min(classes, total)
    if images in _KEPT:
        yield _KEPT[images]
        return
    size = _class_bytes(images, device)
    group = _classes_at_a_time(images, size, device, memory_limit(memory))
    if total <= group and total * size <= KEPT_BYTES:
        yield _KEPT.setdefault(images, _sum_up(images, range(total), device))
        return
    logger.info(
        "the sums of %d classes of %s take %s%s%s",
        wanted, "×".join(map(str, images.shape[1:])), show_size(min(wanted, group) * size),
        " on each machine" if _is_distributed(images) else "",
        "" if wanted <= group else f" at a time: {-(-wanted // group)} passes of up to {group} classes",
    )  # fmt: skip
    for start in range(0, wanted, group):
        yield _sum_up(images, range(start, min(start + group, wanted)), device)


def _class_bytes(images: Images, device: str = "cpu") -> int:
    """Give what a class's sums take on a machine: those of each worker, and totals.

    Compiled sums are added to the same totals. On a cluster each worker makes totals, and sends a copy.
    """
    _, height, width, channels = images.shape
    far = images.mapper if isinstance(images, Stream) else None
    workers, totals = (far.beside, 2 * far.beside + 2) if far else (cores(), 1 if _is_compiled(device) else 2)
    kinds = channels + len(channel_pairs(channels))
    return _sums_bytes(images) * workers + 8 * height * width * kinds * totals


def _sums_bytes(images: Images) -> int:
    """Give what a worker's sums of a class take in the machine's own memory."""
    if not _has_numba():
        return _device_bytes(images)
    from cifar10_s.compiled_sums import class_bytes

    return class_bytes(images.shape[1:], int(np.bincount(images.labels, minlength=1).max()))


def _device_bytes(images: Images) -> int:
    """Give what a class's sums take on a torch device: C + 1 for each channel, of 64 bits."""
    return 8 * math.prod(images.shape[1:]) * (images.shape[-1] + 1)


def _classes_at_a_time(images: Images, size: int, device: str, memory: int) -> int:
    """Give how many classes of a size fit into the memory, and on a device."""
    if size > memory:
        raise UsageError(
            f"memory: the sums of one class of {'×'.join(map(str, images.shape[1:]))} take "
            f"{show_size(size)}: expected at least that, got {show_size(memory)}"
        )
    return max(1, min(memory // size, free_memory(device) // (2 * _device_bytes(images))))


def _sum_up(images: Images, classes: range, device: str) -> Moments:
    """Sum up the images of some classes in one pass."""
    labels = images.labels
    everything = classes == range(len(images.class_names))
    wanted = None if everything else (labels >= classes.start) & (labels < classes.stop)
    make = partial(_make_sums, images.shape[1:], device=device)
    if _is_distributed(images):
        total = no_moments(images.shape[1:], len(classes))
        for first, moments in images.fold(partial(_sum_run, make), wanted=wanted, what="sum up"):
            of_run = total[first - classes.start :][: len(moments.counts)]
            of_run += moments
        return total
    pool = _Pool(partial(make, len(classes)), shared=device != "cpu")

    def put(rows: Rows, pixels: NDArray[np.uint8]) -> None:
        with pool.one() as sums:
            sums.add(pixels, labels[rows] - classes.start)

    for _ in images.map(put, wanted=wanted, what="sum up"):
        pass
    return pool.total()


def _sum_run(
    make: Callable[[int], Sums], labels: Int64Array, pieces: Iterator[tuple[Int64Array, NDArray[np.uint8]]]
) -> tuple[int, Moments]:
    """Sum up a run of images with their labels; gives the first class, and moments from there to the last.

    Where images are in order of class, as in folders, those are few, and little has to be sent.
    """
    first = int(labels.min())
    sums = make(int(labels.max()) - first + 1)
    for of_piece, pixels in pieces:
        sums.add(pixels, of_piece - first)
    return first, sums.moments()


def _is_distributed(images: Images) -> TypeGuard[Stream]:
    return isinstance(images, Stream) and images.is_distributed


class _Pool:
    """Sums for threads: each is used by one at a time, unless one set is ``shared`` by all."""

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
        from cifar10_s.compiled_sums import CompiledSums

        return CompiledSums(shape, classes)
    # With it comes torch, which a search on the CPU does without.
    from cifar10_s.device_sums import DeviceSums

    return DeviceSums(shape, classes, device)


def _is_compiled(device: str) -> bool:
    return device == "cpu" and _has_numba()


def _has_numba() -> bool:
    """Tell whether the compiled kernel can run; a bare GPU machine may lack numba."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return False
    return True
