"""Parquet files in the Hub's layout, here or on the Hub → a stream of images."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifar10_s.codec import Shape, decode, probe
from cifar10_s.errors import SourceError, printable
from cifar10_s.images import part_size
from cifar10_s.parallel import chunks, thread_map
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

# What pyarrow raises on a file that is broken or of another kind; names that are no text are a ValueError.
UNREADABLE = (pa.ArrowException, OSError, ValueError)
# A remote file gives at most so many bytes of a column at once.
BUFFER = 8 << 20
# A task decodes at most so many bytes of pixels: some write all rows into one group.
BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class GroupBlock:
    """Images of one row group: ``rows`` of group ``number`` of ``file``, after ``skipped`` others.

    The first of them is row ``start`` of the source's split.
    """

    file: str
    number: int
    skipped: int
    rows: int
    start: int
    column: str
    shape: Shape
    name: str

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        at = -self.skipped
        for batch in _batches(self.file, self.number, self.column, part_size(self.shape)):
            wanted = rows[(rows >= at) & (rows < at + len(batch))]
            yield from self._decode(batch.take(pa.array(wanted - at)), self.start + wanted)
            at += len(batch)
            if at > rows.max(initial=-1):
                return
        raise SourceError(f"{self.file}: has changed while it was read; start again")

    def _decode(self, files: Any, numbers: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        for missing in np.flatnonzero(files.is_null())[:1]:
            raise _has_no_image(self.name, int(numbers[missing]))
        return decode(files.to_pylist(), self.shape, lambda i: f"{self.name} image {numbers[i]}")


def _has_no_image(name: str, row: int) -> SourceError:
    return SourceError(f"{name}: row {row} has no image: expected the image's bytes in every row")


@contextmanager
def opened(file: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file by its path or URL.

    Raises
    ------
    SourceError
        Where it cannot be read, then or while it is open.
    """
    is_remote = "://" in file
    try:
        # Opened here: the library beneath takes no path that is not UTF-8. Buffered, and not in advance: it would read
        # the whole of a row group, however large, before its first image.
        if is_remote:
            import fsspec

            with fsspec.open(file, "rb") as remote:
                yield pq.ParquetFile(remote, buffer_size=BUFFER, pre_buffer=False)
        else:
            with open(file, "rb") as local:  # noqa: PTH123 (as a URL is opened)
                yield pq.ParquetFile(local, buffer_size=BUFFER, pre_buffer=False)
    except SourceError:
        raise
    except Exception as error:
        # What a connection raises depends on the library beneath.
        if not is_remote and not isinstance(error, UNREADABLE):
            raise
        raise SourceError(f"{file}: cannot be read ({printable(str(error))[:200]}); get it again") from None


def _batches(file: str, group: int, column: str, size: int) -> Iterator[Any]:
    """Give the image files of a row group, so many at a time; null where there is none."""
    with opened(file) as parquet:
        for batch in parquet.iter_batches(size, row_groups=[group], columns=[f"{column}.bytes"]):
            if not batch.num_columns:
                raise SourceError(f"{file}: expected a column {column!r} with the images' bytes, found none")
            yield pc.struct_field(batch.column(0), "bytes")


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
    file, number, _ = next(group for group in found if group[2])
    first = next(_batches(file, number, image_column, 1))[0].as_py()
    if first is None:
        raise _has_no_image(name, 0)
    shape = probe(first, f"{name} image 0")
    blocks = (
        GroupBlock(file, number, part.start, part.stop - part.start, start + part.start, image_column, shape, name)
        for (file, number, rows), start in zip(found, starts, strict=False)
        for part in chunks(rows, max(1, BLOCK_BYTES // math.prod(shape)))
    )
    return Stream(tuple(blocks), shape, labels, class_names, provenance)


def _groups(file: str) -> list[tuple[str, int, int]]:
    """Give file, number and rows of each row group."""
    with opened(file) as parquet:
        metadata = parquet.metadata
        return [(file, number, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups)]


def read_column(files: Sequence[str], column: str) -> Any:
    """Read a whole column of some files, as one chunked array, whole numbers as int64; errors as for `opened`."""
    found = [chunk for of_file in thread_map(partial(_column, column=column), files) for chunk in of_file]
    kinds = sorted({str(chunk.type) for chunk in found})
    if len(kinds) > 1:
        raise SourceError(f"{files[0]}: column {column!r}: expected one type in all files, got {', '.join(kinds)}")
    return pa.chunked_array(found) if found else pa.chunked_array([], pa.int64())


def _column(file: str, column: str) -> list[Any]:
    with opened(file) as parquet:
        table = parquet.read([column])
        if not table.num_columns:
            raise SourceError(f"{file}: expected a column {column!r}, found none")
        found = table.column(0)
        return list((found.cast(pa.int64()) if pa.types.is_integer(found.type) else found).chunks)
