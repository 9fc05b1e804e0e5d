"""A folder of NumPy arrays, pixels beside labels → a stream of images.

For each shard ``NAME`` of a split there are ``NAME.pixels.npy``, (n, H, W, C) uint8, and ``NAME.labels.npy``, (n,)
whole numbers; ``classes.txt`` has the class names, a line each, in order of label. Nothing is decoded: it is the
fastest source there is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.array_files import one_line_errors, open_array
from cifar10_s.codec import COLOR_TYPES
from cifar10_s.errors import SourceError
from cifar10_s.parallel import chunks
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

# Opening a file costs as much as summing a hundred small images.
BLOCK_BYTES = 64 << 20
# What is read at a time stays in a core's cache until it is summed up, but for as many images of each class as it takes
# for most of them to be summed up eight at a time.
PIECE_BYTES, OF_CLASS = 4 << 20, 16
PIXELS, LABELS, CLASSES = ".pixels.npy", ".labels.npy", "classes.txt"
# More than anybody has: without it, one broken label would make as many class names as it says.
MAX_CLASSES = 1 << 20


@dataclass(frozen=True)
class ArrayBlock:
    """Rows ``start`` to ``stop`` of a file of pixels, (n, H, W, C), of which ``piece`` are read at a time."""

    file: Path
    start: int
    stop: int
    shape: tuple[int, int, int]
    piece: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        array = open_array(self.file)
        as_before = array.dtype == "uint8" and array.shape[1:] == self.shape and array.shape[0] >= self.stop
        if not as_before or array.offset is None:
            raise self._changed()
        with self.file.open("rb") as file:
            for part in chunks(len(self), self.piece):
                first, last = np.searchsorted(rows, (part.start, part.stop))
                if first < last:
                    yield self._read(file, array.offset, rows[first:last])

    def _read(self, file: BufferedReader, offset: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read from the first of some rows to the last; gives theirs."""
        first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
        pixels = np.empty((count, *self.shape), np.uint8)
        with one_line_errors(self.file):
            file.seek(offset + (self.start + first) * math.prod(self.shape))
            if file.readinto(pixels.data) != pixels.nbytes:
                raise self._changed()
        return pixels if len(rows) == count else pixels[rows - first]

    def _changed(self) -> SourceError:
        return SourceError(f"{self.file}: has changed while it was read; start again")


def is_array_folder(path: Path) -> bool:
    """Tell whether a folder, or a split's folder in it, holds pixels as arrays."""
    return any(next(path.glob(f"{inside}*{PIXELS}"), None) for inside in ("", "*/"))


def open_array_folder(path: Path, split: str) -> Stream | None:
    """Open one split: the folder of its name, or where there are none, the folder itself for ``train``.

    Gives None where the folder has no such split.

    Raises
    ------
    SourceError
        Where pixels, labels and class names do not go together.
    """
    root = path / split
    if not root.is_dir():
        if split != "train" or (path / "train").is_dir() or not any(path.glob(f"*{PIXELS}")):
            return None
        root = path
    files = sorted(root.glob(f"*{PIXELS}"))
    if not files:
        raise SourceError(f"{root}: expected arrays NAME{PIXELS} and NAME{LABELS}, found none")
    arrays = [open_array(file) for file in files]
    shape = arrays[0].shape[1:]
    for array in arrays:
        if array.dtype != "uint8" or len(array.shape) != 4 or array.shape[1:] != shape or 0 in array.shape:
            raise SourceError(
                f"{array.path}: expected uint8 pixels of shape (images, height, width, channels), as in the first "
                f"file, got {array.dtype} of shape {array.shape}"
            )
        if array.offset is None:
            raise SourceError(f"{array.path}: expected pixels in C order, got Fortran's: save np.ascontiguousarray(…)")
    height, width, channels = shape
    if channels not in COLOR_TYPES:
        raise SourceError(f"{files[0]}: expected 1 to 4 channels, got {channels}")
    labels = np.concatenate([_labels(array.path, array.shape[0]) for array in arrays])
    names = _class_names(path, int(labels.max()) + 1)
    piece = max(1, PIECE_BYTES // math.prod(shape), OF_CLASS * len(names))
    blocks = (
        ArrayBlock(array.path, part.start, part.stop, (height, width, channels), piece)
        for array in arrays
        for part in chunks(array.shape[0], max(1, BLOCK_BYTES // math.prod(shape)))
    )
    return Stream(tuple(blocks), (height, width, channels), labels, names, Provenance("arrays", path.resolve().name))


def _labels(pixels: Path, count: int) -> NDArray[np.int64]:
    file = pixels.with_name(pixels.name.removesuffix(PIXELS) + LABELS)
    array = open_array(file)
    if not array.dtype.startswith(("int", "uint")) or array.shape != (count,):
        raise SourceError(
            f"{file}: expected whole numbers of shape ({count},), one an image, "
            f"got {array.dtype} of shape {array.shape}"
        )
    labels = array.load()
    for row in np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))[:1]:
        raise SourceError(f"{file}: row {row}: expected a label from 0 to {MAX_CLASSES - 1}, got {labels[row]}")
    return labels.astype(np.int64)


def _class_names(path: Path, count: int) -> tuple[str, ...]:
    """Read the names of the classes; without any, they are called by their numbers."""
    file = path / CLASSES
    if not file.is_file():
        return tuple(map(str, range(count)))
    try:
        names = tuple(file.read_text(encoding="utf-8").splitlines())
    except ValueError as error:
        raise SourceError(f"{file}: expected text in UTF-8 ({error}); write it again") from None
    if len(names) < count or not all(name.strip() and name.isprintable() for name in names):
        raise SourceError(f"{file}: expected {count} names of printable characters, a line each, got {len(names)}")
    return names
