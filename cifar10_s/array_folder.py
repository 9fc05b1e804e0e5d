"""A folder of NumPy arrays, pixels beside labels → a stream of images.

For each shard ``NAME`` of a split there are ``NAME.pixels.npy``, (n, H, W, C) uint8, and ``NAME.labels.npy``, (n,)
whole numbers; ``classes.txt`` has the class names, a line each, in order of label. Nothing is decoded: it is the
fastest source there is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.codec import COLOR_TYPES
from cifar10_s.errors import SourceError, printable
from cifar10_s.images import part_size
from cifar10_s.parallel import chunks
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

# Opening a file costs as much as summing a hundred small images.
BLOCK_BYTES = 16 << 20
PIXELS, LABELS, CLASSES = ".pixels.npy", ".labels.npy", "classes.txt"


@dataclass(frozen=True)
class ArrayBlock:
    """Rows ``start`` to ``stop`` of a file of pixels, (n, H, W, C)."""

    file: Path
    start: int
    stop: int
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        pixels = _open(self.file)
        if pixels.shape[1:] != self.shape or len(pixels) < self.stop:
            raise SourceError(f"{self.file}: has changed while it was read; start again")
        here, all_wanted = pixels[self.start : self.stop], len(rows) == len(self)
        for part in chunks(len(rows), part_size(self.shape)):
            yield here[part] if all_wanted else here[rows[part]]


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
    arrays = [_open(file) for file in files]
    shape = arrays[0].shape[1:]
    for file, array in zip(files, arrays, strict=True):
        if array.dtype != np.uint8 or array.ndim != 4 or array.shape[1:] != shape or 0 in array.shape:
            raise SourceError(
                f"{file}: expected uint8 pixels of shape (images, height, width, channels), as in the first file, "
                f"got {array.dtype} of shape {array.shape}"
            )
    if shape[-1] not in COLOR_TYPES:
        raise SourceError(f"{files[0]}: expected 1 to 4 channels, got {shape[-1]}")
    labels = np.concatenate([_labels(file, len(array)) for file, array in zip(files, arrays, strict=True)])
    names = _class_names(path, int(labels.max()) + 1)
    blocks = (
        ArrayBlock(file, part.start, part.stop, shape)
        for file, array in zip(files, arrays, strict=True)
        for part in chunks(len(array), max(1, BLOCK_BYTES // math.prod(shape)))
    )
    return Stream(tuple(blocks), shape, labels, names, Provenance("arrays", path.resolve().name))


def _open(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
        return array
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(f"{file}: cannot be read ({printable(str(error))[:200]}); write it again") from None


def _labels(pixels: Path, count: int) -> NDArray[np.int64]:
    file = pixels.with_name(pixels.name.removesuffix(PIXELS) + LABELS)
    labels = np.asarray(_open(file))
    if labels.dtype.kind not in "iu" or labels.shape != (count,) or labels.min() < 0:
        raise SourceError(
            f"{file}: expected whole numbers from 0 of shape ({count},), one an image, "
            f"got {labels.dtype} of shape {labels.shape}"
        )
    return labels.astype(np.int64)


def _class_names(path: Path, count: int) -> tuple[str, ...]:
    """Read the names of the classes; without any, they are called by their numbers."""
    file = path / CLASSES
    if not file.is_file():
        return tuple(map(str, range(count)))
    names = tuple(file.read_text(encoding="utf-8").splitlines())
    if len(names) < count or not all(name.strip() and name.isprintable() for name in names):
        raise SourceError(f"{file}: expected {count} names of printable characters, a line each, got {len(names)}")
    return names
