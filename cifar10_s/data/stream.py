"""Images that are read block by block each time they are used, and need not fit into memory."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise, starmap
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.machine import cores
from cifar10_s.common.progress import progress_bar
from cifar10_s.common.threads import thread_map
from cifar10_s.data.conversion import UnlikeError
from cifar10_s.data.images import Images, LabeledImages, OtherLabels, Result, Rows, Transform, check_labels, row_numbers
from cifar10_s.data.provenance import Provenance
from cifar10_s.errors import SourceError

# The pixels of a task on another machine: enough that sending the task costs little compared with its work.
BUNDLE_BYTES = 64 << 20
# Enough that a slow worker delays the others little.
PARTITIONS_PER_WORKER = 4


class Mapper(Protocol):
    """Executes work on other machines."""

    @property
    def workers(self) -> int:
        """The number of items that are processed at a time."""

    @property
    def workers_per_node(self) -> int:
        """The largest number of them on one machine."""

    def __call__(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        """Apply a function to items, and yield the results in order."""


class Block(Protocol):
    """Consecutive images that are read together; a small object that can be pickled."""

    def __len__(self) -> int:
        """Return the number of images."""

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels of the given rows of the block, ascending from 0, (n, H, W, C) uint8 at a time.

        Raises
        ------
        SourceError
            If the images cannot be read, or are of another shape.
        """


@runtime_checkable
class ComparableBlock(Block, Protocol):
    """A block that can tell how many of its images are of another size or mode than the first of the stream."""

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """Return how many images at the given rows of the block `codec.decode` would refuse as unlike."""


@dataclass(frozen=True)
class _Task:
    """Some rows of a block (None for all), whose first image is row ``start`` of the stream."""

    block: Block
    start: int
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.block) if self.rows is None else len(self.rows)

    @property
    def stream_rows(self) -> Rows:
        """The rows of the task's images in the stream."""
        return slice(self.start, self.start + len(self.block)) if self.rows is None else self.start + self.rows

    def pieces(self, transforms: tuple[Transform, ...]) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
        """Yield rows of the stream and their pixels after all transforms."""
        done, rows = 0, np.arange(len(self.block)) if self.rows is None else self.rows
        for pixels in self.block.read(rows):
            part = slice(done, done + len(pixels))
            at: Rows = self.start + rows[part]
            if self.rows is None:
                at = slice(self.start + part.start, self.start + part.stop)
            done = part.stop
            yield at, _transformed(transforms, at, pixels)
            del pixels  # frees memory that is still in the core's cache for the next ones


@dataclass(frozen=True)
class _Partition:
    """Tasks that are done one after another, and the labels of their images."""

    tasks: list[_Task]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def pieces(self, transforms: tuple[Transform, ...]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield labels and pixels after all transforms."""
        done = 0
        for task in self.tasks:
            for _, pixels in task.pieces(transforms):
                yield self.labels[done : done + len(pixels)], pixels
                done += len(pixels)


@dataclass(frozen=True, eq=False, repr=False)
class Stream(Images):
    """Images in blocks that are read each time they are used.

    Parameters
    ----------
    blocks
        The blocks, in order.
    size : (H, W, C)
    labels : (N,) int64
    class_names
        The K names, in order of label.
    provenance
        Where the images came from.
    transforms
        Applied to the pixels of each part, in order.
    mapper
        Executes the work; None for this machine's cores.
    bundle_bytes
        A mapper gets blocks in tasks of at least this many bytes of pixels.
    other_labels
        Labels of other kinds, by the name of their column.

    Raises
    ------
    UsageError
        If labels do not match images or classes.
    """

    blocks: tuple[Block, ...]
    size: tuple[int, int, int]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance
    transforms: tuple[Transform, ...] = ()
    mapper: Mapper | None = None
    bundle_bytes: int = BUNDLE_BYTES
    other_labels: Mapping[str, OtherLabels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_labels(self.labels, sum(map(len, self.blocks)), len(self.class_names))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images.shape`."""
        return len(self), *self.size

    @property
    def is_distributed(self) -> bool:
        """Whether the work is done on other machines, so that functions cannot change objects of this process."""
        return self.mapper is not None

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The first row of each block, and the number of rows: (blocks + 1,)."""
        return np.cumsum([0, *map(len, self.blocks)])

    def map_batches(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        mask: NDArray[np.bool_] | None = None,
        desc: str = "",
    ) -> Iterator[Result]:
        """See `Images.map_batches`."""
        total = len(self) if mask is None else int(mask.sum())
        with progress_bar(desc, total, hidden=not desc) as bar:
            for count, results in self._work(partial(_map, function, self.transforms), self._bundles(mask)):
                yield from results
                bar.update(count)

    def map_pairs(
        self,
        before: Images,
        function: Callable[[Rows, NDArray[np.uint8], NDArray[np.uint8]], Result],
        *,
        desc: str = "",
    ) -> Iterator[Result]:
        """See `Images.map_pairs`; if this stream was derived from ``before``, each block is read only once."""
        if not isinstance(before, Stream) or before.blocks is not self.blocks or before.transforms:
            return super().map_pairs(before, function, desc=desc)
        transforms = self.transforms
        return before.map_batches(
            lambda rows, pixels: function(rows, pixels, _transformed(transforms, rows, pixels)), desc=desc
        )

    def _work(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        try:
            yield from (self.mapper or thread_map)(function, items)
        except UnlikeError as error:
            total = sum(isinstance(block, ComparableBlock) and len(block) for block in self.blocks)
            unlike = sum((self.mapper or thread_map)(_count_unlike, self.blocks))
            raise error.counted(unlike, total) from None

    def _bundles(self, mask: NDArray[np.bool_] | None) -> Iterator[list[_Task]]:
        """Yield tasks for the blocks with images to read: single ones, or bundles that are worth sending."""
        enough = self.bundle_bytes if self.is_distributed else 0
        bundle: list[_Task] = []
        for task in self._tasks(mask):
            bundle.append(task)
            if sum(map(len, bundle)) * math.prod(self.size) >= enough:
                yield bundle
                bundle = []
        if bundle:
            yield bundle

    def _tasks(self, mask: NDArray[np.bool_] | None) -> Iterator[_Task]:
        for block, start in zip(self.blocks, self._starts.tolist(), strict=False):
            rows = None if mask is None else np.flatnonzero(mask[start : start + len(block)])
            task = _Task(block, start, rows)
            if len(task):
                yield task

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """See `Images.read`; of each block, only these rows are read."""
        index = row_numbers(rows)
        parts = [np.empty((0, *self.size), np.uint8)]
        blocks = np.searchsorted(self._starts, index, "right") - 1
        for number in np.unique(blocks):
            start = int(self._starts[number])
            task = _Task(self.blocks[number], start, index[blocks == number] - start)
            parts += [pixels for _, pixels in task.pieces(self.transforms)]
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def with_transform(self, transform: Transform) -> Self:
        """See `Images.with_transform`; pixels are computed when they are read."""
        return replace(self, transforms=(*self.transforms, transform))

    def load(self) -> LabeledImages:
        """See `Images.load`."""
        try:
            pixels = np.empty(self.shape, np.uint8)
        except MemoryError:
            size = "×".join(map(str, self.size))
            raise SourceError(f"{len(self)} images of {size} do not fit this machine's memory") from None
        for rows, read in self.map_batches(lambda rows, read: (rows, read), desc="read"):
            pixels[rows] = read
        return LabeledImages(pixels, self.labels, self.class_names, self.provenance, self.other_labels)

    def load_if_fits(self, memory: int) -> Images:
        """See `Images.load_if_fits`; a stream whose work is done on other machines is not loaded."""
        return self if self.is_distributed else super().load_if_fits(memory)

    def map_partitions(
        self,
        function: Callable[[NDArray[np.int64], Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]], Result],
        *,
        mask: NDArray[np.bool_] | None = None,
        desc: str = "",
    ) -> Iterator[Result]:
        """Apply a function to partitions of the images, several per worker, and yield the results in order.

        Parameters
        ----------
        function
            Called with the labels of a partition, and an iterator over the labels and pixels of its parts.
        mask, desc
            See `map_batches`.
        """
        tasks, workers = list(self._tasks(mask)), self.mapper.workers if self.mapper else cores()
        bounds = np.linspace(0, len(tasks), min(PARTITIONS_PER_WORKER * workers, len(tasks)) + 1).astype(int).tolist()
        partitions = (self._partition(tasks[first:last]) for first, last in pairwise(bounds))
        with progress_bar(desc, sum(map(len, tasks)), hidden=not desc) as bar:
            for count, result in self._work(partial(_map_partition, function, self.transforms), partitions):
                yield result
                bar.update(count)

    def _partition(self, tasks: list[_Task]) -> _Partition:
        """Add the labels of the tasks' images, and no others, since a partition may be sent to another machine."""
        return _Partition(tasks, np.concatenate([self.labels[task.stream_rows] for task in tasks]))


def _transformed(transforms: tuple[Transform, ...], rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for transform in transforms:
        pixels = transform(rows, pixels)
    return pixels


def _count_unlike(block: Block) -> int:
    return block.count_unlike(np.arange(len(block))) if isinstance(block, ComparableBlock) else 0


def _map(
    function: Callable[[Rows, Any], Result], transforms: tuple[Transform, ...], tasks: list[_Task]
) -> tuple[int, list[Result]]:
    results = [result for task in tasks for result in starmap(function, task.pieces(transforms))]
    return sum(map(len, tasks)), results


def _map_partition(
    function: Callable[[NDArray[np.int64], Iterator[tuple[NDArray[np.int64], Any]]], Result],
    transforms: tuple[Transform, ...],
    partition: _Partition,
) -> tuple[int, Result]:
    return len(partition), function(partition.labels, partition.pieces(transforms))
