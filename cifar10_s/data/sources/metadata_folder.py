"""A folder of images with a table of their labels, ``metadata.csv`` or ``metadata.jsonl``, as a stream of images."""

import csv
import io
import json
import posixpath
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Any
from unicodedata import normalize

from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import IMAGE, Column, choose_columns
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.data.sources.labelling import as_columns, take_labels
from cifar10_s.data.sources.place import Folder, Place, is_image
from cifar10_s.data.sources.split_names import TRAIN, listed, role, splits_of_paths
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError, one_line

# The column with the path of the image from the folder of the table, and that of its split, if the table has it.
FILE_NAME, SPLIT = "file_name", "split"
# Columns that may be called otherwise in any case, if each row names a split that is known as such.
OTHER_SPLITS = ("subset", "set", "partition")
TABLES = ("metadata.csv", "metadata.jsonl")


@dataclass(frozen=True)
class _Row:
    """An image, its split, and what the table says of it."""

    path: Path
    split: str
    values: dict[str, Any]


def is_metadata_folder(place: Place) -> bool:
    """Return whether a folder, or a folder in it, has a table of labels."""
    return place.is_folder and any(_tables(folder) for folder in (place.folder, *place.folder.folders))


def find_metadata_folder(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of images with tables: of the column ``split``, or of the folders of the tables or images.

    Raises
    ------
    SourceError
        If a table cannot be read, names a file that is not there, or does not name one that is; or there is anything
        but images and tables.
    """
    root = place.folder
    images = set(_images(root))
    # Unpacked on another system, a name may have other bytes: é as one character or as two.
    known = {normalize("NFC", str(path)): path for path in images} | {str(path): path for path in images}
    rows = [row for folder in (root, *root.folders) for row in _read_rows(root, folder, known)]
    named = Counter(row.path for row in rows)
    for path in sorted(images - named.keys())[:1]:
        raise SourceError(f"{path}: expected its name in {TABLES[0]} or {TABLES[1]}; add it, or move it elsewhere")
    for path in [path for path, count in named.items() if count > 1][:1]:
        raise SourceError(f"{path}: expected each image in one row of a table, got several; remove all but one")
    if not rows:
        raise SourceError(f"{root.path}: its table has no rows: expected at least one image")
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    values, columns = as_columns({name: [row.values.get(name) for row in rows] for name in names})
    columns[FILE_NAME] = Column(IMAGE)
    _, label_column = choose_columns(columns, choices, place.text)
    splits: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        splits.setdefault(row.split, []).append(number)

    def open_split(split: str) -> Stream:
        numbers = splits[split]
        of_split = {name: column.take(numbers) for name, column in values.items()}
        labels, class_names, others = take_labels(of_split, columns, label_column, f"{place.text}: {split}")
        paths, provenance = [rows[number].path for number in numbers], Provenance("metadata", place.name)
        stream = stream_files(paths, labels, class_names, provenance, conversion=choices.conversion)
        return replace(stream, other_labels=others)

    return Found({split: partial(open_split, split) for split in splits}, dict.fromkeys(splits, place.text))


def _tables(folder: Folder) -> list[str]:
    return [file for file in folder.files if file.lower() in TABLES]


def _images(root: Folder) -> list[Path]:
    found = []
    for folder in root.walk():
        is_outer = folder is root or folder in root.folders
        for path in folder.others(*(TABLES if is_outer else ())):
            if not is_image(path.name):
                raise SourceError(f"{path}: expected only images and their tables; move it elsewhere")
            found.append(path)
    return found


def _read_rows(root: Folder, folder: Folder, known: Mapping[str, Path]) -> list[_Row]:
    """Return the rows of the table of a folder; none if it has no table. ``known`` are the images, by their names."""
    tables = _tables(folder)
    if len(tables) > 1:
        raise SourceError(f"{folder.path}: expected one table of labels, got {listed(tables)}; remove one")
    rows = []
    for table in tables:
        path = folder.path / table
        parsed = _parse(path)
        split_column = _split_column(parsed)
        for number, values in enumerate(parsed):
            name = values.pop(FILE_NAME, None)
            if not isinstance(name, str) or not name:
                raise SourceError(f"{path}: row {number}: expected a column {FILE_NAME} with the path of an image")
            # Only compared with the files that were listed, so none leads out of the folder.
            named = str(folder.path / posixpath.normpath(name))
            file = known.get(named) or known.get(normalize("NFC", named))
            if file is None:
                raise SourceError(
                    f"{path}: row {number}: {name!r:.200} is not an image in {folder.path}; correct the row or remove "
                    "it"
                )
            told = None if split_column is None else values.pop(split_column, None)
            above = "" if folder is root else folder.name
            rows.append(_Row(file, above if told in (None, "") else str(told), values))
    if rows and folder is root:
        return _split_by_folder(root, rows)
    return rows


def _split_column(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the name of the column that tells the split of each row, if there is one."""
    for name in dict.fromkeys(name for row in rows for name in row):
        if name.lower() == SPLIT:
            return name
        if name.lower() in OTHER_SPLITS and all(role(str(row.get(name))) for row in rows):
            return name
    return None


def _split_by_folder(root: Folder, rows: Sequence[_Row]) -> list[_Row]:
    """Return the rows with the splits that folders tell, if the table tells none."""
    if all(row.split for row in rows):
        return list(rows)
    if any(row.split for row in rows):
        raise SourceError(f"{root.path}: expected a {SPLIT} in every row of its table, or in none; fill in the others")
    splits = splits_of_paths([relpath(row.path, root.path) for row in rows], str(root.path)) or [TRAIN] * len(rows)
    return [replace(row, split=split) for row, split in zip(rows, splits, strict=True)]


def _parse(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table, by column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
            _check_header(path, reader.fieldnames or ())
            rows: list[Any] = list(reader)
            for number, row in enumerate(rows):
                if None in row or None in row.values():
                    raise SourceError(
                        f"{path}: row {number}: expected {len(reader.fieldnames or ())} fields, as in its first line; "
                        "correct it"
                    )
        else:
            rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    except UnicodeDecodeError:
        raise SourceError(f"{path}: expected text in UTF-8; save it in that encoding") from None
    except (ValueError, csv.Error, RecursionError) as error:
        raise SourceError(f"{path}: cannot be read as a table ({one_line(error)}); write it again") from None
    if not all(isinstance(row, dict) for row in rows):
        raise SourceError(f"{path}: expected a JSON object in every line; write it again")
    return rows


def _check_header(path: Path, names: Sequence[str]) -> None:
    """Check that the first line of a table has a column of file names."""
    if FILE_NAME in names:
        return
    separator = next((sign for sign in (";", "\t", "|") if len(names) == 1 and sign in names[0]), None)
    advice = "separate the columns with commas" if separator else "name the columns in its first line"
    got = listed(names) if names else "an empty file"
    raise SourceError(f"{path}: expected a column {FILE_NAME} with the paths of the images, got {got}; {advice}")
