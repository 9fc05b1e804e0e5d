"""Sum up images per class on a torch device: pieces from any thread are copied while earlier ones are summed.

A thread copies a piece into a staging buffer on the host; from there it is copied to the device, to the end of a batch.
A full batch is summed at once while the next one fills. Adding to the 64-bit totals then costs little, however small
the pieces and however many the classes.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.threads import chunks
from cifar10_s.errors import one_line
from cifar10_s.shortcut.moments import Moments, channel_pairs

logger = logging.getLogger(__name__)

Accumulate = Callable[..., None]

# Rows begin at multiples of this many bytes, so that the kernel's loads are aligned.
ALIGNMENT = 16


@dataclass(frozen=True)
class Buffers:
    """Sizes of the buffers that images pass through.

    Attributes
    ----------
    pieces, piece_bytes
        Maximum number of staging buffers on the host, and the bytes of each.
    batch_bytes
        Bytes of a batch on the device.
    plain_bytes
        Bytes of 32-bit integers that the plain version of the kernel holds at a time.
    """

    pieces: int
    piece_bytes: int
    batch_bytes: int
    plain_bytes: int = 64 << 20


SYNCHRONOUS = Buffers(pieces=2, piece_bytes=4 << 20, batch_bytes=32 << 20)
# Up to 128 MiB of pinned memory: a thread fills some 10 GB/s of it, and a bus transfers what six or more threads fill.
# A batch is large enough that each of a thousand classes of large images has several rows in it.
CUDA = Buffers(pieces=16, piece_bytes=8 << 20, batch_bytes=512 << 20)


class _Immediate:
    """Copies and sums on a device whose calls are finished when they return, or run in order.

    `_Streams` does the same with asynchronous calls: it adds streams and events, and nothing else.
    """

    def __init__(self, device: torch.device, buffers: Buffers = SYNCHRONOUS) -> None:
        self.device, self.buffers = device, buffers

    def host(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate memory on the host to copy from."""
        return torch.empty(shape, dtype=dtype)

    def room(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Allocate memory on the device."""
        return torch.empty(shape, dtype=dtype, device=self.device)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy to the device, after all earlier copies."""
        target.copy_(source)

    def copied(self) -> Any:
        """Return an event for `wait`: the end of the copies so far."""
        return None

    def wait(self, end: Any) -> None:
        """Wait until these copies have finished."""

    @contextmanager
    def summing(self) -> Iterator[None]:
        """Run the calls in this context after the copies so far, concurrently with later ones."""
        yield

    def summed(self) -> Any:
        """Return an event for `copy_after`: the end of the sums so far."""
        return None

    def copy_after(self, end: Any) -> None:
        """Let later copies wait for these sums."""


class _Streams(_Immediate):
    """Copies and sums on a CUDA device: one stream copies, another one sums."""

    def __init__(self, device: torch.device, buffers: Buffers = CUDA) -> None:
        super().__init__(device, buffers)
        self._copies, self._sums = _streams(device)

    def host(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def room(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        with torch.cuda.stream(self._sums):
            made = super().room(*shape, dtype=dtype)
        # The memory may still be in use by earlier sums, and must not be reused before the copies have finished.
        self._copies.wait_stream(self._sums)
        made.record_stream(self._copies)
        return made

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def copied(self) -> Any:
        # Blocking: a waiting thread sleeps, and leaves its core to others.
        end = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        end.record(self._copies)
        return end

    def wait(self, end: Any) -> None:
        if end is not None:
            end.synchronize()

    @contextmanager
    def summing(self) -> Iterator[None]:
        self._sums.wait_stream(self._copies)
        with torch.cuda.stream(self._sums):
            yield

    def summed(self) -> Any:
        return self._sums.record_event()

    def copy_after(self, end: Any) -> None:
        if end is not None:
            self._copies.wait_event(end)


@cache
def _streams(device: torch.device) -> tuple[Any, Any]:
    """Return the two streams of a device, created once: torch caches freed memory per stream."""
    return torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class _Piece:
    """A staging buffer on the host, and the end of the last copy from it."""

    def __init__(self, link: _Immediate, rows: int, width: int) -> None:
        self.rows, self.labels = link.host(rows, width, dtype=torch.uint8), link.host(rows, dtype=torch.int64)
        self.copied: Any = None


class _Batch:
    """A batch of images on the device, and the end of the last sum over it."""

    def __init__(self, link: _Immediate, rows: int, width: int) -> None:
        self.rows, self.labels = link.room(rows, width, dtype=torch.uint8), link.room(rows, dtype=torch.int64)
        self.filled = 0
        self.summed: Any = None


class _Kernel:
    """Sums over a batch by the compiled kernel, if there is one, and by `accumulate` from its first failure on."""

    def __init__(self, kernel: Accumulate | None, plain_bytes: int) -> None:
        self._kernel, self._plain_bytes = kernel, plain_bytes
        self._lock = threading.Lock()

    def add(self, *arguments: torch.Tensor) -> None:
        """Add a batch to the totals, exactly once; the arguments are those of `accumulate`."""
        kernel = self._kernel
        if kernel is not None:
            try:
                kernel(*arguments)
                return
            except Exception as error:  # compiler, launcher and driver can raise anything; nothing was added
                self._give_up(error)
        accumulate(*arguments, block_bytes=self._plain_bytes)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            failed_before, self._kernel = self._kernel is None, None
        if not failed_before:
            logger.warning(
                "the Triton kernel does not run here (%s): continuing in plain torch, slower", one_line(error)
            )


class _Lane:
    """One device's share of the images."""

    def __init__(self, link: _Immediate, kernel: _Kernel, shape: tuple[int, int, int], classes: int) -> None:
        self._link, self._kernel, self._shape = link, kernel, shape
        self._size = shape[0] * shape[1] * shape[2]
        self._width = -(-self._size // ALIGNMENT) * ALIGNMENT
        self._lock = threading.Lock()
        self.piece_rows = max(1, link.buffers.piece_bytes // self._width)
        self._pieces: SimpleQueue[_Piece] = SimpleQueue()
        self._unmade = iter(range(link.buffers.pieces))
        self._batch_rows = max(self.piece_rows, link.buffers.batch_bytes // self._width)
        self._batches = [_Batch(link, self._batch_rows, self._width) for _ in range(2)]
        self._sums = link.room(classes, self._size, dtype=torch.int64)
        self._products = link.room(classes, shape[2], self._size, dtype=torch.int64)
        with link.summing():
            self._sums.zero_()
            self._products.zero_()
            self._classes = torch.arange(classes + 1, device=link.device)

    def add(self, rows: NDArray[np.uint8], labels: Int64Array) -> None:
        """Add at most `piece_rows` rows; they may be overwritten when this returns."""
        piece = self._take()
        try:
            self._link.wait(piece.copied)
            piece.rows.numpy()[: len(rows), : self._size] = rows
            piece.labels.numpy()[: len(rows)] = labels
            with self._lock:
                self._send(piece, len(rows))
        finally:
            self._pieces.put(piece)

    def totals(self) -> tuple[Int64Array, Int64Array]:
        """Return the sums, (K, H, W, C), and products, (K, H, W, C(C+1)/2), of the rows added so far."""
        height, width, channels = self._shape
        with self._lock:
            self._sum()
            with self._link.summing():
                sums = self._sums.view(-1, height, width, channels)
                shifted = self._products.view(-1, channels, height, width, channels)
                pairs = [shifted[:, j - i, :, :, i] for i, j in channel_pairs(channels)]
                # Copied on the CPU too, as more may be added to the totals.
                return sums.to("cpu", copy=True).numpy(), torch.stack(pairs, dim=-1).cpu().numpy()

    def _take(self) -> _Piece:
        """Allocate a piece while fewer than the maximum exist, as copies may still run; then take the oldest free."""
        with self._lock:
            make = next(self._unmade, None) is not None
        return _Piece(self._link, self.piece_rows, self._width) if make else self._pieces.get()

    def _send(self, piece: _Piece, count: int) -> None:
        """Start to copy a piece to the end of the batch, without waiting for the device."""
        if self._batches[0].filled + count > self._batch_rows:
            self._sum()
        batch = self._batches[0]
        place = slice(batch.filled, batch.filled + count)
        self._link.copy(piece.rows[:count], batch.rows[place])
        self._link.copy(piece.labels[:count], batch.labels[place])
        piece.copied = self._link.copied()
        batch.filled += count

    def _sum(self) -> None:
        """Start to sum the batch, and continue with the other one."""
        batch = self._batches[0]
        if not batch.filled:
            return
        with self._link.summing():
            labels, order = torch.sort(batch.labels[: batch.filled])
            starts = torch.searchsorted(labels, self._classes)
            rows = batch.rows[: batch.filled, : self._size]
            self._kernel.add(rows, order, starts, self._sums, self._products)
        batch.summed, batch.filled = self._link.summed(), 0
        self._batches.reverse()
        self._link.copy_after(self._batches[0].summed)


class DeviceSums:
    """Exact sums over images on one torch device, or on all CUDA devices of the machine; see `Sums`.

    Parameters
    ----------
    shape
        (H, W, C) of an image.
    classes
        Number of classes K.
    device
        A torch device. ``cuda`` means all CUDA devices, which take turns; the result is bit-identical.
    buffers
        Sizes of the buffers; by default `CUDA` or, on other devices, `SYNCHRONOUS`.
    """

    def __init__(
        self, shape: tuple[int, int, int], classes: int, device: str, *, buffers: Buffers | None = None
    ) -> None:
        self._shape, self._classes = shape, classes
        links = _links(device, buffers)
        kernel = _Kernel(_compiled(links[0].device), links[0].buffers.plain_bytes)
        lanes = [_Lane(link, kernel, shape, classes) for link in links]
        self._lanes, self._turns = lanes, itertools.cycle(lanes)
        self._counts = np.zeros(classes, np.int64)
        self._lock = threading.Lock()

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """Add images; they may be overwritten when this returns. Several threads may add at once.

        Parameters
        ----------
        pixels : (n, H, W, C) uint8
            n may be 0.
        labels : (n,) int64
            From 0 to K - 1.

        Raises
        ------
        ValueError
            If a label is not in this range; no image is added.
        """
        if len(labels) and not 0 <= labels.min() <= labels.max() < self._classes:
            raise ValueError(f"labels: expected 0 to {self._classes - 1}, got {labels.min()} to {labels.max()}")
        rows = pixels.reshape(len(pixels), -1) if len(pixels) else np.empty((0, 1), np.uint8)
        for part in chunks(len(rows), self._lanes[0].piece_rows):
            with self._lock:
                lane = next(self._turns)
            lane.add(rows[part], labels[part])
        counts = np.bincount(labels, minlength=self._classes)
        with self._lock:
            self._counts += counts

    def moments(self, before: Moments | None = None) -> Moments:
        """See `Sums.moments`; to be called while no thread is adding. More may be added afterwards."""
        sums, products = self._lanes[0].totals()
        for lane in self._lanes[1:]:
            more_sums, more_products = lane.totals()
            sums += more_sums
            products += more_products
        moments = Moments(self._counts.copy(), sums, products)
        if before is None:
            return moments
        before += moments
        return before


def accumulate(
    rows: torch.Tensor,
    order: torch.Tensor,
    starts: torch.Tensor,
    sums: torch.Tensor,
    products: torch.Tensor,
    *,
    block_bytes: int = SYNCHRONOUS.plain_bytes,
) -> None:
    """Add every class's rows and shifted products to the totals, as `triton_kernel.accumulate` does, in plain torch.

    At most ``block_bytes`` of 32-bit integers are held at a time.
    """
    size = rows.shape[1]
    block = max(1, block_bytes // (8 * size))
    bounds = starts.tolist()
    for label, (start, stop) in enumerate(itertools.pairwise(bounds)):
        for part in chunks(stop - start, block):
            levels = rows[order[start:stop][part]].int()
            sums[label] += levels.sum(0)
            for shift in range(min(products.shape[1], size)):
                product = levels[:, : size - shift] * levels[:, shift:]
                products[label, shift, : size - shift] += product.sum(0)


def _links(device: str, buffers: Buffers | None) -> list[_Immediate]:
    """Return links to the devices that a name stands for."""
    if torch.device(device).type != "cuda":
        return [_Immediate(torch.device(device), buffers or SYNCHRONOUS)]
    if device != "cuda":
        return [_Streams(torch.device(device), buffers or CUDA)]
    return [_Streams(torch.device("cuda", index), buffers or CUDA) for index in range(torch.cuda.device_count())]


def _compiled(device: torch.device) -> Accumulate | None:
    """Return the kernel if the device is a GPU and Triton is installed."""
    return _launch if device.type == "cuda" and find_spec("triton") is not None else None


def _launch(*arguments: torch.Tensor) -> None:
    """Run the kernel; imported here, so that a broken Triton counts as a failure of the kernel."""
    from cifar10_s.shortcut import triton_kernel

    triton_kernel.accumulate(*arguments)
