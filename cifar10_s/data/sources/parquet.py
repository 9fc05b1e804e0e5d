"""Parquet files in the Hub's layout, local or on the Hub, as a stream of images."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.common.transfers import check_fetched
from cifar10_s.data.codec import AS_THEY_ARE, Shape, decode, is_unlike, probe
from cifar10_s.data.conversion import Conversion
from cifar10_s.data.images import MAX_PART_IMAGES, part_size
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.stream import Stream
from cifar10_s.data.whole_numbers import to_arrow
from cifar10_s.errors import SourceError, one_line, printable

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# What pyarrow raises on a file that is broken or of another format; a ValueError if a column name is not UTF-8.
READ_ERRORS = (pa.ArrowException, OSError, ValueError)
# The bytes of a column that are read from a file at a time.
BUFFER_BYTES = 8 << 20
# The most pixels that a task decodes: some files hold all rows in one group.
BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class GroupBlock:
    """Images of a row group: ``rows`` rows of group ``number`` of ``file``, after ``skipped`` others.

    The first of them is row ``start`` of the split; ``part_images`` of them are decoded at a time.
    """

    file: str
    number: int
    skipped: int
    rows: int
    start: int
    column: str
    shape: Shape
    name: str
    part_images: int
    conversion: Conversion = AS_THEY_ARE

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        for files, numbers in self._files(rows):
            names = partial(_image_name, self.name, numbers)
            yield from decode(present(files, numbers, self.name), self.shape, names, self.conversion)

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """See `stream.ComparableBlock.count_unlike`."""
        files = (file for part, _ in self._files(rows) for file in part.drop_null().to_pylist())
        return sum(is_unlike(file, self.shape, self.name, self.conversion) for file in files)

    def _files(self, rows: NDArray[np.int64]) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """Yield the image files at some rows, null for a row without an image, and the rows' numbers in the split."""
        first = -self.skipped
        for batch in _batches(self.file, self.number, self.column, self.part_images):
            chosen = rows[(rows >= first) & (rows < first + len(batch))]
            yield batch.take(to_arrow(chosen - first)), self.start + chosen
            first += len(batch)
            if first > rows.max(initial=-1):
                return
        raise SourceError(f"{self.file}: has changed while it was read; start again")


def _image_name(name: str, numbers: NDArray[np.int64], i: int) -> str:
    return f"{name} image {numbers[i]}"


def present(files: Any, numbers: NDArray[np.int64], name: str) -> list[bytes]:
    """Return the image files of an Arrow array, whose rows have these numbers.

    Raises
    ------
    SourceError
        If one is missing.
    """
    listed: list[bytes] = files.to_pylist()
    if files.null_count:
        raise has_no_image(name, int(numbers[listed.index(None)]))  # type: ignore[arg-type]
    return listed


def has_no_image(name: str, row: int) -> SourceError:
    """Return the error of a row without an image."""
    return SourceError(f"{name}: row {row} has no image: expected the image's bytes in every row")


@contextmanager
def opened(file: str) -> "Iterator[pq.ParquetFile]":
    """Open a Parquet file by its path or URL.

    Raises
    ------
    SourceError
        If it cannot be read, at first or while it is open.
    """
    import pyarrow.parquet as pq  # other sources do without it

    is_remote = "://" in file
    try:
        # Opened here, since pyarrow takes no path that is not UTF-8. Buffered, but not pre-buffered: that would read a
        # whole row group, however large, before its first image.
        if is_remote:
            import fsspec

            with fsspec.open(file, "rb") as remote:
                yield _checked(pq.ParquetFile(remote, buffer_size=BUFFER_BYTES, pre_buffer=False), file)
        else:
            check_fetched(Path(file))
            with open(file, "rb") as local:  # noqa: PTH123 (as a URL is opened)
                yield _checked(pq.ParquetFile(local, buffer_size=BUFFER_BYTES, pre_buffer=False), file)
    except SourceError:
        raise
    except Exception as error:
        # What a connection raises depends on the HTTP library.
        if not is_remote and not isinstance(error, READ_ERRORS):
            raise
        raise SourceError(f"{file}: cannot be read ({one_line(error)}); get it again") from None


def _checked(parquet: "pq.ParquetFile", file: str) -> "pq.ParquetFile":
    """Return a file whose columns have names of their own: which of two is meant would be guessed."""
    for name, count in Counter(parquet.schema_arrow.names).items():
        if count > 1:
            raise SourceError(f"{file}: expected one column {printable(name)!r:.200}, got {count}; rename or drop one")
    return parquet


def _batches(file: str, group: int, column: str, size: int) -> Iterator[Any]:
    """Yield the image files of a row group, ``size`` at a time; null for a row without an image."""
    import pyarrow.compute as pc

    with opened(file) as parquet:
        schema = parquet.schema_arrow
        is_plain = column in schema.names and is_binary(schema.field(column).type)
        wanted = column if is_plain else f"{column}.bytes"
        for batch in parquet.iter_batches(size, row_groups=[group], columns=[wanted]):
            if not batch.num_columns:
                raise SourceError(f"{file}: expected a column {column!r} with the images' bytes, found none")
            files = batch.column(0) if is_plain else pc.struct_field(batch.column(0), "bytes")
            # Arrow takes no rows of a view.
            yield files.cast(pa.large_binary()) if pa.types.is_binary_view(files.type) else files


def is_binary(kind: Any) -> bool:
    """Return whether a column of an Arrow type holds bytes."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def is_text(kind: Any) -> bool:
    """Return whether a column of an Arrow type holds texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def read_stream(
    files: Sequence[str],
    name: str,
    image_column: str,
    labels: NDArray[np.int64],
    class_names: tuple[str, ...],
    provenance: Provenance,
    *,
    conversion: Conversion = AS_THEY_ARE,
    block_bytes: int = BLOCK_BYTES,
    max_part_images: int = MAX_PART_IMAGES,
) -> Stream:
    """Return a stream of the images of files; only the header of the first image is decoded immediately.

    Parameters
    ----------
    files
        Paths or URLs, in order.
    name
        The name of the split in error messages.
    image_column
        The column with the image files.
    labels, class_names, provenance
        See `Stream`.
    conversion
        How the images are made alike.
    block_bytes, max_part_images
        The most bytes of pixels in a block, and the most images that are decoded at a time.

    Raises
    ------
    SourceError
        If a file cannot be read, or the number of its rows is not that of the labels.
    """
    groups = [group for file_groups in thread_map(_groups, files) for group in file_groups]
    starts = np.cumsum([0, *(rows for _, _, rows in groups)]).tolist()
    if starts[-1] != len(labels) or not len(labels):
        raise SourceError(f"{name}: declares {starts[-1]} rows, holds {len(labels)}")
    file, number, _ = next(group for group in groups if group[2])
    first = next(_batches(file, number, image_column, 1))[0].as_py()
    if first is None:
        raise has_no_image(name, 0)
    shape = probe(first, f"{name} image 0", conversion)
    size = part_size(shape, max_part_images)
    blocks = (
        GroupBlock(
            file, number, at.start, at.stop - at.start, start + at.start, image_column, shape, name, size, conversion
        )
        for (file, number, rows), start in zip(groups, starts, strict=False)
        for at in chunks(rows, max(1, block_bytes // math.prod(shape)))
    )
    return Stream(tuple(blocks), shape, labels, class_names, provenance)


def _groups(file: str) -> list[tuple[str, int, int]]:
    """Return the file, the number and the number of rows of each row group."""
    with opened(file) as parquet:
        metadata = parquet.metadata
        return [(file, number, metadata.row_group(number).num_rows) for number in range(metadata.num_row_groups)]


def read_column(files: Sequence[str], column: str) -> Any:
    """Read a whole column of files as one chunked array, integers as int64; errors as for `opened`."""
    parts = [chunk for of_file in thread_map(partial(_column, column=column), files) for chunk in of_file]
    types = sorted({str(chunk.type) for chunk in parts})
    if len(types) > 1:
        raise SourceError(f"{files[0]}: column {column!r}: expected one type in all files, got {', '.join(types)}")
    return pa.chunked_array(parts) if parts else pa.chunked_array([], pa.int64())


def _column(file: str, column: str) -> list[Any]:
    with opened(file) as parquet:
        table = parquet.read([column])
        if not table.num_columns:
            raise SourceError(f"{file}: expected a column {column!r}, found none")
        values = table.column(0)
        return list((values.cast(pa.int64()) if pa.types.is_integer(values.type) else values).chunks)
