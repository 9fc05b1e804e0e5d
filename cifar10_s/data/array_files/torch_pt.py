"""Tensors in ``.pt`` and ``.pth``."""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.array_files.base import MAX_OVERHEAD_BYTES, MAX_QUOTED_LETTERS, ArrayFile, choose
from cifar10_s.data.array_files.zips import open_zip
from cifar10_s.errors import SourceError, UsageError, printable

# The globals in the pickle of a plain tensor of numbers. `weights_only` allows more: none is code, but some allocate as
# much memory as a number in the file says (a bytearray, a sparse tensor).
_TENSOR_GLOBALS = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    *(
        f"torch {kind}Storage"
        for kind in ("BFloat16", "Half", "Float", "Double", "Byte", "Char", "Short", "Int", "Long")
    ),
}
# Names under which a file has the number of the image of each noise.
NUMBERS_OF_IMAGES = re.compile(r"(?i)(^|_)(ids?|idx|index|indices)$")
_GLOBAL_OPCODES = ("GLOBAL", "INST", "STACK_GLOBAL")


def open_torch(path: Path) -> ArrayFile:
    """Open a file of ``torch.save`` with a tensor, or a list or dictionary of tensors; it is memory-mapped."""
    import torch

    check_plain(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    tensors = _tensors(content)
    tensor = tensors[choose(path, tensors, lambda name: tensors[name].ndim)]

    def read() -> NDArray[Any]:
        array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)
        return array

    dtype = str(tensor.dtype).removeprefix("torch.")
    order = _order(path, content, len(tensor) if tensor.ndim else 0)
    return ArrayFile(path, tuple(tensor.shape), dtype, read, order=order)


def _order(path: Path, content: Any, rows: int) -> NDArray[Any] | None:
    """Return the numbers of the images beside noise, as in TAP's packed files; None if there are none.

    Labels, for example, are not: every image has its own number.

    Raises
    ------
    UsageError
        If there are such numbers by their name, or as none occurs twice, but not those from 0 on.
    """
    import torch

    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, list | tuple) and all(type(number) is int for number in value):
            numbers = np.array(value, object)
        elif isinstance(value, torch.Tensor) and value.ndim == 1 and not value.is_floating_point():
            numbers = value.numpy(force=True)
        else:
            continue
        if len(numbers) == rows and np.array_equal(np.sort(numbers), np.arange(rows)):
            return numbers.astype(np.int64)
        if NUMBERS_OF_IMAGES.search(str(name)) or len(numbers) == rows == len(np.unique(numbers)) > 1:
            raise UsageError(
                f"{path}: expected the numbers of the images beside the noise to be those from 0 to {rows - 1}, each "
                f"once, got {len(numbers)} others; save the noise alone, in the order of the images"
            )
    return None


def _tensors(content: Any) -> dict[str, Any]:
    """Return the saved tensors by name, or by number if they have no names."""
    import torch

    if isinstance(content, torch.Tensor):
        return {"0": content}
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return {}
    return {
        name if isinstance(name, str) else str(number): value
        for number, (name, value) in enumerate(content.items())
        if isinstance(value, torch.Tensor)
    }


def check_plain(path: Path, what: str = "noise", instead: str = ".npy") -> None:
    """Check, before torch reads a file, that it holds only tensors, without compression or big-endian bytes.

    Parameters
    ----------
    path
        A file of ``torch.save``.
    what, instead
        The name of its content in error messages, and the format that they propose instead.

    Raises
    ------
    SourceError
        If its pickle names anything else, which could be code, or it is older than zips.
    ValueError
        If it is not as ``torch.save`` writes it.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            start = file.read(64).lstrip()
        for first, reason in ((b"PK\x03\x04", "is cut off: the end of its zip is missing"), (b"<", "is a web page")):
            if start.startswith(first):
                raise SourceError(f"{path}: {reason}; get the {what} again")
        raise SourceError(
            f"{path}: expected a zip, as torch.save writes since torch 1.6; it was not read, since what is older is a "
            f"bare pickle, which can run code: save the {what} with a newer torch, or as {instead}"
        )
    with open_zip(path, (zipfile.ZIP_STORED,)) as archive:
        for member in archive.infolist():
            # torch ignores the case of names.
            name = member.orig_filename.lower()
            if name.endswith(("data.pkl", "byteorder")) and member.file_size > MAX_OVERHEAD_BYTES:
                raise ValueError(f"{printable(name)[:MAX_QUOTED_LETTERS]} takes {member.file_size} bytes")
            if name.endswith("byteorder") and archive.read(member) != b"little":
                raise ValueError("bytes are not in little-endian order")
            if name.endswith("data.pkl"):
                _check_names(path, archive.read(member), what, instead)


def _check_names(path: Path, pickled: bytes, what: str, instead: str) -> None:
    for operation, name, _ in pickletools.genops(pickled):
        if operation.name in _GLOBAL_OPCODES and name not in _TENSOR_GLOBALS:
            named = printable(str(name or "something"))[:MAX_QUOTED_LETTERS].replace(" ", ".")
            raise SourceError(
                f"{path}: its pickle names {named}, which is not part of a plain tensor; it was not run; save the "
                f"{what} as a tensor, or as {instead}; if the file is not yours, do not use it"
            )
