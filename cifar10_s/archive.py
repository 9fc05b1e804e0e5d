"""The original CIFAR-10 archive, read without unpacking it and without trusting its pickles."""

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import ChecksumError, SourceError
from cifar10_s.unpickling import load_plain

FOLDER = "cifar-10-batches-py"
META = "batches.meta"
# MD5 of the files in cifar-10-python.tar.gz (170,498,071 bytes, MD5 c58f30108f718f92721af3b95e74349a).
BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
SPLITS = {"train": tuple(BATCHES)[:5], "test": ("test_batch",)}
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
# A true batch is 31,035,704 bytes; nothing longer than twice that is read.
MAX_BYTES = 1 << 26


def read_archive(
    path: Path, split: str, *, allow_unverified: bool
) -> tuple[NDArray[np.uint8], NDArray[np.int64], bool]:
    """Read a split of ``cifar-10-python.tar.gz`` or of the folder it unpacks to.

    Returns
    -------
    pixels, labels, verified
        (N, 32, 32, 3) uint8; (N,) int64; whether every file has its true checksum.

    Raises
    ------
    SourceError
        Where something is missing, cut off or not plain data.
    ChecksumError
        Where a file is not the original one, unless ``allow_unverified``.
    """
    names = SPLITS[split]
    files = _from_folder(path, names) if path.is_dir() else _from_tar(path, names)
    verified = True
    for name, data in files.items():
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if digest != BATCHES[name]:
            verified = False
            if not allow_unverified:
                raise ChecksumError(
                    f"{path}: {name} is not CIFAR-10's: expected MD5 {BATCHES[name]}, got {digest}; download "
                    "cifar-10-python.tar.gz again, or pass --allow-unverified to use it as an unverified copy"
                )
    batches = [_read_batch(data, f"{path}: {name}") for name, data in files.items()]
    pixels, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return pixels, labels, verified


def _from_folder(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise SourceError(
            f"{path}: {', '.join(missing)} is missing: expected {', '.join(names)}; unpack the archive again"
        )
    large = [name for name in names if (path / name).stat().st_size > MAX_BYTES]
    if large:
        raise SourceError(f"{path}: {', '.join(large)} is larger than {MAX_BYTES} bytes, which no CIFAR-10 batch is")
    return {name: (path / name).read_bytes() for name in names}


def _from_tar(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """Read members into memory; nothing is unpacked, so nothing can land outside a folder."""
    files = {}
    try:
        with path.open("rb") as file:
            stream: Any = _BoundedReader(gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == b"\x1f\x8b" else file)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                for member in tar:
                    _check_member(member, path)
                    name = PurePosixPath(member.name).name
                    if name in names:
                        content = tar.extractfile(member)
                        files[name] = content.read() if content else b""
            # The checksum of the compressed stream comes after the last member.
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, LookupError, OverflowError) as error:
        raise SourceError(f"{path}: cannot be read to its end ({error}); download it again") from None
    missing = [name for name in names if name not in files]
    if missing:
        raise SourceError(f"{path}: holds no {', '.join(missing)}: expected {FOLDER}/{', '.join(names)}")
    return {name: files[name] for name in names}


class _BoundedReader:
    """A stream that refuses to give more than an archive of CIFAR-10 can hold."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        if not 0 <= size <= MAX_BYTES or self.tell() > 8 * MAX_BYTES:
            raise tarfile.ReadError("it holds more than CIFAR-10 does")
        data: bytes = self._stream.read(size)
        return data


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Refuse what the original archive has none of."""
    parts = PurePosixPath(member.name).parts
    if not (member.isfile() or member.isdir()):
        raise SourceError(
            f"{path}: member {member.name} is a link or a device: expected plain files only; do not use this archive"
        )
    if parts[:1] != (FOLDER,) or ".." in parts or len(parts) > 2:
        raise SourceError(f"{path}: member {member.name} is outside {FOLDER}/; do not use this archive")
    if member.size > MAX_BYTES:
        raise SourceError(
            f"{path}: member {member.name} is {member.size} bytes, more than any CIFAR-10 batch ({MAX_BYTES} at most)"
        )


def _read_batch(data: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = load_plain(data, name)
    if not isinstance(batch, dict) or b"data" not in batch or b"labels" not in batch:
        raise SourceError(f"{name}: expected a dictionary with data and labels")
    rows, listed = batch[b"data"], batch[b"labels"]
    if not isinstance(rows, np.ndarray) or rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != 3072:
        raise SourceError(
            f"{name}: data: expected a (rows, 3072) uint8 array, got {getattr(rows, 'shape', type(rows).__name__)}"
        )
    if not isinstance(listed, list) or not all(type(label) is int and 0 <= label < 10 for label in listed):
        raise SourceError(f"{name}: labels: expected a list of whole numbers from 0 to 9")
    if len(listed) != len(rows):
        raise SourceError(f"{name}: {len(rows)} rows of data but {len(listed)} labels; rows are missing")
    pixels = np.ascontiguousarray(rows.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return pixels, np.array(listed, np.int64)
