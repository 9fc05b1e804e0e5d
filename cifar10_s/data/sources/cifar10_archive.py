"""Read the original CIFAR-10 archive, without unpacking it and without trusting its pickles."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.cifar10 import BATCH_MD5, CLASS_NAMES, SPLIT_BATCHES
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import Layout, first_folders, is_tar
from cifar10_s.data.unpickling import load_plain
from cifar10_s.errors import SourceError

ARCHIVE_FOLDER, META_FILE = "cifar-10-batches-py", "batches.meta"
# An original batch takes 31,035,704 bytes; nothing longer than about twice that is read.
MAX_BATCH_BYTES = 1 << 26
LAYOUT = Layout(
    "CIFAR-10", "cifar-10-python.tar.gz", ARCHIVE_FOLDER, BATCH_MD5, MAX_BATCH_BYTES, 8 * MAX_BATCH_BYTES,
    (META_FILE, "readme.html"), "c58f30108f718f92721af3b95e74349a",
)  # fmt: skip


def is_archive(place: Place) -> bool:
    """Return whether a source is the archive of CIFAR-10, a tar of which nothing can be read, or a folder of batches.

    A folder with ``batches.meta`` alone is one too: what is missing is then said.
    """
    if LAYOUT.matches(place) or any((path / META_FILE).is_file() for path in (place.path, place.path / ARCHIVE_FOLDER)):
        return True
    return is_tar(place) and not first_folders(place)


def find_archive(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of the archive; what opens them raises the errors of `read_archive`.

    Raises
    ------
    SourceError
        If there is anything else beside the batches.
    """
    LAYOUT.check_others(place)
    open_ = partial(_open_split, place.path, place.name, allow_unverified=allow_unverified)
    return Found({split: partial(open_, split) for split in SPLIT_BATCHES}, dict.fromkeys(SPLIT_BATCHES, place.text))


def _open_split(path: Path, name: str, split: str, *, allow_unverified: bool) -> LabeledImages:
    pixels, labels, verified = read_archive(path, split, allow_unverified=allow_unverified)
    check = "MD5 of the original archive's batches" if verified else None
    return LabeledImages(pixels, labels, CLASS_NAMES, Provenance("archive", name, claims_cifar10=True, check=check))


def read_archive(
    path: Path, split: str, *, allow_unverified: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    """Read a split of ``cifar-10-python.tar.gz`` or of the folder it unpacks to.

    Returns
    -------
    pixels, labels, verified
        (N, 32, 32, 3) uint8; (N,) int64; whether every file has its original checksum.

    Raises
    ------
    SourceError
        If something is missing, truncated or not plain data.
    ChecksumError
        If a file is not the original one, unless ``allow_unverified``.
    """
    files, verified = LAYOUT.read(path, SPLIT_BATCHES[split], allow_unverified=allow_unverified)
    batches = [_read_batch(data, f"{path}: {name}") for name, data in files.items()]
    pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return pixels, labels, verified


def _read_batch(data: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = load_plain(data, name)
    if not isinstance(batch, dict) or b"data" not in batch or b"labels" not in batch:
        raise SourceError(f"{name}: expected a dictionary with data and labels")
    pixels = pixels_of_rows(batch[b"data"], name)
    return pixels, plain_labels(batch[b"labels"], len(pixels), 10, f"{name}: labels")


def pixels_of_rows(rows: object, name: str) -> NDArray[np.uint8]:
    """Return rows of 3,072 bytes, red, green and blue planes of 32×32, as pixels (N, 32, 32, 3).

    Raises
    ------
    SourceError
        If they are anything else.
    """
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise SourceError(
            f"{name}: data: expected a (rows, 3072) uint8 array, got {getattr(rows, 'shape', type(rows).__name__)}"
        )
    return np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def plain_labels(listed: object, count: int, classes: int, name: str) -> NDArray[np.int64]:
    """Return the labels of ``count`` rows that a pickle lists, (N,).

    Raises
    ------
    SourceError
        If they are anything but that many whole numbers of classes.
    """
    if not isinstance(listed, list) or not all(type(label) is int and 0 <= label < classes for label in listed):
        raise SourceError(f"{name}: expected a list of whole numbers from 0 to {classes - 1}")
    if len(listed) != count:
        raise SourceError(f"{name}: {count} rows of data but {len(listed)} labels; rows are missing")
    return np.array(listed, np.int64)
