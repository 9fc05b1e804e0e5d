"""A folder of Parquet files in the Hub's layout: its configurations, their splits, and the files of each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os.path import relpath
from pathlib import PurePosixPath
from typing import Any

from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import (
    choose_columns,
    columns_of,
    other_label_columns,
    stored_features,
    stored_names,
)
from cifar10_s.data.sources.dataset_card import DEFAULT, DatasetCard
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.labelling import take_labels
from cifar10_s.data.sources.parquet import opened, read_column, read_stream
from cifar10_s.data.sources.place import Folder, Place
from cifar10_s.data.sources.release_folder import CARD
from cifar10_s.data.sources.split_names import TRAIN, check_shards, listed, role, split_of_file
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError

SUFFIX = ".parquet"


@dataclass(frozen=True)
class Configuration:
    """Files by split, by their paths from the source's folder; ``features`` are those that the card declares."""

    name: str
    splits: Mapping[str, Sequence[str]]
    features: Mapping[str, Any]
    is_default: bool = False


def is_parquet_folder(place: Place) -> bool:
    """Return whether a source is a folder with a Parquet file in it, at any depth."""
    return place.is_folder and place.folder.has_suffix(SUFFIX)


def find_parquet_folder(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of a folder of Parquet files.

    The card's list of configurations counts if there is one; otherwise every folder with files is a configuration,
    and the names of files, or of folders, tell the splits.

    Raises
    ------
    SourceError
        If a file belongs to nothing, a shard is missing, or there are several configurations and none is chosen.
    """
    files = _parquet_files(place.folder)
    card = DatasetCard.of(place.folder)
    configurations = _declared(card, files) or _by_folder(files, card.features)
    chosen, notes = _choose(configurations, choices, place.text)
    notes += _missing(card, chosen, place)
    _check_belonging(files, configurations, choices, place)
    for split, of_split in chosen.splits.items():
        check_shards(of_split, f"{place.text}: {split}")
    splits = {
        split: partial(_open_split, [str(place.path / file) for file in of_split], split, chosen, place, choices)
        for split, of_split in chosen.splits.items()
    }
    return Found(splits, {split: _place(place, of_split) for split, of_split in chosen.splits.items()}, notes)


def _place(place: Place, files: Sequence[str]) -> str:
    """Return the file of a split, or the folder of its files, and how many they are."""
    if len(files) == 1:
        return str(place.path / files[0])
    return f"{len(files)} files in {(place.path / files[0]).parent}"


def _parquet_files(root: Folder) -> list[str]:
    """Return the paths of all Parquet files from the root, sorted.

    Raises
    ------
    SourceError
        If there is any other file, except those that describe a dataset.
    """
    files = []
    for folder in root.walk():
        for other in folder.others(f"*{SUFFIX}"):
            raise SourceError(f"{other}: expected only Parquet files in the Hub's layout; move it elsewhere")
        below = relpath(folder.path, root.path)
        names = [name for name in folder.files if name.lower().endswith(SUFFIX)]
        files += names if below == "." else [f"{below}/{name}" for name in names]
    return sorted(files)


def _choose(
    configurations: Sequence[Configuration], choices: Choices, source: str
) -> tuple[Configuration, tuple[str, ...]]:
    """Return the configuration to read, and what is to be said about it."""
    names = sorted(configuration.name for configuration in configurations)
    if choices.config is not None:
        wanted = choices.config.strip("/")
        found = [one for one in configurations if one.name == wanted] or [
            one for one in configurations if PurePosixPath(one.name).name == wanted
        ]
        if len(found) != 1:
            raise SourceError(f"{source}: --source-config: expected one of {listed(names)}, got {choices.config!r}")
        return found[0], ()
    if len(configurations) == 1:
        return configurations[0], ()
    defaults = [one for one in configurations if one.is_default]
    if len(defaults) != 1:
        raise SourceError(f"{source}: has several configurations ({listed(names)}); choose one with --source-config")
    others = listed(name for name in names if name != defaults[0].name)
    return defaults[0], (f"configuration {defaults[0].name}, the default of its card; --source-config takes {others}",)


def _check_belonging(
    files: Iterable[str], configurations: Sequence[Configuration], choices: Choices, place: Place
) -> None:
    """Refuse files that no configuration has, unless the user names the one to read."""
    if choices.config is not None:
        return
    known = {file for one in configurations for of_split in one.splits.values() for file in of_split}
    for file in files:
        if file not in known:
            raise SourceError(
                f"{place.path / file}: belongs to no split: expected a name such as train-00000-of-00001{SUFFIX}, or "
                f"one that {CARD} lists; rename it, or move it elsewhere"
            )


def _by_folder(files: Iterable[str], features: Mapping[str, Mapping[str, Any]]) -> list[Configuration]:
    """Take every folder with files as a configuration; a folder named as a split belongs to the one above it.

    The card may declare features of a configuration by the folder's name, or of the only one.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for file in files:
        path = PurePosixPath(file)
        split, folder = split_of_file(path.stem), path.parent
        if split is None and role(folder.name):
            split, folder = folder.name, folder.parent
        elif split is not None and role(folder.name) == role(split) is not None:
            folder = folder.parent
        found.setdefault(str(folder), {}).setdefault(split or "", []).append(file)
    configurations = []
    for name, splits in found.items():
        # Without any name that tells a split, all files are the training split; beside such names, they are strays.
        unnamed = splits.pop("", [])
        if unnamed and not splits:
            splits[TRAIN] = unnamed
        of = features.get(PurePosixPath(name).name) or (features.get(DEFAULT, {}) if len(found) == 1 else {})
        configurations.append(Configuration(name, splits, of))
    return configurations


def _declared(card: DatasetCard, files: Sequence[str]) -> list[Configuration]:
    """Return the configurations that the card lists, as far as their files are here."""
    configurations = []
    for one in card.configurations:
        found = {split: one.files(split, files) for split in one.patterns}
        splits = {split: of_split for split, of_split in found.items() if of_split}
        if splits:
            of = card.features.get(one.name) or card.features.get(DEFAULT, {})
            configurations.append(Configuration(one.name, splits, of, one.is_default))
    return configurations


def _missing(card: DatasetCard, chosen: Configuration, place: Place) -> tuple[str, ...]:
    """Return what the card lists of a configuration and is not here: splits, and images of a split."""
    declared = [one for one in card.configurations if one.name == chosen.name]
    missing = {split for one in declared for split in one.patterns} - chosen.splits.keys()
    notes = [f"the card lists a split {split}, whose files are not here" for split in sorted(missing)]
    for split, expected in card.rows(chosen.name if declared else DEFAULT).items():
        files = chosen.splits.get(split, ())
        rows = sum(_rows(str(place.path / file)) for file in files)
        if files and rows != expected:
            notes.append(f"{split} has {rows:,} rows, and the card says {expected:,}")
    return tuple(notes)


def _rows(file: str) -> int:
    with opened(file) as parquet:
        rows: int = parquet.metadata.num_rows
    return rows


def _open_split(files: list[str], split: str, of: Configuration, place: Place, choices: Choices) -> Stream:
    features: Mapping[str, Any] = {}
    for file in reversed(files):
        with opened(file) as parquet:
            schema = parquet.schema_arrow
        stored = stored_features(schema, file)
        if stored and features and stored_names(stored) != stored_names(features):
            raise SourceError(f"{file}: expected the class names of the other files of {split}; write them alike")
        features = stored or features
    features = features or of.features
    return open_files(
        files, split, columns_of(schema, features), place.text, Provenance("parquet", place.name), choices
    )


def open_files(
    files: list[str], split: str, columns: Any, name: str, provenance: Provenance, choices: Choices
) -> Stream:
    """Open Parquet files, local or by URL, as a stream.

    Parameters
    ----------
    files
        Paths or URLs, in order.
    split, name
        The names of the split and the source in error messages.
    columns
        The columns of the files (`columns.columns_of`).
    provenance
        See `Stream`.
    choices
        The columns to take, and how the images are made alike.

    Raises
    ------
    UnlabelledError
        If the split has no labels.
    SourceError
        If it cannot be read, or the columns are not one of images and one of labels.
    """
    image_column, label_column = choose_columns(columns, choices, name)
    title = f"{name}: {split}"
    values = {one: read_column(files, one) for one in (label_column, *other_label_columns(columns, label_column))}
    if not len(values[label_column]):
        raise SourceError(f"{name}: has no rows: expected at least one image")
    labels, class_names, others = take_labels(values, columns, label_column, title)
    stream = read_stream(files, title, image_column, labels, class_names, provenance, conversion=choices.conversion)
    return replace(stream, other_labels=others)
