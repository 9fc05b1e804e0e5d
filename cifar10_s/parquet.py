"""Parquet files in the Hub's layout, here or on the Hub → a stream of images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifar10_s.codec import Shape, decode, probe
from cifar10_s.errors import SourceError
from cifar10_s.parallel import thread_map
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

# What pyarrow raises on a file that is broken or of another kind; names that are no text are a ValueError.
UNREADABLE = (pa.ArrowException, OSError, ValueError)
# A remote file gives at most so many bytes of a column at once.
BUFFER = 8 << 20


@dataclass(frozen=True)
class RowGroup:
    """The images of one row group: group ``number`` of ``file``, whose first row is ``start`` of the source's split."""

    file: str
    number: int
    rows: int
    start: int
    column: str
    shape: Shape
    name: str

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        files = read_bytes(self.file, self.number, self.column, self.start).take(pa.array(rows)).to_pylist()
        return decode(files, self.shape, lambda i: f"{self.name} image {self.start + rows[i]}")


@contextmanager
def opened(file: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file by its path or URL.

    Raises
    ------
    SourceError
        Where it cannot be read, then or while it is open.
    """
    try:
        # Opened here: the library beneath takes no path that is not UTF-8.
        if "://" in file:
            import fsspec

            with fsspec.open(file, "rb") as remote:
                yield pq.ParquetFile(remote, buffer_size=BUFFER)
        else:
            with open(file, "rb") as local:  # noqa: PTH123 (as a URL is opened)
                yield pq.ParquetFile(local)
    except UNREADABLE as error:
        raise SourceError(f"{file}: cannot be read ({' '.join(str(error).split())[:200]}); get it again") from None


def read_bytes(file: str, group: int, column: str, start: int) -> Any:
    """Read the image files of a row group, whose first row is ``start`` of the split; every row must have one."""
    with opened(file) as parquet:
        images = parquet.read_row_group(group, [f"{column}.bytes"]).column(0).combine_chunks()
        files = images.field("bytes")
    missing = np.flatnonzero(images.is_null()) if images.null_count else np.flatnonzero(files.is_null())
    if len(missing):
        raise SourceError(f"{file}: row {start + missing[0]} has no image: expected the image's bytes in every row")
    return files


def read_stream(
    files: Sequence[str],
    name: str,
    image_column: str,
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    provenance: Provenance,
) -> Stream:
    """Give the images of some files, of which nothing but the first is decoded yet.

    Parameters
    ----------
    files
        Paths or URLs, in order.
    name
        How the split is called in errors.
    image_column
        The column with the image files.
    labels, class_names, provenance
        As of the stream.

    Raises
    ------
    SourceError
        Where a file cannot be read, or holds other rows than there are labels.
    """
    found = [group for of_file in thread_map(_groups, files) for group in of_file]
    if sum(rows for _, _, rows in found) != len(labels) or not len(labels):
        raise SourceError(f"{name}: declares {sum(rows for _, _, rows in found)} rows, holds {len(labels)}")
    starts = np.cumsum([0, *(rows for _, _, rows in found)]).tolist()
    first = next(group for group in found if group[2])
    shape = probe(read_bytes(first[0], first[1], image_column, 0)[0].as_py(), f"{name} image 0")
    blocks = (
        RowGroup(file, number, rows, start, image_column, shape, name)
        for (file, number, rows), start in zip(found, starts, strict=False)
        if rows
    )
    return Stream(tuple(blocks), shape, labels, class_names, provenance)


def _groups(file: str) -> list[tuple[str, int, int]]:
    """Give file, number and rows of each row group."""
    with opened(file) as parquet:
        metadata = parquet.metadata
        return [(file, number, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups)]


def read_column(files: Sequence[str], column: str) -> Any:
    """Read a whole column of some files, as one chunked array; errors as for `opened`."""
    chunks = [chunk for of_file in thread_map(partial(_column, column=column), files) for chunk in of_file]
    return pa.chunked_array(chunks) if chunks else pa.chunked_array([], pa.int64())


def _column(file: str, column: str) -> list[Any]:
    with opened(file) as parquet:
        return list(parquet.read([column]).column(0).chunks)
