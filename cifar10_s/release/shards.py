"""Read the Parquet files (shards) of a split of a release, one row group at a time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifar10_s.data.codec import MAX_PIXELS, PNG_COLOR_TYPES, check_plain_png, decode
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.parquet import READ_ERRORS
from cifar10_s.data.stream import Stream
from cifar10_s.data.whole_numbers import to_arrow, to_numpy
from cifar10_s.errors import SourceError
from cifar10_s.release.layout import IMAGE_COLUMN, LABEL_COLUMN

COLUMNS = [(IMAGE_COLUMN, pa.struct([("bytes", pa.binary()), ("path", pa.string())])), (LABEL_COLUMN, pa.int64())]
LABEL_BYTES = 8


@dataclass(frozen=True)
class RowGroup:
    """Row group ``number`` of ``file``, with images of ``shape`` (H, W, C).

    Its first row is row ``start`` of the split and row ``start_in_file`` of the file.
    """

    file: Path
    number: int
    start: int
    start_in_file: int
    rows: int
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`.

        Raises
        ------
        SourceError
            If the file cannot be read, or an image is not a plain PNG of this shape.
        """
        column = _column(self.file, self.number, IMAGE_COLUMN)
        if len(column) != self.rows:
            raise SourceError(f"{self.file}: a row group declares {self.rows} rows, holds {len(column)}")
        if column.field("path").null_count != self.rows:
            raise SourceError(f"{self.file}: an image has a path: expected only its bytes")
        files = column.field("bytes").take(to_arrow(rows)).to_pylist()

        def name(i: int) -> str:
            return self.name(self.start + int(rows[i]))

        for i, data in enumerate(files):
            check_plain_png(data, self.shape, name(i))
        yield from decode(files, self.shape, name)

    def name(self, row: int) -> str:
        """Return a name for a row of the split: its file, and its row in that file."""
        return f"{self.file}: row {row - self.start + self.start_in_file}"


@dataclass(frozen=True)
class StoredSplit:
    """One split of a release.

    Parameters
    ----------
    files
        Shards, in order.
    shape
        (H, W, C) that every image must have.
    class_names
        Names of the K classes, in order of label.
    others
        Names of the labels of each other column; None for a column without names.

    Raises
    ------
    SourceError
        If the shape is not one of images.
    """

    files: Sequence[Path]
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    others: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = self.shape if len(self.shape) == 3 and all(type(size) is int for size in self.shape) else (0, 0, 0)
        if min(sizes) < 1 or sizes[2] not in PNG_COLOR_TYPES or sizes[0] * sizes[1] > MAX_PIXELS:
            raise SourceError(
                f"expected images of (height, width, channels), 1 to 4 channels and {MAX_PIXELS} pixels at most, "
                f"got {self.shape!s:.80}"
            )

    @cached_property
    def groups(self) -> list[RowGroup]:
        """Row groups of all shards, without empty ones.

        Raises
        ------
        SourceError
            If a shard is not a Parquet file with the columns ``img`` and ``label`` and these classes.
        """
        groups = []
        height, width, channels = self.shape
        shape = height, width, channels
        start = 0
        for file in self.files:
            try:
                # Opened here, as pyarrow does not accept paths that are not UTF-8.
                with file.open("rb") as opened:
                    metadata = pq.read_metadata(opened)
                schema = metadata.schema.to_arrow_schema()
            except READ_ERRORS as error:
                raise SourceError(f"{file}: is not a Parquet file ({error})") from None
            columns = [(field.name, field.type) for field in schema]
            expected = [*COLUMNS, *((name, pa.int64()) for name in self.others)]
            if columns != expected:
                raise SourceError(f"{file}: expected the columns {expected}, got {columns}")
            if _features(schema) != self._expected_features():
                raise SourceError(f"{file}: expected features {self._expected_features()}, got {_features(schema)}")
            start_of_file = start
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                if rows < 0:
                    raise SourceError(f"{file}: a row group declares {rows} rows")
                if rows:
                    groups.append(RowGroup(file, number, start, start - start_of_file, rows, shape))
                start += rows
        return groups

    def _expected_features(self) -> dict[str, Any]:
        return {
            IMAGE_COLUMN: {"_type": "Image"},
            LABEL_COLUMN: {"names": list(self.class_names), "_type": "ClassLabel"},
            **{name: _label_feature(names) for name, names in self.others.items()},
        }

    def __len__(self) -> int:
        return sum(group.rows for group in self.groups)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Labels, (N,) int64.

        Raises
        ------
        SourceError
            If a row has no label, or one that is not a class.
        """
        parts = [np.empty(0, np.int64)]
        for file in self.files:
            labels = to_numpy(_column(file, None, LABEL_COLUMN))
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
            if len(wrong):
                expected = f"expected a label from 0 to {len(self.class_names) - 1}"
                raise SourceError(f"{file}: row {wrong[0]}: {expected}, got {labels[wrong[0]]}")
            parts.append(labels)
        found = np.concatenate(parts)
        if len(found) != len(self):
            raise SourceError(
                f"{self.files[0]}: declares {len(self)} rows with the shards that follow, holds {len(found)}"
            )
        return found

    def values(self, column: str) -> NDArray[np.int64]:
        """Return the values of another column, (N,) int64; raise SourceError if one is missing."""
        return np.concatenate([np.empty(0, np.int64), *(to_numpy(_column(file, None, column)) for file in self.files)])

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of the image files and labels, the size of the split in the card."""
        images = (_column(group.file, group.number, IMAGE_COLUMN).field("bytes") for group in self.groups)
        return LABEL_BYTES * (1 + len(self.others)) * len(self) + sum(
            pc.sum(pc.binary_length(files)).as_py() or 0 for files in images
        )

    def name(self, row: int) -> str:
        """Return a name for a row of the split: its file, and its row in that file."""
        return next(group for group in self.groups if row < group.start + group.rows).name(row)

    def stream(self, provenance: Provenance = Provenance()) -> Stream:  # noqa: B008 (frozen)
        """Return the images as a stream.

        Raises
        ------
        SourceError
            If there are no images; and as for `groups` and `labels`.
        """
        if not len(self):
            raise SourceError(f"{self.files[0]}: holds no rows: expected at least one")
        height, width, channels = self.shape
        return Stream(tuple(self.groups), (height, width, channels), self.labels, self.class_names, provenance)


def _label_feature(names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the feature of a column of labels as `datasets` writes it."""
    return {"dtype": "int64", "_type": "Value"} if names is None else {"names": list(names), "_type": "ClassLabel"}


def _features(schema: Any) -> Any:
    """Return the features that `datasets` reads from the metadata of a shard, or None if there are none."""
    try:
        return json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, LookupError, ValueError, RecursionError):
        return None


def _column(file: Path, group: int | None, name: str) -> Any:
    """Read a column of a row group or, without one, of the whole shard; raise SourceError if a value is missing."""
    try:
        with file.open("rb") as opened:
            parquet = pq.ParquetFile(opened)
            table = parquet.read([name]) if group is None else parquet.read_row_group(group, [name])
    except READ_ERRORS as error:
        raise SourceError(f"{file}: cannot be read ({error})") from None
    column = table.column(name).combine_chunks()
    if column.null_count or (name == IMAGE_COLUMN and column.field("bytes").null_count):
        raise SourceError(f"{file}: a row has no {name}: expected one in every row")
    return column
