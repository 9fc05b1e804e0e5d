"""Arrays in ``.npy`` and ``.npz``."""

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.array_files.base import ArrayFile, choose
from cifar10_s.data.array_files.zips import open_zip
from cifar10_s.errors import SourceError

# The header of a numeric array takes 128 bytes; NumPy would read one of any length.
MAX_HEADER_BYTES = 1 << 12
# The compression methods that NumPy writes.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    size: int


def open_npy(path: Path) -> ArrayFile:
    """Open a ``.npy`` file; it is memory-mapped."""
    with path.open("rb") as file:
        header = _header(path, file.read(MAX_HEADER_BYTES), path.stat().st_size)

    def read() -> NDArray[Any]:
        return np.asarray(np.memmap(path, header.dtype, "r", header.size, header.shape, header.order))

    return ArrayFile(path, header.shape, header.dtype.name, read, header.size if header.order == "C" else None)


def npz_names(path: Path) -> list[str]:
    """Return the names of the arrays in a ``.npz`` file."""
    with open_zip(path, ZIP_METHODS) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def open_npz(path: Path, name: str | None = None) -> ArrayFile:
    """Open an array of a ``.npz`` file, compressed or not, by default as `base.choose` does; it is read into memory."""
    with open_zip(path, ZIP_METHODS) as archive:

        def header_of(name: str) -> _Header:
            member = archive.getinfo(f"{name}.npy")
            with archive.open(member) as stream:
                return _header(path, stream.read(MAX_HEADER_BYTES), member.file_size)

        if name is None:
            name = choose(path, npz_names(path), lambda name: len(header_of(name).shape))
        member, header = archive.getinfo(f"{name}.npy"), header_of(name)

    def read() -> NDArray[Any]:
        with open_zip(path, ZIP_METHODS) as archive, archive.open(member) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    return ArrayFile(path, header.shape, header.dtype.name, read)


def _header(path: Path, start: bytes, total: int) -> _Header:
    """Read the header at the start of ``total`` bytes, and check that the array fills the rest exactly."""
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    if version not in _HEADER_READERS:
        raise ValueError(f"expected format version {' or '.join(map(str, _HEADER_READERS))}, got {version}")
    shape, fortran, dtype = _HEADER_READERS[version](stream)
    if dtype.hasobject:
        raise SourceError(
            f"{path}: holds Python objects, which can run code: expected numbers; they were not read; do not use this "
            "file"
        )
    needed, got = math.prod(shape) * dtype.itemsize, total - stream.tell()
    if needed != got:
        raise ValueError(f"shape {shape} of {dtype}: expected {needed} bytes, got {got}")
    return _Header(shape, "F" if fortran else "C", dtype, stream.tell())
