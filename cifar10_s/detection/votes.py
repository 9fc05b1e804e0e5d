"""Votes of the images for the colours of their class, in one pass; counts of given colours, in another."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array, Uint8Array
from cifar10_s.common.machine import cores
from cifar10_s.common.read_only import read_only
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.images import Images, Rows, part_size
from cifar10_s.data.stream import Stream
from cifar10_s.detection.votes_plain import count_plain, vote_plain

# Labels and pixels of consecutive images.
Pieces = Iterable[tuple[Int64Array, Uint8Array]]


@dataclass(frozen=True, eq=False)
class Votes:
    """What images say about the colours of their class, at each of P positions.

    Votes of parts of the images are merged in any order: the candidate may then be another, but whatever colour more
    than half of a class has is the candidate, and has at most ``(counts + leads) / 2`` images of the class.

    Attributes
    ----------
    counts : (K,) int64
        Number of images per class.
    colors : (K, P) uint32
        The candidate: the colour of the majority, if there is one (Boyer and Moore, 1981), see `votes_plain.pack`.
    leads : (K, P) int32
        At least this many images of the class have the candidate.
    near : (K, P) int32
        Number of images whose colour is near a given centre.
    sums : (K, P·C) int64
        Σ x, x in levels 0-255.
    """

    counts: Int64Array
    colors: NDArray[np.uint32]
    leads: NDArray[np.int32]
    near: NDArray[np.int32]
    sums: Int64Array

    def __getitem__(self, classes: slice) -> "Votes":
        """Return a view of consecutive classes; what is merged into the view is merged here."""
        return Votes(*(array[classes] for array in vars(self).values()))

    def merge(self, other: "Votes") -> None:
        """Merge the votes of other images, in place (Agarwal et al., *Mergeable summaries*, 2012)."""
        agrees, loses = self.colors == other.colors, other.leads > self.leads
        self.leads[:] = np.where(agrees, self.leads + other.leads, np.abs(self.leads - other.leads))
        self.colors[:] = np.where(loses, other.colors, self.colors)
        for mine, theirs in ((self.counts, other.counts), (self.near, other.near), (self.sums, other.sums)):
            mine += theirs


def joined(parts: Iterable[Votes]) -> Votes:
    """Return the votes of consecutive classes as one."""
    return Votes(*map(np.concatenate, zip(*(vars(part).values() for part in parts), strict=True)))


def no_votes(shape: tuple[int, int, int], classes: int) -> Votes:
    """Return the votes of no images of (H, W, C)."""
    positions = shape[0] * shape[1]
    return Votes(
        counts=np.zeros(classes, np.int64),
        colors=np.zeros((classes, positions), np.uint32),
        leads=np.zeros((classes, positions), np.int32),
        near=np.zeros((classes, positions), np.int32),
        sums=np.zeros((classes, math.prod(shape)), np.int64),
    )


def class_bytes(shape: tuple[int, int, int]) -> int:
    """Return the bytes of the votes of one class on this machine: those that are merged, and those of each worker."""
    return (12 * shape[0] * shape[1] + 8 * math.prod(shape)) * (2 * cores() + 3)


def take_votes(images: Images, classes: range, centres: Uint8Array, reach: int) -> Votes:
    """Return the votes of the images of some classes, in one pass.

    Parameters
    ----------
    images
        In memory, streamed or on a cluster.
    classes
        Consecutive classes; only their images are read.
    centres : (K, P·C) uint8
        The centres of these classes.
    reach
        A colour is near a centre if each channel is at most this many levels from it.
    """
    mask = (images.labels >= classes.start) & (images.labels < classes.stop)
    vote_of_part = partial(_vote, images.shape[1:], classes.start, centres, reach)
    total = no_votes(images.shape[1:], len(classes))
    if isinstance(images, Stream):
        parts = images.map_partitions(vote_of_part, mask=mask, desc="count colours")
    else:
        rows = np.flatnonzero(mask)
        pieces = chunks(len(rows), max(1, -(-len(rows) // cores())))
        parts = thread_map(lambda part: vote_of_part(images.labels[rows[part]], _pieces(images, rows[part])), pieces)
    for first, votes in parts:
        total[first - classes.start :][: len(votes.counts)].merge(votes)
    return total


def _pieces(images: Images, rows: Int64Array) -> Iterator[tuple[Int64Array, Uint8Array]]:
    for part in chunks(len(rows), part_size(images.shape[1:])):
        at = rows[part]
        # A slice is a view, and copies nothing.
        is_run = at[-1] - at[0] == len(at) - 1
        yield images.labels[at], images.read(slice(int(at[0]), int(at[-1]) + 1) if is_run else at)


def _vote(
    shape: tuple[int, int, int],
    start: int,
    centres: Uint8Array,
    reach: int,
    labels: Int64Array,
    pieces: Pieces,
) -> tuple[int, Votes]:
    """Return the first class of some images, and the votes from it to their last class."""
    first = int(labels.min())
    votes = no_votes(shape, int(labels.max()) - first + 1)
    vote, channels = _kernels(shape[-1])[0], tuple(range(shape[-1]))
    for of_piece, pixels in pieces:
        rows = read_only(pixels).reshape(len(pixels), -1)
        counts = np.bincount(of_piece - first, minlength=len(votes.counts))
        order = np.argsort((of_piece - first).astype(np.min_scalar_type(len(counts))), kind="stable")
        vote(
            rows, order, counts, channels, centres[first - start :], reach,
            votes.colors, votes.leads, votes.near, votes.sums,
        )  # fmt: skip
        votes.counts[:] += counts
    return first, votes


def count_colors(images: Images, positions: Int64Array, low: Uint8Array, high: Uint8Array) -> Int64Array:
    """Return how many images of each class have a colour in given ranges, (F, K), in one pass.

    Parameters
    ----------
    images
        In memory, streamed or on a cluster.
    positions : (F,) int64
        Positions, counted row by row.
    low, high : (F, C) uint8
        The least and the largest level of each channel.
    """
    labels, classes = images.labels, len(images.class_names)

    def count_part(rows: Rows, pixels: Uint8Array) -> Int64Array:
        hits = np.zeros((len(positions), classes), np.int64)
        flat = read_only(pixels).reshape(len(pixels), -1)
        _kernels(images.shape[-1])[1](flat, labels[rows].copy(), positions, low, high, hits)
        return hits

    total = np.zeros((len(positions), classes), np.int64)
    for hits in images.map_batches(count_part, desc="compare"):
        total += hits
    return total


@cache
def _kernels(channels: int) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return the compiled `vote` and `count`, or the plain ones if there is no numba or they do not compile."""
    try:
        import numba  # noqa: F401
    except ImportError:
        return vote_plain, count_plain
    from cifar10_s.common.jit import compiled_or_plain
    from cifar10_s.detection.vote_kernel import count, vote

    shape, numbers = (1, 1, channels), np.empty(0, np.int64)
    rows, votes = read_only(np.empty((0, channels), np.uint8)), no_votes(shape, 0)
    states = votes.colors, votes.leads, votes.near, votes.sums
    boxes: tuple[Any, ...] = (numbers, *(np.empty((0, channels), np.uint8) for _ in range(2)))
    return (
        compiled_or_plain(
            vote, vote_plain,
            (rows, numbers, numbers, tuple(range(channels)), np.empty((0, channels), np.uint8), 0, *states),
        ),
        compiled_or_plain(count, count_plain, (rows, numbers, *boxes, np.empty((0, 0), np.int64))),
    )  # fmt: skip
