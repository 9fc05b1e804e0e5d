"""A zip or tar with one folder of images per class, as a stream of images; nothing is unpacked."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.codec import probe
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.image_folder import find_classes
from cifar10_s.data.sources.members import SUFFIXES, as_folder, list_members, member_blocks, member_name, read_member
from cifar10_s.data.sources.metadata_folder import TABLES
from cifar10_s.data.sources.place import Folder, Place, is_image
from cifar10_s.data.sources.split_names import role
from cifar10_s.data.sources.webdataset import find_shards, is_shard
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError, printable


def is_image_archive(place: Place) -> bool:
    """Return whether a source is a file with the suffix of a zip or tar."""
    return place.text.lower().endswith(SUFFIXES) and place.path.is_file()


def find_image_archive(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a zip or tar: as in a folder of images, or as in a shard of WebDataset.

    Raises
    ------
    SourceError
        If anything in it is neither; see also `members.list_members`.
    """
    path = place.path
    listing = list_members(path)
    members = listing.files
    if is_shard(members):
        return find_shards({path: members}, place, choices)
    choices.check_taken(place.text, frozenset())
    for name in members:
        if name.rpartition("/")[2].lower() in TABLES:
            raise SourceError(f"{path}: holds a table, {printable(name)}, which is read in a folder; unpack it")
    if not members:
        raise SourceError(f"{path}: holds no files: expected one folder of images per class")

    def stream(files: list[Path], labels: NDArray[np.int64], names: tuple[str, ...]) -> Stream:
        wanted = tuple(members[file.relative_to(path).as_posix()] for file in files)
        shape = probe(read_member(path, wanted[0]), member_name(path, wanted[0]), choices.conversion)
        blocks = tuple(member_blocks(path, wanted, shape, choices.conversion))
        return Stream(blocks, shape, labels, names, Provenance("packed", place.name))

    return find_classes(_without_wrapping(as_folder(path, listing)), choices, stream)


def _without_wrapping(root: Folder) -> Folder:
    """Return the folder in which classes or splits begin: many archives hold a single folder around all of it."""
    while len(root.folders) == 1 and not root.others():
        (inner,) = root.folders
        if role(inner.name) or not inner.folders or any(is_image(file) for file in inner.files):
            break
        root = inner
    return root
