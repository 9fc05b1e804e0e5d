"""Shards of WebDataset, tars with files ``KEY.jpg`` and ``KEY.cls`` or ``KEY.json``, as a stream of images."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from cifar10_s.common.threads import thread_map
from cifar10_s.data.codec import probe
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import CLASS, IMAGE, Column, choose_columns
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.labelling import as_columns, take_labels
from cifar10_s.data.sources.members import SUFFIXES, Member, list_members, member_blocks, member_name, read_member
from cifar10_s.data.sources.place import Place, is_image
from cifar10_s.data.sources.published import ARCHIVE_SUFFIXES
from cifar10_s.data.sources.split_names import TRAIN, check_shards, listed, split_of_file, splits_of_paths, untold
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError, one_line, printable

# The fields of a sample besides its image: a number or name of its class, a caption, an object of columns.
NUMBER_FIELD, TEXT_FIELD, JSON_FIELD = "cls", "txt", "json"
MAX_FIELD_BYTES = 1 << 20
Shard = Mapping[str, Member]


@dataclass
class _Sample:
    """The files of a key by their fields, what follows the first dot of the name; images apart from the others."""

    images: dict[str, Member] = field(default_factory=dict)
    others: dict[str, Member] = field(default_factory=dict)


def is_shard(members: Shard) -> bool:
    """Return whether the files in a tar are samples: an image has its label beside it, in a file of the same name."""
    images = {_key_and_field(name)[0] for name in members if is_image(name)}
    fields = (f".{NUMBER_FIELD}", f".{JSON_FIELD}")
    return any(_key_and_field(name)[0] in images for name in members if name.lower().endswith(fields))


def _key_and_field(name: str) -> tuple[str, str]:
    """Return what samples are called by, and a field in lower case: what follows the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    stem, _, field_name = file.partition(".")
    return folder + slash + stem, field_name.lower()


def is_shard_folder(place: Place) -> bool:
    """Return whether a folder, or a folder in it, has tars that may be shards."""
    if not place.is_folder:
        return False
    return any(_is_tar(file) for folder in (place.folder, *place.folder.folders) for file in folder.files)


def _is_tar(file: str) -> bool:
    return file.lower().endswith(ARCHIVE_SUFFIXES)


def find_shard_folder(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a folder of shards; the names of shards, or of folders, tell them.

    Raises
    ------
    SourceError
        If there is anything but shards, or one cannot be read.
    """
    paths = []
    for folder in place.folder.walk():
        for path in folder.others(*(f"*{suffix}" for suffix in ARCHIVE_SUFFIXES)):
            raise SourceError(f"{path}: expected only tars of samples (WebDataset); move it elsewhere")
        paths += [folder.path / file for file in folder.files if _is_tar(file)]
    shards = dict(zip(paths, (listing.files for listing in thread_map(list_members, paths)), strict=True))
    for path, members in shards.items():
        if not is_shard(members):
            raise SourceError(
                f"{path}: expected samples (KEY.jpg and KEY.{NUMBER_FIELD} or KEY.{JSON_FIELD}), as in a shard of "
                "WebDataset; if it is a dataset of its own, give the file"
            )
    return find_shards(shards, place, choices)


def find_shards(shards: Mapping[Path, Shard], place: Place, choices: Choices) -> Found:
    """Find the splits of shards that were listed.

    Raises
    ------
    SourceError
        If the names of only some shards tell a split, or a numbered shard is missing.
    """
    splits: dict[str, dict[Path, Shard]] = {}
    folders = {path.parent for path in shards}
    for path, members in shards.items():
        stem = path.name[: -next(len(suffix) for suffix in SUFFIXES if path.name.lower().endswith(suffix))]
        folder = path.parent.name if place.is_folder else ""
        # Several folders are splits, even if their names do not tell which; so are those in a shard that tell.
        split = split_of_file(stem) or split_of_file(folder) or (folder if len(folders) > 1 else "")
        for of_split, part in [(split, members)] if split else _by_folder(path, members):
            splits.setdefault(of_split, {})[path] = part
    if "" in splits and len(splits) > 1:
        raise untold(next(iter(splits[""])), splits.keys() - {""})
    splits = {split or TRAIN: of for split, of in splits.items()}
    for split, of in splits.items():
        check_shards([path.name for path in of], f"{place.text}: {split}")
    return Found(
        {split: partial(_open_split, of, split, place, choices) for split, of in splits.items()},
        {split: str(next(iter(of))) if len(of) == 1 else f"{len(of)} shards" for split, of in splits.items()},
    )


def _by_folder(path: Path, members: Shard) -> list[tuple[str, Shard]]:
    """Return the files of a shard by the splits that folders in it tell; all of them with no split if none do."""
    told = splits_of_paths(list(members), str(path))
    if told is None:
        return [("", members)]
    splits: dict[str, dict[str, Member]] = {}
    for split, (name, member) in zip(told, members.items(), strict=True):
        splits.setdefault(split, {})[name] = member
    return list(splits.items())


def _open_split(shards: Mapping[Path, Shard], split: str, place: Place, choices: Choices) -> Stream:
    samples = {path: _samples(path, members) for path, members in shards.items()}
    images = {
        path: tuple(_image(path, key, sample, choices.image_column) for key, sample in of.items())
        for path, of in samples.items()
    }
    rows = [row for of in thread_map(_rows, samples.items()) for row in of]
    names = list(dict.fromkeys(name for row in rows for name in row))
    values, columns = as_columns({name: [row.get(name) for row in rows] for name in names})
    if NUMBER_FIELD in columns:
        columns[NUMBER_FIELD] = Column(CLASS)
    title = f"{place.text}: {split}"
    _, label_column = choose_columns({**columns, "image": Column(IMAGE)}, replace(choices, image_column=None), title)
    labels, class_names, others = take_labels(values, columns, label_column, title)
    path, (first, *_) = next((path, of) for path, of in images.items() if of)
    shape = probe(read_member(path, first), member_name(path, first), choices.conversion)
    blocks = (block for path, of in images.items() for block in member_blocks(path, of, shape, choices.conversion))
    stream = Stream(tuple(blocks), shape, labels, class_names, Provenance("webdataset", place.name))
    return replace(stream, other_labels=others)


def _samples(path: Path, members: Shard) -> dict[str, _Sample]:
    """Return the samples of a shard, by key."""
    samples: dict[str, _Sample] = {}
    for name, member in members.items():
        key, extension = _key_and_field(name)
        sample = samples.setdefault(key, _Sample())
        if is_image(f"x.{extension}"):
            sample.images[extension] = member
        elif extension in (NUMBER_FIELD, TEXT_FIELD, JSON_FIELD):
            sample.others[extension] = member
        else:
            raise SourceError(
                f"{member_name(path, member)}: expected images, .{NUMBER_FIELD}, .{TEXT_FIELD} and .{JSON_FIELD} in a "
                "shard; pack it without this file"
            )
    return samples


def _image(path: Path, key: str, sample: _Sample, wanted: str | None) -> Member:
    fields = sample.images
    found = list(fields.values()) if wanted is None else [fields[wanted]] if wanted in fields else []
    if len(found) != 1:
        raise SourceError(
            f"{path}: sample {printable(key)!r:.200}: expected one image, got {listed(fields)}; choose one with "
            "--image-column, or pack the shard again"
        )
    return found[0]


def _rows(of_shard: tuple[Path, dict[str, _Sample]]) -> list[dict[str, Any]]:
    """Return what the fields of each sample say, by column."""
    path, samples = of_shard
    rows = []
    for sample in samples.values():
        row: dict[str, Any] = {}
        for name, member in sample.others.items():
            text = _text(path, member)
            row |= _object(path, member, text) if name == JSON_FIELD else {name: text.strip()}
        rows.append(row)
    return rows


def _text(path: Path, member: Member) -> str:
    if member.size > MAX_FIELD_BYTES:
        raise SourceError(f"{member_name(path, member)}: expected at most {MAX_FIELD_BYTES} bytes, got {member.size}")
    try:
        return read_member(path, member).decode("utf-8")
    except ValueError as error:
        raise SourceError(f"{member_name(path, member)}: expected text in UTF-8 ({one_line(error)})") from None


def _object(path: Path, member: Member, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{member_name(path, member)}: expected JSON ({one_line(error)}); pack it again") from None
    if not isinstance(found, dict):
        raise SourceError(f"{member_name(path, member)}: expected a JSON object, got {type(found).__name__}")
    return found
