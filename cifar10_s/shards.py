"""Shards: the Parquet files of one released split, read a row group at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cifar10_s.codec import decode_into
from cifar10_s.errors import SourceError
from cifar10_s.images import LabeledImages
from cifar10_s.parallel import progress_bar, thread_map

Result = TypeVar("Result")

COLUMNS = {"img": pa.struct([("bytes", pa.binary()), ("path", pa.string())]), "label": pa.int64()}


@dataclass(frozen=True)
class RowGroup:
    """Consecutive rows: group ``number`` of ``file``, whose first row is row ``start`` of the split."""

    file: Path
    number: int
    start: int
    rows: int


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
    """

    files: Sequence[Path]
    shape: tuple[int, ...]
    class_names: tuple[str, ...]

    @cached_property
    def groups(self) -> list[RowGroup]:
        """The row groups of all shards.

        Raises
        ------
        SourceError
            Where a shard is no Parquet file with the columns ``img`` and ``label``.
        """
        groups = []
        start = 0
        for file in self.files:
            try:
                metadata = pq.read_metadata(file)
                columns = {field.name: field.type for field in metadata.schema.to_arrow_schema()}
            except (pa.ArrowException, OSError) as error:
                raise SourceError(f"{file}: is no Parquet file ({error})") from None
            if columns != COLUMNS:
                raise SourceError(f"{file}: expected the columns {COLUMNS}, got {columns}")
            for number in range(metadata.num_row_groups):
                rows = metadata.row_group(number).num_rows
                groups.append(RowGroup(file, number, start, rows))
                start += rows
        return groups

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
        parts = [_column(file, None, "label").to_numpy() for file in self.files]
        labels = np.concatenate(parts) if parts else np.empty(0, np.int64)
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
        if len(wrong):
            raise SourceError(
                f"{self.files[0].parent}: row {wrong[0]}: expected a label from 0 to "
                f"{len(self.class_names) - 1}, got {labels[wrong[0]]}"
            )
        return labels

    def map_groups(
        self, function: Callable[[RowGroup, NDArray[np.uint8]], Result]
    ) -> Iterator[tuple[RowGroup, NDArray[np.uint8], Result]]:
        """Decode every row group on all cores and apply a function to it there; gives them in order.

        Raises
        ------
        SourceError
            Where an image does not decode, or is not of the expected shape.
        """

        def work(group: RowGroup) -> tuple[RowGroup, NDArray[np.uint8], Result]:
            pixels = self._decode(group)
            return group, pixels, function(group, pixels)

        return thread_map(work, self.groups)

    def load(self) -> LabeledImages:
        """Read the whole split into memory; errors as for `map_groups` and `labels`."""
        if not len(self):
            raise SourceError(f"{', '.join(map(str, self.files))}: holds no rows")
        labels, pixels = self.labels, np.empty((len(self), *self.shape), np.uint8)
        with progress_bar(f"decode {self.files[0].parent.name}", len(self)) as bar:
            for group, decoded, _ in self.map_groups(lambda group, pixels: None):
                pixels[group.start : group.start + group.rows] = decoded
                bar.update(group.rows)
        return LabeledImages(pixels, labels, self.class_names)

    def _decode(self, group: RowGroup) -> NDArray[np.uint8]:
        pixels = np.empty((group.rows, *self.shape), np.uint8)
        for i, data in enumerate(_column(group.file, group.number, "img").to_pylist()):
            decode_into(data, pixels[i], f"{group.file}: row {group.start + i}")
        return pixels


def _column(file: Path, group: int | None, name: str) -> Any:
    """Read a column of one row group, or of a whole shard; every row must have a value."""
    try:
        parquet = pq.ParquetFile(file)
        table = parquet.read([name]) if group is None else parquet.read_row_group(group, [name])
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file}: cannot be read ({error})") from None
    column = table.column(name).combine_chunks()
    values = column.field("bytes") if name == "img" else column
    if column.null_count or values.null_count:
        raise SourceError(f"{file}: a row has no {name}: expected one in every row")
    return values
