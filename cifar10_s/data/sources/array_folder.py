"""A folder of NumPy arrays, pixels and labels, as a stream of images.

For each shard ``NAME`` of a split there are ``NAME.pixels.npy``, (n, H, W, C) uint8, and ``NAME.labels.npy``, (n,)
whole numbers; ``classes.txt`` has the class names, one per line, in order of label. Nothing is decoded: this is the
fastest source.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.arrays import Int64Array
from cifar10_s.common.threads import chunks
from cifar10_s.data.array_files.base import ArrayFile, one_line_errors
from cifar10_s.data.array_files.registry import open_array
from cifar10_s.data.codec import PNG_COLOR_TYPES
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import named_by_numbers
from cifar10_s.data.sources.found import Found, UnlabelledError
from cifar10_s.data.sources.in_memory import MAX_CLASSES
from cifar10_s.data.sources.place import Folder, Place
from cifar10_s.data.sources.split_names import TRAIN, split_of_file, untold
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError

# Each block opens its file, which costs as much as summing a hundred small images.
BLOCK_BYTES = 64 << 20
# What is read at a time stays in a core's cache until it is summed. It is larger only if it would have fewer images per
# class than this: most are summed eight at a time.
READ_BYTES, MIN_READ_IMAGES_PER_CLASS = 4 << 20, 16
PIXELS_SUFFIX, LABELS_SUFFIX, CLASS_NAMES_FILE = ".pixels.npy", ".labels.npy", "classes.txt"


@dataclass(frozen=True)
class ArrayBlock:
    """Rows ``start`` to ``stop`` of a file of pixels, (n, H, W, C), of which ``read_size`` are read at a time."""

    file: Path
    start: int
    stop: int
    shape: tuple[int, int, int]
    read_size: int

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        array = open_array(self.file)
        is_unchanged = array.dtype == "uint8" and array.shape[1:] == self.shape and array.shape[0] >= self.stop
        if not is_unchanged or array.offset is None:
            raise self._changed()
        with self.file.open("rb") as file:
            for part in chunks(len(self), self.read_size):
                first, last = np.searchsorted(rows, (part.start, part.stop))
                if first < last:
                    yield self._read(file, array.offset, rows[first:last])

    def _read(self, file: BufferedReader, offset: int, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read from the first of the rows to the last, and return the pixels of the rows."""
        first, count = int(rows[0]), int(rows[-1] - rows[0]) + 1
        pixels = np.empty((count, *self.shape), np.uint8)
        with one_line_errors(self.file):
            file.seek(offset + (self.start + first) * math.prod(self.shape))
            if file.readinto(pixels.data) != pixels.nbytes:
                raise self._changed()
        return pixels if len(rows) == count else pixels[rows - first]

    def _changed(self) -> SourceError:
        return SourceError(f"{self.file}: has changed while it was read; start again")


@dataclass(frozen=True)
class _Shard:
    """The files of a shard; without labels, None."""

    pixels: Path
    labels: Path | None = None


def is_array_folder(place: Place) -> bool:
    """Return whether a folder, or a split's folder in it, holds pixels as arrays."""
    return place.is_folder and any(
        file.lower().endswith(PIXELS_SUFFIX)
        for folder in (place.folder, *place.folder.folders)
        for file in folder.files
    )


def find_array_folder(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a folder of arrays: its folders, or the folder itself, whose arrays are the training split.

    Raises
    ------
    SourceError
        If there is anything but arrays and class names.
    """
    root = place.folder
    for folder in root.walk():
        deeper = [one.path for one in folder.folders if folder is not root]
        for other in [*folder.others(f"*{PIXELS_SUFFIX}", f"*{LABELS_SUFFIX}", CLASS_NAMES_FILE), *deeper]:
            raise SourceError(f"{other}: expected only arrays NAME{PIXELS_SUFFIX} and NAME{LABELS_SUFFIX}; move it")
    splits = _splits_of_root(root)
    for folder in root.folders:
        if folder.name in splits:
            raise SourceError(f"{folder.path}: expected arrays either there or in {root.path}, got both; move one")
        splits[folder.name] = folder, _shards(folder)
    return Found(
        {name: partial(_open_split, folder, shards, place) for name, (folder, shards) in splits.items()},
        {name: str(folder.path) for name, (folder, _) in splits.items()},
    )


def _shards(folder: Folder) -> dict[str, _Shard]:
    """Return the files of each shard of a folder, by its name."""
    found: dict[str, dict[str, Path]] = {}
    for file in folder.files:
        for kind, suffix in (("pixels", PIXELS_SUFFIX), ("labels", LABELS_SUFFIX)):
            if file.lower().endswith(suffix):
                of_shard = found.setdefault(file[: -len(suffix)], {})
                if kind in of_shard:
                    raise SourceError(f"{folder.path / file}: is also there as {of_shard[kind].name}; remove one")
                of_shard[kind] = folder.path / file
    for name, files in found.items():
        if "pixels" not in files:
            raise SourceError(f"{files['labels']}: has no pixels beside it: expected {name}{PIXELS_SUFFIX}; add them")
    return {name: _Shard(**files) for name, files in found.items()}


def _splits_of_root(root: Folder) -> dict[str, tuple[Folder, dict[str, _Shard]]]:
    """Return the shards directly in the folder by the splits that their names tell; otherwise, they are for training.

    Raises
    ------
    SourceError
        If the names of only some tell a split.
    """
    splits: dict[str, dict[str, _Shard]] = {}
    for name, shard in _shards(root).items():
        splits.setdefault(split_of_file(name) or "", {})[name] = shard
    if "" in splits and len(splits) > 1:
        raise untold(next(iter(splits[""].values())).pixels, splits.keys() - {""})
    return {split or TRAIN: (root, shards) for split, shards in splits.items()}


def _open_split(folder: Folder, shards: Mapping[str, _Shard], place: Place) -> Stream:
    """Open the arrays of a split.

    Raises
    ------
    UnlabelledError
        If there are no labels at all.
    SourceError
        If pixels, labels and class names do not match.
    """
    if not shards:
        raise SourceError(f"{folder.path}: expected arrays NAME{PIXELS_SUFFIX} and NAME{LABELS_SUFFIX}, found none")
    for name, shard in shards.items():
        if shard.labels is None:
            error = SourceError if any(one.labels for one in shards.values()) else UnlabelledError
            missing = shard.pixels.with_name(name + LABELS_SUFFIX)
            raise error(f"{missing}: expected a file, there is none, and so no labels")
    arrays = [open_array(shard.pixels) for shard in shards.values()]
    height, width, channels = _image_shape(arrays)
    of_shards = zip(shards.values(), arrays, strict=True)
    labels = np.concatenate([_labels(shard.labels, array.shape[0]) for shard, array in of_shards if shard.labels])
    labels, names = _named(labels, folder, place)
    blocks = tuple(block for array in arrays for block in array_blocks(array, len(names)))
    return Stream(blocks, (height, width, channels), labels, names, Provenance("arrays", place.name))


def array_blocks(array: ArrayFile, classes: int, *, block_bytes: int = BLOCK_BYTES) -> list[ArrayBlock]:
    """Split a file of pixels into blocks of about ``block_bytes``."""
    count, height, width, channels = array.shape
    image_bytes = height * width * channels
    read_size = max(1, READ_BYTES // image_bytes, MIN_READ_IMAGES_PER_CLASS * classes)
    parts = chunks(count, max(1, block_bytes // image_bytes))
    return [ArrayBlock(array.path, part.start, part.stop, (height, width, channels), read_size) for part in parts]


def _image_shape(arrays: list[ArrayFile]) -> tuple[int, ...]:
    """Return (H, W, C) of all arrays, which must be pixels of one shape."""
    shape = arrays[0].shape[1:]
    for array in arrays:
        if array.dtype != "uint8" or len(array.shape) != 4 or array.shape[1:] != shape or 0 in array.shape:
            raise SourceError(
                f"{array.path}: expected uint8 pixels of shape (images, height, width, channels), as in the first "
                f"file, got {array.dtype} of shape {array.shape}"
            )
        if array.offset is None:
            raise SourceError(f"{array.path}: expected pixels in C order, got Fortran's: save np.ascontiguousarray(…)")
    if shape[2] not in PNG_COLOR_TYPES:
        raise SourceError(f"{arrays[0].path}: expected 1 to 4 channels, got {shape[2]}")
    return shape


def _labels(file: Path, count: int) -> NDArray[np.int64]:
    array = open_array(file)
    if not array.dtype.startswith(("int", "uint")) or array.shape != (count,):
        raise SourceError(
            f"{file}: expected whole numbers of shape ({count},), one per image, "
            f"got {array.dtype} of shape {array.shape}"
        )
    labels = array.load()
    for row in np.flatnonzero((labels < 0) | (labels >= MAX_CLASSES))[:1]:
        raise SourceError(f"{file}: row {row}: expected a label from 0 to {MAX_CLASSES - 1}, got {labels[row]}")
    return labels.astype(np.int64)


def _named(labels: Int64Array, folder: Folder, place: Place) -> tuple[Int64Array, tuple[str, ...]]:
    """Return labels and class names: those of the split's folder or of the one above, otherwise the numbers."""
    for path in dict.fromkeys((folder.path, place.path)):
        if (path / CLASS_NAMES_FILE).is_file():
            return labels, _class_names(path / CLASS_NAMES_FILE, int(labels.max()) + 1)
    return named_by_numbers(labels, str(folder.path))


def _class_names(file: Path, count: int) -> tuple[str, ...]:
    try:
        names = tuple(file.read_text(encoding="utf-8-sig").splitlines())
    except ValueError as error:
        raise SourceError(f"{file}: expected text in UTF-8 ({error}); write it again") from None
    if len(names) < count or not all(name.strip() and name.isprintable() for name in names):
        raise SourceError(f"{file}: expected {count} names of printable characters, one per line, got {len(names)}")
    return names
