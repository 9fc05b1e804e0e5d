"""The table of array file formats, by suffix, and opening one."""

from collections.abc import Callable
from pathlib import Path

from cifar10_s.data.array_files.base import ArrayFile, one_line_errors
from cifar10_s.data.array_files.npy import open_npy, open_npz
from cifar10_s.data.array_files.pickled import open_pickle
from cifar10_s.data.array_files.safetensors import open_safetensors
from cifar10_s.data.array_files.torch_pt import open_torch
from cifar10_s.errors import SourceError, UsageError

ARRAY_FORMATS: dict[str, Callable[[Path], ArrayFile]] = {
    ".pt": open_torch,
    ".pth": open_torch,
    ".npy": open_npy,
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".pkl": open_pickle,
    ".pickle": open_pickle,
}


def open_array(path: Path) -> ArrayFile:
    """Open the array of an untrusted file: no code in it runs, nothing is written.

    ``.pt`` and ``.pth`` are zips of ``torch.save`` with a tensor, or a list or dictionary of tensors; ``.npz``,
    ``.safetensors`` and pickles (``.pkl``, ``.pickle``) may hold several arrays too; see `base.choose`.

    Raises
    ------
    UsageError
        If the suffix is another, or there are several arrays to choose from.
    SourceError
        If the file is missing, not fetched, truncated, of another format, or could run code.
    """
    suffix = path.suffix.lower()
    if suffix not in ARRAY_FORMATS:
        raise UsageError(f"{path}: expected a file that ends in one of {', '.join(ARRAY_FORMATS)}, got {suffix!r}")
    if not path.is_file():
        raise SourceError(f"{path}: expected a file, {'got a folder' if path.is_dir() else 'there is none'}")
    with one_line_errors(path):
        return ARRAY_FORMATS[suffix](path)
