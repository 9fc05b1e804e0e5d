"""Arrays in ``.npy`` and ``.npz``."""

import io
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifar10_s.array_files.array_file import ArrayFile, choose
from cifar10_s.array_files.zip_file import open_zip
from cifar10_s.errors import SourceError

# The header of an array of numbers takes 128 bytes; NumPy would read any length before it looks at it.
MAX_HEADER = 1 << 12
# What NumPy writes.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class _Header:
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    size: int


def open_npy(path: Path) -> ArrayFile:
    """Open a ``.npy`` file; it is memory-mapped."""
    with path.open("rb") as file:
        header = _header(path, file.read(MAX_HEADER), path.stat().st_size)

    def read() -> NDArray[Any]:
        return np.asarray(np.memmap(path, header.dtype, "r", header.size, header.shape, header.order))

    return ArrayFile(path, header.shape, header.dtype.name, read, header.size if header.order == "C" else None)


def open_npz(path: Path) -> ArrayFile:
    """Open an array of a ``.npz`` file, compressed or not; it is read into memory."""
    with open_zip(path, METHODS) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        member = archive.getinfo(f"{choose(path, names)}.npy")
        with archive.open(member) as stream:
            header = _header(path, stream.read(MAX_HEADER), member.file_size)

    def read() -> NDArray[Any]:
        with open_zip(path, METHODS) as archive, archive.open(member) as stream:
            array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
            return array

    return ArrayFile(path, header.shape, header.dtype.name, read)


def _header(path: Path, start: bytes, total: int) -> _Header:
    """Read the header at the start of ``total`` bytes, and see that the array fills the rest exactly."""
    stream = io.BytesIO(start)
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise ValueError(f"format version {version} where one of {', '.join(map(str, _READ_HEADER))} is expected")
    shape, fortran, dtype = _READ_HEADER[version](stream)
    if dtype.hasobject:
        raise SourceError(
            f"{path}: holds Python objects, which can run code, where numbers are expected; they were not read; "
            "do not use this file"
        )
    needed, got = math.prod(shape) * dtype.itemsize, total - stream.tell()
    if needed != got:
        raise ValueError(f"shape {shape} of {dtype} takes {needed} bytes, it has {got}")
    return _Header(shape, "F" if fortran else "C", dtype, stream.tell())
