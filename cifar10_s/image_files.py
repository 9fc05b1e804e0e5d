"""Image files, by their paths or contents → a stream of images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.codec import EncodedImage, Shape, decode, probe
from cifar10_s.images import part_size
from cifar10_s.parallel import chunks
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream


@dataclass(frozen=True)
class FileBlock:
    """Some files, of which the first is number ``start``; without a path, it is called that in errors."""

    files: tuple[EncodedImage, ...]
    shape: Shape
    start: int
    name: str

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        files = [self.files[row] for row in rows]
        return decode(files, self.shape, lambda i: _called(files[i], self.name, self.start + int(rows[i])))


def stream_files(
    files: Sequence[EncodedImage],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    provenance: Provenance,
    name: str = "",
) -> Stream:
    """Give the images of files, of which only the first one's header is read yet.

    Parameters
    ----------
    files
        Paths, or contents.
    labels, class_names, provenance
        As of the stream.
    name
        What stands before a file's number in an error, where it has no path.

    Raises
    ------
    SourceError
        Where the first file is no image.
    """
    shape = probe(files[0], _called(files[0], name, 0))
    blocks = (FileBlock(tuple(files[part]), shape, part.start, name) for part in chunks(len(files), part_size(shape)))
    return Stream(tuple(blocks), shape, labels, class_names, provenance)


def _called(file: EncodedImage, name: str, number: int) -> str:
    return str(file) if isinstance(file, Path) else f"{name} image {number}".strip()
