"""Image files, given as paths or contents, as a stream of images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks
from cifar10_s.data.codec import AS_THEY_ARE, EncodedImage, Shape, decode, is_unlike, probe
from cifar10_s.data.conversion import Conversion
from cifar10_s.data.images import part_size
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.stream import Stream


@dataclass(frozen=True)
class FileBlock:
    """Consecutive files, the first of number ``start``; errors name a file without a path by ``name`` and number."""

    files: tuple[EncodedImage, ...]
    shape: Shape
    start: int
    name: str
    conversion: Conversion = AS_THEY_ARE

    def __len__(self) -> int:
        return len(self.files)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        files = [self.files[row] for row in rows]
        return decode(
            files, self.shape, lambda i: _file_name(files[i], self.name, self.start + int(rows[i])), self.conversion
        )

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """See `stream.ComparableBlock.count_unlike`."""
        return sum(is_unlike(self.files[row], self.shape, self.name, self.conversion) for row in rows)


def stream_files(
    files: Sequence[EncodedImage],
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    provenance: Provenance,
    name: str = "",
    *,
    conversion: Conversion = AS_THEY_ARE,
) -> Stream:
    """Return a stream of the images of files; only the header of the first file is read immediately.

    Parameters
    ----------
    files
        Paths, or contents.
    labels, class_names, provenance
        See `Stream`.
    name
        Precedes the number of a file without a path in error messages.
    conversion
        How the images are made alike.

    Raises
    ------
    SourceError
        If the first file is not an image.
    """
    shape = probe(files[0], _file_name(files[0], name, 0), conversion)
    parts = chunks(len(files), part_size(shape))
    blocks = (FileBlock(tuple(files[part]), shape, part.start, name, conversion) for part in parts)
    return Stream(tuple(blocks), shape, labels, class_names, provenance)


def _file_name(file: EncodedImage, name: str, number: int) -> str:
    return str(file) if isinstance(file, Path) else f"{name} image {number}".strip()
