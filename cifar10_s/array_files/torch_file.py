"""Tensors in ``.pt`` and ``.pth``."""

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cifar10_s.array_files.array_file import LONGEST, MAX_AROUND, ArrayFile, choose
from cifar10_s.array_files.zip_file import open_zip
from cifar10_s.errors import SourceError, printable

# All that the pickle of a plain tensor of numbers names. `weights_only` lets pass more, none of which is code, but some
# of which takes as much memory as a number in the file says (a bytearray, a sparse tensor).
_NAMES = {
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    "collections OrderedDict",
    *(
        f"torch {kind}Storage"
        for kind in ("BFloat16", "Half", "Float", "Double", "Byte", "Char", "Short", "Int", "Long")
    ),
}
_NAMING = ("GLOBAL", "INST", "STACK_GLOBAL")


def open_torch(path: Path) -> ArrayFile:
    """Open a file of ``torch.save`` with a tensor, or a list or dictionary of tensors; it is memory-mapped."""
    import torch

    _check(path)
    tensors = _tensors(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    tensor = tensors[choose(path, tensors)]

    def read() -> NDArray[Any]:
        array: NDArray[Any] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)
        return array

    return ArrayFile(path, tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."), read)


def _tensors(content: Any) -> dict[str, Any]:
    """Give the tensors of what was saved by their names, or by their numbers where these are no text."""
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


def _check(path: Path) -> None:
    """Refuse what no saved tensor has, before torch reads the file: other names, compression, a big-endian order."""
    if not zipfile.is_zipfile(path):
        raise SourceError(
            f"{path}: expected a zip, as torch.save writes since torch 1.6; it was not read, since what is older is a "
            "bare pickle, which can run code: save the noise with a newer torch, or as .npy"
        )
    with open_zip(path, (zipfile.ZIP_STORED,)) as archive:
        for member in archive.infolist():
            # torch takes names in upper case for the same.
            name = member.orig_filename.lower()
            if name.endswith(("data.pkl", "byteorder")) and member.file_size > MAX_AROUND:
                raise ValueError(f"{printable(name)[:LONGEST]} takes {member.file_size} bytes")
            if name.endswith("byteorder") and archive.read(member) != b"little":
                raise ValueError("bytes are not in little-endian order")
            if name.endswith("data.pkl"):
                _check_names(path, archive.read(member))


def _check_names(path: Path, pickled: bytes) -> None:
    for operation, name, _ in pickletools.genops(pickled):
        if operation.name in _NAMING and name not in _NAMES:
            named = printable(str(name or "something"))[:LONGEST].replace(" ", ".")
            raise SourceError(
                f"{path}: its pickle names {named}, which is no part of a plain tensor; it was not run; save the noise "
                "as a tensor, or as .npy; if the file is not yours, do not use it"
            )
