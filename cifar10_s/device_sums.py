"""Moments on a torch device: images come in pieces from any thread, and are copied while earlier ones are summed.

A piece goes through two places. A thread copies it into a staging buffer; from there it goes on to the device, into
the batch that fills up there. A full batch is summed in one go while the next one fills: adding to the 64-bit totals
then costs little, however small the pieces, and however many the classes.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cifar10_s.moments import Moments, channel_pairs
from cifar10_s.parallel import chunks

logger = logging.getLogger(__name__)

Int64Array = NDArray[np.int64]
Accumulate = Callable[..., None]

# Rows begin at multiples of so many bytes, which the kernel's loads like.
ALIGNMENT = 16
# Bytes of 32-bit integers that the plain path makes at a time.
PLAIN_BLOCK = 64 << 20


class _Immediate:
    """The way to a device whose calls have ended when they return, or which keeps their order by itself.

    `_Streams` is the same for calls that run on: what it adds are streams and events, and nothing else.
    """

    pieces, piece_bytes, batch_bytes = 2, 4 << 20, 32 << 20

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def host(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Make room on the host to copy from."""
        return torch.empty(shape, dtype=dtype)

    def room(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """Make room on the device."""
        return torch.empty(shape, dtype=dtype, device=self.device)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Copy to the device, after the copies before."""
        target.copy_(source)

    def copied(self) -> Any:
        """Give what `wait` takes: the end of the copies so far."""
        return None

    def wait(self, end: Any) -> None:
        """Return when these copies have ended."""

    @contextmanager
    def summing(self) -> Iterator[None]:
        """Run what is within after the copies so far, beside the next ones."""
        yield

    def summed(self) -> Any:
        """Give what `copy_after` takes: the end of the sums so far."""
        return None

    def copy_after(self, end: Any) -> None:
        """Let the next copies wait for these sums."""


class _Streams(_Immediate):
    """The way to a CUDA device: one stream copies, another sums."""

    # Pinned memory of up to 128 MiB: a thread fills some 10 GB/s of it, and a bus takes what six or more fill.
    # A batch is so large that a thousand classes of large images have some rows each to add at a time.
    pieces, piece_bytes, batch_bytes = 16, 8 << 20, 512 << 20

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._copies, self._sums = _streams(device)

    def host(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True)

    def room(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        with torch.cuda.stream(self._sums):
            made = super().room(*shape, dtype=dtype)
        # The room may be another's until the sums so far have ended, and is no other's before the copies have.
        self._copies.wait_stream(self._sums)
        made.record_stream(self._copies)
        return made

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def copied(self) -> Any:
        # The thread that waits sleeps: others have copies to make.
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
    """Open a device's two streams, once: torch keeps freed memory for the stream that had it."""
    return torch.cuda.Stream(device), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


class _Piece:
    """Room for some images on the host, and the end of the last copy out of it."""

    def __init__(self, link: _Immediate, rows: int, width: int) -> None:
        self.rows, self.labels = link.host(rows, width, dtype=torch.uint8), link.host(rows, dtype=torch.int64)
        self.copied: Any = None


class _Batch:
    """Room for images on the device, the images there, and the end of the last sum over it."""

    def __init__(self, link: _Immediate, rows: int, width: int) -> None:
        self.rows, self.labels = link.room(rows, width, dtype=torch.uint8), link.room(rows, dtype=torch.int64)
        self.filled = 0
        self.summed: Any = None


class _Kernel:
    """The sums over a batch: the compiled kernel where there is one, and from its first failure on the plain path."""

    def __init__(self, kernel: Accumulate | None) -> None:
        self._kernel = kernel
        self._lock = threading.Lock()

    def add(self, *arguments: torch.Tensor) -> None:
        """Add a batch to the totals, exactly once; the arguments are those of `accumulate`."""
        kernel = self._kernel
        if kernel is not None:
            try:
                kernel(*arguments)
                return
            except Exception as error:  # compiler, launcher and driver raise what they like, and have added nothing
                self._give_up(error)
        accumulate(*arguments)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            failed_before, self._kernel = self._kernel is None, None
        if not failed_before:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            logger.warning("the Triton kernel does not run here (%s): going on in plain torch, slower", reason)


class _Lane:
    """One device's share of the images."""

    def __init__(self, link: _Immediate, kernel: _Kernel, shape: tuple[int, int, int], classes: int) -> None:
        self._link, self._kernel, self._shape = link, kernel, shape
        self._size = shape[0] * shape[1] * shape[2]
        self._width = -(-self._size // ALIGNMENT) * ALIGNMENT
        self._lock = threading.Lock()
        self.piece_rows = max(1, link.piece_bytes // self._width)
        self._pieces: SimpleQueue[_Piece] = SimpleQueue()
        self._unmade = iter(range(link.pieces))
        self._batch_rows = max(self.piece_rows, link.batch_bytes // self._width)
        self._batches = [_Batch(link, self._batch_rows, self._width) for _ in range(2)]
        self._sums = link.room(classes, self._size, dtype=torch.int64)
        self._products = link.room(classes, shape[2], self._size, dtype=torch.int64)
        with link.summing():
            self._sums.zero_()
            self._products.zero_()
            self._classes = torch.arange(classes + 1, device=link.device)

    def add(self, rows: NDArray[np.uint8], labels: Int64Array) -> None:
        """Take at most `piece_rows` rows; return when they may be overwritten."""
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
        """Give the sums, (K, H, W, C), and products, (K, H, W, C(C+1)/2), of what was added."""
        height, width, channels = self._shape
        with self._lock:
            self._sum()
            with self._link.summing():
                sums = self._sums.view(-1, height, width, channels)
                shifted = self._products.view(-1, channels, height, width, channels)
                pairs = [shifted[:, j - i, :, :, i] for i, j in channel_pairs(channels)]
                # A copy on the CPU too, where more may be added to the totals.
                return sums.to("cpu", copy=True).numpy(), torch.stack(pairs, dim=-1).cpu().numpy()

    def _take(self) -> _Piece:
        """Make a piece while there may be more, so that the last one's copy goes on; else take the oldest free one."""
        with self._lock:
            make = next(self._unmade, None) is not None
        return _Piece(self._link, self.piece_rows, self._width) if make else self._pieces.get()

    def _send(self, piece: _Piece, count: int) -> None:
        """Let a piece be copied to the end of the batch; nothing here waits for the device."""
        if self._batches[0].filled + count > self._batch_rows:
            self._sum()
        batch = self._batches[0]
        place = slice(batch.filled, batch.filled + count)
        self._link.copy(piece.rows[:count], batch.rows[place])
        self._link.copy(piece.labels[:count], batch.labels[place])
        piece.copied = self._link.copied()
        batch.filled += count

    def _sum(self) -> None:
        """Let the batch be summed, and go on with the other one."""
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
    """Exact sums over images that come in pieces, on one torch device or on all CUDA devices of the machine.

    Parameters
    ----------
    shape
        Of an image: H, W, C.
    classes
        K.
    device
        A torch device. ``cuda`` means all CUDA devices, which take turns; the result is the same bits on each.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, device: str) -> None:
        self._shape, self._classes = shape, classes
        links = _links(device)
        kernel = _Kernel(_compiled(links[0].device))
        lanes = [_Lane(link, kernel, shape, classes) for link in links]
        self._lanes, self._turns = lanes, itertools.cycle(lanes)
        self._counts = np.zeros(classes, np.int64)
        self._lock = threading.Lock()

    def add(self, pixels: NDArray[np.uint8], labels: Int64Array) -> None:
        """Add images. They have been read when this returns; several threads may add at once.

        Parameters
        ----------
        pixels : (n, H, W, C) uint8, n from 0
        labels : (n,) int64, each from 0 to K - 1

        Raises
        ------
        ValueError
            Where a label is not one of these; nothing was added then.
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
        """See `Sums.moments`: of all that was added, when no thread is adding; more may be added after."""
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
    rows: torch.Tensor, order: torch.Tensor, starts: torch.Tensor, sums: torch.Tensor, products: torch.Tensor
) -> None:
    """Add every class's rows and shifted products to the totals, as `_triton.accumulate` does, in plain torch."""
    size = rows.shape[1]
    block = max(1, PLAIN_BLOCK // (8 * size))
    bounds = starts.tolist()
    for label, (start, stop) in enumerate(itertools.pairwise(bounds)):
        for part in chunks(stop - start, block):
            levels = rows[order[start:stop][part]].int()
            sums[label] += levels.sum(0)
            for shift in range(min(products.shape[1], size)):
                product = levels[:, : size - shift] * levels[:, shift:]
                products[label, shift, : size - shift] += product.sum(0)


def _links(device: str) -> list[_Immediate]:
    """Open the devices that a name stands for."""
    if torch.device(device).type != "cuda":
        return [_Immediate(torch.device(device))]
    if device != "cuda":
        return [_Streams(torch.device(device))]
    return [_Streams(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]


def _compiled(device: torch.device) -> Accumulate | None:
    """Give the kernel, where this device and this machine may have it."""
    return _launch if device.type == "cuda" and find_spec("triton") is not None else None


def _launch(*arguments: torch.Tensor) -> None:
    """Run the kernel; importing it here lets a broken Triton end as a kernel that does not run."""
    from cifar10_s import _triton

    _triton.accumulate(*arguments)
