"""The table of sources, and finding the one that matches a user's text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cifar10_s.data.sources.array_folder import find_array_folder, is_array_folder
from cifar10_s.data.sources.choices import COLUMNS, Choices
from cifar10_s.data.sources.cifar10_archive import find_archive, is_archive
from cifar10_s.data.sources.cifar100_archive import LAYOUT as CIFAR100
from cifar10_s.data.sources.cifar100_archive import find_cifar100
from cifar10_s.data.sources.cifar_binary import CIFAR10 as CIFAR10_BINARY
from cifar10_s.data.sources.cifar_binary import CIFAR100 as CIFAR100_BINARY
from cifar10_s.data.sources.cifar_binary import find_cifar10_binary, find_cifar100_binary
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.hf_dataset import find_hub_dataset, is_hub_name
from cifar10_s.data.sources.idx_files import find_idx_folder, is_idx_folder
from cifar10_s.data.sources.image_archive import find_image_archive, is_image_archive
from cifar10_s.data.sources.image_folder import find_image_folder
from cifar10_s.data.sources.mat_files import find_mat, is_mat
from cifar10_s.data.sources.metadata_folder import find_metadata_folder, is_metadata_folder
from cifar10_s.data.sources.npz_file import find_npz_file, is_npz_file
from cifar10_s.data.sources.parquet_folder import find_parquet_folder, is_parquet_folder
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import FILE_SUFFIXES
from cifar10_s.data.sources.sample import SAMPLE, find_sample
from cifar10_s.data.sources.saved_dataset import find_saved_dataset, is_saved_dataset
from cifar10_s.data.sources.unsupported import refuse_unsupported
from cifar10_s.data.sources.webdataset import find_shard_folder, is_shard_folder
from cifar10_s.errors import SourceError


class Find(Protocol):
    """Finds the splits of a source."""

    def __call__(self, place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
        """Find all splits and account for every file; no image is decoded yet."""


@dataclass(frozen=True)
class Source:
    """One kind of source.

    Attributes
    ----------
    matches
        Returns whether this kind reads what a user names.
    find
        Finds its splits; the table's owner chooses among them, and takes classes and a limit per class.
    takes
        The choices that it takes besides those that every kind takes; see `choices.SPECIAL`.
    decodes
        Whether it decodes image files, and so converts them itself; otherwise their pixels are converted afterwards.
    """

    matches: Callable[[Place], bool]
    find: Find
    takes: frozenset[str] = frozenset()
    decodes: bool = False


LABEL = frozenset({"label_column"})
# By the kind that `Provenance` records; the first that matches reads the source.
SOURCES: dict[str, Source] = {
    "sample": Source(lambda place: place.text == SAMPLE, find_sample),
    "cifar-100": Source(CIFAR100.matches, find_cifar100, LABEL),
    "cifar-10-binary": Source(CIFAR10_BINARY.matches, find_cifar10_binary),
    "cifar-100-binary": Source(CIFAR100_BINARY.matches, find_cifar100_binary, LABEL),
    "archive": Source(is_archive, find_archive),
    "idx": Source(is_idx_folder, find_idx_folder),
    "svhn": Source(is_mat, find_mat),
    "npz": Source(is_npz_file, find_npz_file),
    "packed": Source(is_image_archive, find_image_archive, COLUMNS, decodes=True),
    "webdataset": Source(is_shard_folder, find_shard_folder, COLUMNS, decodes=True),
    "saved": Source(is_saved_dataset, find_saved_dataset, COLUMNS, decodes=True),
    "parquet": Source(is_parquet_folder, find_parquet_folder, COLUMNS | {"config"}, decodes=True),
    "arrays": Source(is_array_folder, find_array_folder),
    "metadata": Source(is_metadata_folder, find_metadata_folder, LABEL, decodes=True),
    "images": Source(lambda place: place.is_folder, find_image_folder, decodes=True),
    "hub": Source(is_hub_name, find_hub_dataset, COLUMNS | {"config", "revision"}, decodes=True),
}
# Addresses of datasets on the Hub begin so; what follows is the name, and a place in it.
HUB_ADDRESSES = ("hf://datasets/", "https://huggingface.co/datasets/")
LOCAL_ADDRESS = "file://"


def find_source(source: str | Path, choices: Choices, *, allow_unverified: bool) -> tuple[Source, Found]:
    """Return the kind of a source, and its splits.

    Raises
    ------
    SourceError
        If no kind of source matches, or the source cannot be read, is a release or holds one.
    """
    place = Place.of(source)
    try:
        kind = _kind(place)
        if kind in (None, SOURCES["images"]):
            refuse_unsupported(place)
        if kind is None:
            raise _no_source(place)
        if place.is_folder and place.text != SAMPLE:
            _ = place.folder  # refuses a release, whatever reads it
        choices.check_taken(place.text, kind.takes)
        return kind, kind.find(place, choices, allow_unverified=allow_unverified)
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error}); check the path and its permissions") from None


def special_choices(source: str | Path) -> frozenset[str]:
    """Return the choices of `choices.SPECIAL` that a source of this kind takes; none if it cannot be read."""
    try:
        kind = _kind(Place.of(source))
    except OSError:
        return frozenset()
    return frozenset() if kind is None else kind.takes


def _kind(place: Place) -> Source | None:
    return next((kind for kind in SOURCES.values() if kind.matches(place)), None)


def _no_source(place: Place) -> SourceError:
    source = place.text
    if not source.strip():
        return SourceError("source: expected a path, a Hub dataset name, or 'sample', got nothing")
    if "://" in source:
        return SourceError(f"{source}: is an address; give {_instead_of(source)}")
    if place.path.is_file():
        return SourceError(f"{source}: is a file: expected {', '.join(FILE_SUFFIXES)}, or a folder")
    return SourceError(f"{source}: does not exist; give a path that exists, a Hub dataset name, or 'sample'")


def _instead_of(address: str) -> str:
    """Return what to give instead of an address."""
    for start in HUB_ADDRESSES:
        if address.startswith(start):
            owner_and_name = address.removeprefix(start).partition("@")[0].split("/")[:2]
            return f"the dataset's name, {'/'.join(owner_and_name)}"
    if address.startswith(LOCAL_ADDRESS):
        return f"the path, {address.removeprefix(LOCAL_ADDRESS)}"
    return "the path of what you have downloaded from it"
