"""Shards: the Parquet files of one released split, read a row group at a time."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifar10_s.codec import COLOR_TYPES, MAX_PIXELS, check_plain_png, decode
from cifar10_s.errors import SourceError
from cifar10_s.parquet import UNREADABLE
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

COLUMNS = [("img", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())]
LABEL_BYTES = 8


@dataclass(frozen=True)
class RowGroup:
    """Consecutive rows: group ``number`` of ``file``.

    Its first row is row ``start`` of the split, and row ``start_in_file`` of the file. Its images are (H, W, C).
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
        """See `stream.Block.read`; an image that is no plain PNG is refused too."""
        column = _column(self.file, self.number, "img")
        if len(column) != self.rows:
            raise SourceError(f"{self.file}: a group of rows declares {self.rows} of them, holds {len(column)}")
        if column.field("path").null_count != self.rows:
            raise SourceError(f"{self.file}: an image has a path: expected its bytes alone")
        files = column.field("bytes").take(pa.array(rows)).to_pylist()

        def name(i: int) -> str:
            return self.name(self.start + int(rows[i]))

        for i, data in enumerate(files):
            check_plain_png(data, self.shape, name(i))
        yield from decode(files, self.shape, name)

    def name(self, row: int) -> str:
        """Say where a row of the split is: its file, and its row there."""
        return f"{self.file}: row {row - self.start + self.start_in_file}"


@dataclass(frozen=True)
class StoredSplit:
    """One split of a release.

    Parameters
    ----------
    files
        Its shards, in order.
    shape
        The (H, W, C) that every image must have.
    class_names
        The K names, in order of label.

    Raises
    ------
    SourceError
        For a shape that no images have.
    """

    files: Sequence[Path]
    shape: tuple[int, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        sizes = self.shape if len(self.shape) == 3 and all(type(size) is int for size in self.shape) else (0, 0, 0)
        if min(sizes) < 1 or sizes[2] not in COLOR_TYPES or sizes[0] * sizes[1] > MAX_PIXELS:
            raise SourceError(
                f"expected images of (height, width, channels), 1 to 4 channels and {MAX_PIXELS} pixels at most, "
                f"got {self.shape!s:.80}"
            )

    @cached_property
    def groups(self) -> list[RowGroup]:
        """The row groups of all shards.

        Raises
        ------
        SourceError
            Where a shard is no Parquet file with the columns ``img`` and ``label`` and these classes.
        """
        groups = []
        height, width, channels = self.shape
        shape = height, width, channels
        start = 0
        for file in self.files:
            try:
                # Opened here: the library beneath takes no path that is not UTF-8.
                with file.open("rb") as opened:
                    metadata = pq.read_metadata(opened)
                schema = metadata.schema.to_arrow_schema()
            except UNREADABLE as error:
                raise SourceError(f"{file}: is no Parquet file ({error})") from None
            columns = [(field.name, field.type) for field in schema]
            if columns != COLUMNS:
                raise SourceError(f"{file}: expected the columns {COLUMNS}, got {columns}")
            if _features(schema) != self._expected_features():
                raise SourceError(f"{file}: expected features {self._expected_features()}, got {_features(schema)}")
            start_of_file = start
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                if rows < 0:
                    raise SourceError(f"{file}: a group of rows declares {rows} of them")
                if rows:
                    groups.append(RowGroup(file, number, start, start - start_of_file, rows, shape))
                start += rows
        return groups

    def _expected_features(self) -> dict[str, Any]:
        return {"img": {"_type": "Image"}, "label": {"names": list(self.class_names), "_type": "ClassLabel"}}

    def __len__(self) -> int:
        return sum(group.rows for group in self.groups)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The labels, (N,) int64.

        Raises
        ------
        SourceError
            Where a row has none, or one that no class has.
        """
        parts = [np.empty(0, np.int64)]
        for file in self.files:
            labels = _column(file, None, "label").to_numpy()
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
            if len(wrong):
                expected = f"expected a label from 0 to {len(self.class_names) - 1}"
                raise SourceError(f"{file}: row {wrong[0]}: {expected}, got {labels[wrong[0]]}")
            parts.append(labels)
        found = np.concatenate(parts)
        if len(found) != len(self):
            raise SourceError(
                f"{self.files[0]}: declares {len(self)} rows with the shards after it, holds {len(found)}"
            )
        return found

    @cached_property
    def num_bytes(self) -> int:
        """The bytes of the image files and the labels: what the card says the split takes."""
        images = (_column(group.file, group.number, "img").field("bytes") for group in self.groups)
        return LABEL_BYTES * len(self) + sum(pc.sum(pc.binary_length(files)).as_py() or 0 for files in images)

    def name(self, row: int) -> str:
        """Say where a row of the split is: its file, and its row there."""
        return next(group for group in self.groups if row < group.start + group.rows).name(row)

    def stream(self, provenance: Provenance = Provenance()) -> Stream:  # noqa: B008 (frozen)
        """Give the images; errors as for `groups` and `labels`, and SourceError where there are none."""
        if not len(self):
            raise SourceError(f"{self.files[0]}: holds no rows: expected at least one")
        height, width, channels = self.shape
        return Stream(tuple(self.groups), (height, width, channels), self.labels, self.class_names, provenance)


def _features(schema: Any) -> Any:
    """Give the features that `datasets` reads from a shard's own metadata."""
    try:
        return json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    except (TypeError, LookupError, ValueError, RecursionError):
        return None


def _column(file: Path, group: int | None, name: str) -> Any:
    """Read a column of one row group, or of a whole shard; every row must have a value."""
    try:
        with file.open("rb") as opened:
            parquet = pq.ParquetFile(opened)
            table = parquet.read([name]) if group is None else parquet.read_row_group(group, [name])
    except UNREADABLE as error:
        raise SourceError(f"{file}: cannot be read ({error})") from None
    column = table.column(name).combine_chunks()
    if column.null_count or (name == "img" and column.field("bytes").null_count):
        raise SourceError(f"{file}: a row has no {name}: expected one in every row")
    return column
