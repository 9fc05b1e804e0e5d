"""A dataset that `datasets` saved to disk, a folder of Arrow files, as a stream of images."""

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks
from cifar10_s.data.codec import Shape, decode, is_unlike, probe
from cifar10_s.data.conversion import Conversion
from cifar10_s.data.images import part_size
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import (
    choose_columns,
    columns_of,
    other_label_columns,
    stored_features,
    stored_names,
)
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.labelling import take_labels
from cifar10_s.data.sources.parquet import BLOCK_BYTES, READ_ERRORS, has_no_image, is_binary, present
from cifar10_s.data.sources.place import Folder, Place
from cifar10_s.data.sources.split_names import TRAIN, listed
from cifar10_s.data.stream import Stream
from cifar10_s.data.whole_numbers import to_arrow
from cifar10_s.errors import SourceError, one_line

SUFFIX, STATE, DATASET_DICT = ".arrow", "state.json", "dataset_dict.json"
MAX_STATE_BYTES = 1 << 24
# The mark at the end of a stream of Arrow: a length of zero.
END = bytes(4)


@dataclass(frozen=True)
class ArrowBlock:
    """Images of a record batch: ``rows`` rows of batch ``number`` of ``file``, after ``skipped`` others.

    The first of them is row ``start`` of the split.
    """

    file: Path
    number: int
    skipped: int
    rows: int
    start: int
    column: str
    shape: Shape
    name: str
    conversion: Conversion

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        with opened(self.file) as reader:
            column = self._column(reader)
            for part in chunks(len(rows), part_size(self.shape)):
                numbers = self.start + rows[part]
                files = column.take(to_arrow(self.skipped + rows[part]))
                yield from decode(
                    present(files, numbers, self.name), self.shape, partial(self._name, numbers), self.conversion
                )

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """See `stream.ComparableBlock.count_unlike`."""
        with opened(self.file) as reader:
            files = self._column(reader).take(to_arrow(self.skipped + rows)).drop_null().to_pylist()
        return sum(is_unlike(file, self.shape, self.name, self.conversion) for file in files)

    def _name(self, numbers: NDArray[np.int64], i: int) -> str:
        return f"{self.name} image {numbers[i]}"

    def _column(self, reader: Any) -> Any:
        """Return the image files of the batch; those before it are passed over, of which only headers are read."""
        for _ in range(self.number):
            reader.read_next_batch()
        column = _image_files(reader.read_next_batch(), self.column)
        if len(column) < self.skipped + self.rows:
            raise SourceError(f"{self.file}: has changed while it was read; start again")
        return column


def is_saved_dataset(place: Place) -> bool:
    """Return whether a source is a folder with Arrow files, at any depth."""
    return place.is_folder and place.folder.has_suffix(SUFFIX)


def find_saved_dataset(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a dataset that was saved to disk: the folder itself, or one folder per split.

    Raises
    ------
    SourceError
        If there is anything else in it, or the description of its files is missing.
    """
    root = place.folder
    splits: dict[str, tuple[Folder, list[Path]]] = {}
    for folder in root.walk():
        for other in folder.others(f"*{SUFFIX}"):
            raise SourceError(f"{other}: expected only files that save_to_disk of `datasets` writes; move it elsewhere")
        if any(file.lower().endswith(SUFFIX) for file in folder.files):
            if folder is not root and (folder not in root.folders or (TRAIN in splits and splits[TRAIN][0] is root)):
                above = folder.path.parent
                advice = f"give {above}" if above != root.path else "give one of them"
                raise SourceError(f"{folder.path}: expected one folder per split in {root.path}; {advice}")
            split, files = _described(folder)
            splits[folder.name if folder is not root else split] = folder, files
    if DATASET_DICT in root.files:
        _check_index(root.path / DATASET_DICT, splits)
    return Found(
        {split: partial(_open_split, files, split, place, choices) for split, (_, files) in splits.items()},
        {split: str(folder.path) for split, (folder, _) in splits.items()},
    )


def _check_index(path: Path, splits: Iterable[str]) -> None:
    """Check that all splits are there that the index of a `DatasetDict` lists."""
    try:
        with path.open("rb") as file:
            listed_splits = [str(split) for split in json.loads(file.read(MAX_STATE_BYTES))["splits"]]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise SourceError(f"{path}: expected what save_to_disk writes ({type(error).__name__}); get it again") from None
    missing = [split for split in listed_splits if split not in splits]
    if missing:
        raise SourceError(f"{path}: lists splits that are not there: {listed(missing)}; get them again")


def _described(folder: Folder) -> tuple[str, list[Path]]:
    """Return the split, and its files in order, as the folder's description lists them."""
    path = folder.path / STATE
    if STATE not in folder.files:
        raise SourceError(
            f"{path}: expected a file that lists the Arrow files, there is none; write the folder with save_to_disk of "
            "`datasets`"
        )
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(MAX_STATE_BYTES))
        names = [str(one["filename"]) for one in state["_data_files"]]
        is_plain = not state.get("_indices_data_files")
        split = state.get("_split")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"{path}: expected what save_to_disk writes ({type(error).__name__}); get it again") from None
    if not is_plain:
        raise SourceError(f"{path}: lists rows apart from the files; save it again with a recent `datasets`")
    present = {file for file in folder.files if file.lower().endswith(SUFFIX)}
    # Names are only compared, so none leads out of the folder.
    wrong = sorted(present ^ set(names))
    if wrong or len(set(names)) < len(names):
        raise SourceError(
            f"{path}: expected each Arrow file once, got {len(names)} for {len(present)} files, such as "
            f"{(wrong or names)[0]!r:.200}; get the folder again"
        )
    return split if isinstance(split, str) and split.isprintable() else TRAIN, [folder.path / name for name in names]


@contextmanager
def opened(file: Path) -> Iterator[Any]:
    """Open an Arrow file of stream format; it is memory-mapped.

    Raises
    ------
    SourceError
        If it cannot be read, at first or while it is open.
    """
    try:
        with pa.memory_map(str(file)) as mapped:
            # A file that ends between two batches looks whole otherwise.
            if mapped.size() < len(END) or mapped.read_at(len(END), mapped.size() - len(END)) != END:
                raise SourceError(f"{file}: is cut off: its end mark is missing; get it again")
            yield pa.ipc.open_stream(mapped)
    except SourceError:
        raise
    except (*READ_ERRORS, StopIteration) as error:
        raise SourceError(f"{file}: cannot be read as an Arrow file ({one_line(error)}); get it again") from None


def _checked(batch: Any, column: str) -> Any:
    """Return a column of a batch; what it says of positions in the file is checked before it is used."""
    found = batch.column(column)
    found.validate(full=True)
    return found


def _image_files(batch: Any, column: str) -> Any:
    import pyarrow.compute as pc

    found = _checked(batch, column)
    return found if is_binary(found.type) else pc.struct_field(found, "bytes")


def _open_split(files: Sequence[Path], split: str, place: Place, choices: Choices) -> Stream:
    name = f"{place.text}: {split}"
    with opened(files[0]) as reader:
        schema = reader.schema
        features = stored_features(schema, str(files[0]))
        columns = columns_of(schema, features)
    image_column, label_column = choose_columns(columns, choices, place.text)
    wanted = [label_column, *other_label_columns(columns, label_column)]
    sizes: list[tuple[Path, int, int]] = []
    parts: dict[str, list[Any]] = {column: [] for column in wanted}
    first = None
    for file in files:
        with opened(file) as reader:
            if not reader.schema.equals(schema):
                raise SourceError(f"{file}: expected the columns of {files[0]}, got others; get it again")
            if stored_names(stored_features(reader.schema, str(file))) != stored_names(features):
                raise SourceError(f"{file}: expected the class names of {files[0]}, got others; write them alike")
            for number, batch in enumerate(reader):
                sizes.append((file, number, batch.num_rows))
                for column in wanted:
                    # Copied, since the file is closed afterwards.
                    parts[column].append(pa.concat_arrays([_checked(batch, column)]))
                if first is None and batch.num_rows:
                    first = _image_files(batch, image_column)[0].as_py() or b""
    if first is None:
        raise SourceError(f"{name}: has no rows: expected at least one image")
    if not first:
        raise has_no_image(name, 0)
    shape = probe(first, f"{name} image 0", choices.conversion)
    values = {column: pa.chunked_array(of, schema.field(column).type) for column, of in parts.items()}
    labels, class_names, others = take_labels(values, columns, label_column, name)
    starts = np.cumsum([0, *(rows for _, _, rows in sizes)]).tolist()
    blocks = tuple(
        ArrowBlock(
            file, number, at.start, at.stop - at.start, start + at.start, image_column, shape, name, choices.conversion
        )
        for (file, number, rows), start in zip(sizes, starts, strict=False)
        for at in chunks(rows, max(1, BLOCK_BYTES // math.prod(shape)))
    )
    stream = Stream(blocks, shape, labels, class_names, Provenance("saved", place.name))
    return replace(stream, other_labels=others)
