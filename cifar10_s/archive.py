"""The original CIFAR-10 archive, read without unpacking it and without trusting its pickles."""

import hashlib
import io
import pickle
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import ChecksumError, SourceError

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
        with tarfile.open(path, "r:*") as tar:
            for member in tar:
                _check_member(member, path)
                name = PurePosixPath(member.name).name
                if name in names:
                    stream = tar.extractfile(member)
                    files[name] = stream.read() if stream else b""
            # The checksum of the compressed stream comes after the last member.
            while tar.fileobj and tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise SourceError(f"{path}: cannot be read to its end ({error}); download it again") from None
    missing = [name for name in names if name not in files]
    if missing:
        raise SourceError(f"{path}: holds no {', '.join(missing)}: expected {FOLDER}/{', '.join(names)}")
    return {name: files[name] for name in names}


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
    batch = _unpickle(data, name)
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


def _unpickle(data: bytes, name: str) -> Any:
    """Rebuild plain values and arrays; any other global a pickle names is refused before it is looked up."""
    try:
        return _PlainUnpickler(io.BytesIO(data), encoding="bytes").load()
    except _ForbiddenGlobalError as error:
        raise SourceError(
            f"{name}: its pickle names {error}, which is no part of an array; it was not run; do not use this file"
        ) from None
    except Exception as error:  # a broken pickle can raise anything
        raise SourceError(f"{name}: is no readable pickle ({type(error).__name__}: {error})") from None


class _ForbiddenGlobalError(Exception):
    pass


# What an array's pickle calls, replaced by stand-ins that can do nothing else.
_NDARRAY = "the array type, named but never called"


def _empty_array(kind: object, shape: object, code: object) -> NDArray[Any]:
    """Stand in for NumPy's ``_reconstruct``, which always starts with an empty array."""
    if kind is not _NDARRAY or shape != (0,):
        raise ValueError("an array that is not rebuilt the usual way")
    return np.ndarray((0,), np.uint8)


def _byte_dtype(code: object, *options: object) -> Any:
    """Stand in for ``numpy.dtype``: the batches hold bytes only."""
    if code not in ("u1", b"u1"):
        raise ValueError(f"an array of {code!r} where bytes (u1) are expected")
    return np.dtype(np.uint8, copy=True)


def _latin1_bytes(text: object, encoding: object) -> bytes:
    """Stand in for ``_codecs.encode``, by which Python 3 writes bytes into old pickles."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise ValueError("bytes that are not written the usual way")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _byte_dtype,
    ("_codecs", "encode"): _latin1_bytes,
}


# The unpickler written in Python: the one in C takes memory for any number that a broken file names.
class _PlainUnpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise _ForbiddenGlobalError(f"{module}.{name}") from None
