"""Files that hold an array, each format in a file of its own behind one contract (`array_file.ArrayFile`)."""

from collections.abc import Callable
from pathlib import Path

from cifar10_s.array_files.array_file import PREFERRED, ArrayFile, one_line_errors
from cifar10_s.array_files.numpy_file import open_npy, open_npz
from cifar10_s.array_files.safetensors_file import open_safetensors
from cifar10_s.array_files.torch_file import open_torch
from cifar10_s.errors import SourceError, UsageError

__all__ = ["FORMATS", "PREFERRED", "ArrayFile", "one_line_errors", "open_array"]

FORMATS: dict[str, Callable[[Path], ArrayFile]] = {
    ".pt": open_torch,
    ".pth": open_torch,
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
}


def open_array(path: Path) -> ArrayFile:
    """Open the array of a file that nobody vouches for; no code in it runs, nothing is written.

    ``.pt`` and ``.pth`` are zips of ``torch.save`` with a tensor, or a list or dictionary of tensors; ``.npz`` and
    ``.safetensors`` too may hold several arrays. There must be one, or one that has a name of `PREFERRED`.

    Raises
    ------
    UsageError
        For another suffix, or where it is not clear which array is meant.
    SourceError
        Where the file is missing, cut off, of another kind, or could run code.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{path}: expected a file that ends in one of {', '.join(FORMATS)}, got {suffix!r}")
    if not path.is_file():
        raise SourceError(f"{path}: expected a file, {'got a folder' if path.is_dir() else 'there is none'}")
    with one_line_errors(path):
        return FORMATS[suffix](path)
