"""Images and labels in the IDX format of MNIST, compressed by gzip or not."""

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.transfers import check_fetched
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found, UnlabelledError
from cifar10_s.data.sources.in_memory import numbered_images
from cifar10_s.data.sources.place import Folder, Place
from cifar10_s.data.sources.published import is_known
from cifar10_s.data.sources.split_names import listed, split_of_file
from cifar10_s.errors import SourceError

NAME = re.compile(r"(?P<prefix>.+)-(?P<what>images|labels)[-.]idx[1-4]-ubyte(?P<packed>\.gz)?", re.IGNORECASE)
SUFFIXES = ("-ubyte", "-ubyte.gz")
# Two zero bytes, the type (8: unsigned bytes), the number of dimensions; then the size of each, 4 bytes.
UBYTE = b"\0\0\x08"
# The test split of MNIST, and of what is packed alike.
T10K = "t10k"
MAX_BYTES = 1 << 32
# The checksums of MNIST. Other datasets, such as Fashion-MNIST, have files of the same names.
MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}


@dataclass(frozen=True)
class _Pair:
    """The files of a split; None if there is none."""

    images: Path | None = None
    labels: Path | None = None


def _folders(place: Place) -> list[Folder]:
    """Return the folders with IDX files: the given one, or those below it, as torchvision nests them.

    A folder that has the name of an IDX file, as Kaggle unpacks them, belongs to the one above it.
    """
    if not place.is_folder:
        return []
    return [
        folder
        for folder in place.folder.walk()
        if not _is_idx(folder.name) and any(_is_idx(file.name) for file in _files(folder))
    ]


def _files(folder: Folder) -> list[Path]:
    """Return the files of a folder, first those in folders that have the name of an IDX file."""
    nested = [one.path / file for one in folder.folders if _is_idx(one.name) for file in one.files]
    return [*nested, *(folder.path / file for file in folder.files)]


def _is_idx(file: str) -> bool:
    """Return whether a file has the name of an IDX file; the end of the name rules out most files of a large folder."""
    return file.lower().endswith(SUFFIXES) and NAME.fullmatch(file) is not None


def is_idx_folder(place: Place) -> bool:
    """Return whether a source is a folder with IDX files, at any depth."""
    return bool(_folders(place))


def find_idx_folder(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a folder of IDX files.

    Raises
    ------
    SourceError
        If there is anything else, or several folders of them.
    """
    folder, *more = _folders(place)
    if more:
        several = listed(str(one.path) for one in (folder, *more))
        raise SourceError(f"{place.text}: holds several folders of IDX files; give one of {several}")
    known = {*_files(folder)}
    for file in (file for one in place.folder.walk() for file in one.others()):
        if file not in known or not NAME.fullmatch(file.name):
            raise SourceError(f"{file}: expected only IDX files (…-images-idx3-ubyte); move it elsewhere")
    pairs, notes = _pairs(folder)
    splits = {_split(prefix, pairs): pair for prefix, pair in pairs.items()}
    return Found(
        {split: partial(_open_split, split, pair, place) for split, pair in splits.items()},
        {split: str(pair.images) for split, pair in splits.items()},
        notes,
    )


def _pairs(folder: Folder) -> tuple[dict[str, _Pair], tuple[str, ...]]:
    """Return the files of each prefix, and a note if some are there several times."""
    found: dict[str, dict[str, Path]] = {}
    twice = False
    # Sorted, so that what is packed, of which a checksum is known, comes after what is not.
    for file in _files(folder):
        match = NAME.fullmatch(file.name)
        if match:
            of_prefix = found.setdefault(match["prefix"], {})
            twice |= match["what"].lower() in of_prefix
            of_prefix[match["what"].lower()] = file
    taken = listed(
        sorted(str(file.relative_to(folder.path)) for of_prefix in found.values() for file in of_prefix.values())
    )
    notes = (f"of files that are there several times, {taken} are read",) if twice else ()
    return {prefix: _Pair(**files) for prefix, files in found.items()}, notes


def _split(prefix: str, prefixes: dict[str, _Pair]) -> str:
    """Return the split that a prefix tells; the prefix itself if it tells none, or another tells the same."""

    def told(one: str) -> str | None:
        return "test" if one == T10K else split_of_file(one)

    split = told(prefix)
    return split if split is not None and [told(one) for one in prefixes].count(split) == 1 else prefix


def _open_split(split: str, pair: _Pair, place: Place) -> LabeledImages:
    if pair.images is None:
        raise SourceError(f"{pair.labels}: has no images beside it: expected a file …-images-idx3-ubyte")
    if pair.labels is None:
        raise UnlabelledError(f"{pair.images}: has no labels: expected a file …-labels-idx1-ubyte beside it")
    is_mnist = all(is_known(path, MNIST_MD5) for path in (pair.images, pair.labels))
    provenance = Provenance("idx", place.name, check="MD5 of MNIST's files" if is_mnist else None)
    return numbered_images(_read(pair.images), _read(pair.labels), f"{place.text}: {split}", provenance)


def _read(path: Path) -> NDArray[np.uint8]:
    """Return the array in an IDX file, of one to four dimensions."""
    check_fetched(path)
    try:
        with path.open("rb") as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _parse(unpacked, path)
            return _parse(file, path)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read to its end ({error}); download it again") from None


def _parse(file: IO[bytes] | gzip.GzipFile, path: Path) -> NDArray[np.uint8]:
    start = file.read(4)
    if start[:3] != UBYTE or len(start) < 4 or not 1 <= start[3] <= 4:
        raise SourceError(f"{path}: is not an IDX file of bytes: expected it to begin with {UBYTE!r}, got {start!r}")
    sizes = file.read(4 * start[3])
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    total = math.prod(shape)
    if len(shape) != start[3] or total > MAX_BYTES:
        raise SourceError(f"{path}: expected at most {MAX_BYTES} bytes, got the shape {shape}; download it again")
    data = file.read(total + 1)
    if len(data) != total:
        more = "more" if len(data) > total else f"{len(data)}"
        raise SourceError(f"{path}: expected {total} bytes, as its shape {shape} says, got {more}; download it again")
    return np.frombuffer(data, np.uint8).reshape(shape)
