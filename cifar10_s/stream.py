"""Stream: images that need not fit into memory, read block by block and as often as they are asked for."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise, starmap
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import SourceError
from cifar10_s.images import Change, Images, LabeledImages, Result, Rows, check_labels, numbers
from cifar10_s.parallel import cores, progress_bar, thread_map
from cifar10_s.provenance import Provenance

# What other machines are given at a time, in bytes of pixels: sending it must cost little beside the work.
BUNDLE_BYTES = 64 << 20
# Runs that each of them gets in a `fold`: enough that one that comes late costs little.
RUNS = 4


class Mapper(Protocol):
    """Who does the work, where that is not this machine's cores.

    Attributes
    ----------
    workers
        How many items are worked on at a time.
    beside
        How many of them at most on one machine.
    """

    @property
    def workers(self) -> int:
        """See above."""

    @property
    def beside(self) -> int:
        """See above."""

    def __call__(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        """Apply a function to items; the results come in order."""


class Block(Protocol):
    """Consecutive images that are read together; small itself, and fit to be sent to another machine."""

    def __len__(self) -> int:
        """Give the number of its images."""

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """Give the pixels of some of its images, by ascending numbers from 0, as (n, H, W, C) uint8 at a time.

        Raises
        ------
        SourceError
            Where they cannot be read, or are of another shape.
        """


@dataclass(frozen=True)
class _Task:
    """Some rows of a block, whose first is row ``start`` of all; None for all of its rows."""

    block: Block
    start: int
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.block) if self.rows is None else len(self.rows)

    @property
    def of_all(self) -> Rows:
        """Its images' rows among all."""
        return slice(self.start, self.start + len(self.block)) if self.rows is None else self.start + self.rows

    def pieces(self, changes: tuple[Change, ...]) -> Iterator[tuple[Rows, NDArray[np.uint8]]]:
        """Give rows of all images and their pixels, changed."""
        done, rows = 0, np.arange(len(self.block)) if self.rows is None else self.rows
        for pixels in self.block.read(rows):
            part = slice(done, done + len(pixels))
            whole = self.rows is None
            at: Rows = slice(self.start + part.start, self.start + part.stop) if whole else self.start + rows[part]
            done = part.stop
            yield at, _changed(changes, at, pixels)
            del pixels  # the next are read into the same memory, which a core still has in its cache


@dataclass(frozen=True)
class _Run:
    """Some tasks, one after another, and the labels of their images."""

    tasks: list[_Task]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def pieces(self, changes: tuple[Change, ...]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Give labels and pixels, changed."""
        done = 0
        for task in self.tasks:
            for _, pixels in task.pieces(changes):
                yield self.labels[done : done + len(pixels)], pixels
                done += len(pixels)


@dataclass(frozen=True, eq=False)
class Stream(Images):
    """Images in blocks that are read when they are asked for.

    Parameters
    ----------
    blocks
        Where they are.
    size : (H, W, C)
    labels : (N,) int64
    class_names
        The K names, in order of label.
    provenance
        Where the images came from.
    changes
        What is done to the pixels of each part, in order.
    mapper
        Who does the work; None for this machine's cores.

    Raises
    ------
    UsageError
        Where labels and images or classes do not go together.
    """

    blocks: tuple[Block, ...]
    size: tuple[int, int, int]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance
    changes: tuple[Change, ...] = ()
    mapper: Mapper | None = None

    def __post_init__(self) -> None:
        check_labels(self.labels, sum(map(len, self.blocks)), len(self.class_names))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images.shape`."""
        return len(self), *self.size

    @property
    def is_distributed(self) -> bool:
        """Whether the work is done on other machines, where a function cannot change what is here."""
        return self.mapper is not None

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each block begins, and the end: (blocks + 1,)."""
        return np.cumsum([0, *map(len, self.blocks)])

    def map(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        wanted: NDArray[np.bool_] | None = None,
        what: str = "",
    ) -> Iterator[Result]:
        """See `Images.map`."""
        total = len(self) if wanted is None else int(wanted.sum())
        with progress_bar(what, total, hidden=not what) as bar:
            for count, results in self._work(partial(_map, function, self.changes), self._bundles(wanted)):
                yield from results
                bar.update(count)

    def map_beside(
        self,
        before: Images,
        function: Callable[[Rows, NDArray[np.uint8], NDArray[np.uint8]], Result],
        *,
        what: str = "",
    ) -> Iterator[Result]:
        """See `Images.map_beside`; those that these were derived from are read but once."""
        if not isinstance(before, Stream) or before.blocks is not self.blocks or before.changes:
            return super().map_beside(before, function, what=what)
        changes = self.changes
        return before.map(lambda rows, pixels: function(rows, pixels, _changed(changes, rows, pixels)), what=what)

    def _work(self, function: Callable[[Any], Result], items: Iterable[Any]) -> Iterator[Result]:
        return (self.mapper or thread_map)(function, items)

    def _bundles(self, wanted: NDArray[np.bool_] | None) -> Iterator[list[_Task]]:
        """Give the blocks that have wanted images: one at a time, or as many as are worth sending."""
        enough = BUNDLE_BYTES if self.is_distributed else 0
        bundle: list[_Task] = []
        for task in self._tasks(wanted):
            bundle.append(task)
            if sum(map(len, bundle)) * math.prod(self.size) >= enough:
                yield bundle
                bundle = []
        if bundle:
            yield bundle

    def _tasks(self, wanted: NDArray[np.bool_] | None) -> Iterator[_Task]:
        for block, start in zip(self.blocks, self._starts.tolist(), strict=False):
            rows = None if wanted is None else np.flatnonzero(wanted[start : start + len(block)])
            task = _Task(block, start, rows)
            if len(task):
                yield task

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """See `Images.read`; a block that has some of them is read for them alone."""
        index = numbers(rows)
        parts = [np.empty((0, *self.size), np.uint8)]
        of_block = np.searchsorted(self._starts, index, "right") - 1
        for number in np.unique(of_block):
            start = int(self._starts[number])
            task = _Task(self.blocks[number], start, index[of_block == number] - start)
            parts += [pixels for _, pixels in task.pieces(self.changes)]
        return parts[1] if len(parts) == 2 else np.concatenate(parts)

    def derive(self, change: Change) -> Self:
        """See `Images.derive`; they are made when they are read."""
        return replace(self, changes=(*self.changes, change))

    def load(self) -> LabeledImages:
        """See `Images.load`."""
        try:
            pixels = np.empty(self.shape, np.uint8)
        except MemoryError:
            size = "×".join(map(str, self.size))
            raise SourceError(f"{len(self)} images of {size} do not fit this machine's memory") from None
        for rows, read in self.map(lambda rows, read: (rows, read), what="read"):
            pixels[rows] = read
        return LabeledImages(pixels, self.labels, self.class_names, self.provenance)

    def kept(self, memory: int) -> Images:
        """See `Images.kept`; they stay where they are if that is where the work is done."""
        return self if self.is_distributed else super().kept(memory)

    def fold(
        self,
        function: Callable[[NDArray[np.int64], Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]], Result],
        *,
        wanted: NDArray[np.bool_] | None = None,
        what: str = "",
    ) -> Iterator[Result]:
        """Apply a function to runs of the images' parts, some for each worker; the results come in order.

        Parameters
        ----------
        function
            Is given the labels of a run, then the labels and the pixels of its parts, one part after another.
        wanted, what
            See `map`.
        """
        tasks, workers = list(self._tasks(wanted)), self.mapper.workers if self.mapper else cores()
        bounds = np.linspace(0, len(tasks), min(RUNS * workers, len(tasks)) + 1).astype(int).tolist()
        runs = (self._run(tasks[first:last]) for first, last in pairwise(bounds))
        with progress_bar(what, sum(map(len, tasks)), hidden=not what) as bar:
            for count, result in self._work(partial(_fold, function, self.changes), runs):
                yield result
                bar.update(count)

    def _run(self, tasks: list[_Task]) -> _Run:
        """Give tasks with no more than the labels that they need: each goes to another worker."""
        return _Run(tasks, np.concatenate([self.labels[task.of_all] for task in tasks]))


def _changed(changes: tuple[Change, ...], rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for change in changes:
        pixels = change(rows, pixels)
    return pixels


def _map(
    function: Callable[[Rows, Any], Result], changes: tuple[Change, ...], tasks: list[_Task]
) -> tuple[int, list[Result]]:
    results = [result for task in tasks for result in starmap(function, task.pieces(changes))]
    return sum(map(len, tasks)), results


def _fold(
    function: Callable[[NDArray[np.int64], Iterator[tuple[NDArray[np.int64], Any]]], Result],
    changes: tuple[Change, ...],
    run: _Run,
) -> tuple[int, Result]:
    return len(run), function(run.labels, run.pieces(changes))
