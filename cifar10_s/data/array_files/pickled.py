"""Arrays in ``.pkl`` and ``.pickle``, as REM publishes its noise, and DUNE its images."""

import mmap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.array_files.base import ArrayFile, choose
from cifar10_s.data.array_files.torch_pt import open_torch
from cifar10_s.data.unpickling import NUMBERS, load_plain


def open_pickle(path: Path) -> ArrayFile:
    """Open a pickled array, a list or dictionary of arrays, or a list of tuples of an array and its image's class.

    It is read into memory, and no code in it is run.
    """
    if zipfile.is_zipfile(path):
        return open_torch(path)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        content = load_plain(
            data, str(path), NUMBERS, "save the noise with np.save; if the file is not yours, do not use it"
        )
    if _are_pairs(content):
        rows, labels = zip(*content, strict=True)
        # Stacked only once the shape is known to fit: a small file can name one array many times.
        shape, dtype = (len(rows), *rows[0].shape), rows[0].dtype.name
        return ArrayFile(path, shape, dtype, lambda: np.stack(rows), labels=np.array(labels, np.int64))
    arrays = _arrays(content)
    array = arrays[choose(path, arrays, lambda name: arrays[name].ndim)]
    return ArrayFile(path, array.shape, array.dtype.name, lambda: array)


def _are_pairs(content: Any) -> bool:
    """Return whether it is a list of tuples of an array and an integer, with arrays of one shape and type."""
    if not (isinstance(content, list) and content and all(isinstance(one, tuple) and len(one) == 2 for one in content)):
        return False
    typed = all(isinstance(row, np.ndarray) and type(label) is int for row, label in content)
    return typed and len({(row.shape, row.dtype) for row, _ in content}) == 1


def _arrays(content: Any) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, or by number if they have no names."""
    if isinstance(content, np.ndarray):
        return {"0": content}
    if isinstance(content, list | tuple):
        content = dict(enumerate(content))
    if not isinstance(content, dict):
        return {}
    named = ((_name(name, number), value) for number, (name, value) in enumerate(content.items()))
    return {name: value for name, value in named if isinstance(value, np.ndarray)}


def _name(name: object, number: int) -> str:
    """Return a key as text; those of Python 2 are bytes."""
    return name.decode("latin1") if isinstance(name, bytes) else name if isinstance(name, str) else str(number)
