"""Write and read ``noise/<method>.npz``: noise that cannot be made again, in a release without images."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.array_files.registry import open_array
from cifar10_s.errors import SourceError
from cifar10_s.methods.base import Method
from cifar10_s.methods.from_file import GivenNoise
from cifar10_s.methods.learned import Learned
from cifar10_s.release.layout import CLEAN, noise_path
from cifar10_s.release.manifest import Manifest

DTYPES = ("int8", "float32")


def write_noise(folder: Path, method: Method, levels: NDArray[Any]) -> None:
    """Write the noise of a method into the folder of a release, as int8 if all levels are whole."""
    path = folder / noise_path(method.name)
    path.parent.mkdir(exist_ok=True)
    is_whole = np.abs(levels).max() <= np.iinfo(np.int8).max and not np.mod(levels, 1).any()
    np.savez_compressed(path, noise=levels.astype(np.int8 if is_whole else np.float32))


def read_noise(folder: Path, method: Method, manifest: Manifest) -> NDArray[Any]:
    """Read the noise of a method from the folder of a release, untrusted.

    Returns
    -------
    ndarray
        In levels: (N, H, W, C), or (K, H, W, C) for noise per class; int8 or float32.

    Raises
    ------
    SourceError
        If the file is missing or holds something else, or if the noise has another shape, is not finite, or exceeds the
        method's bound.
    """
    array = open_array(folder / noise_path(method.name))
    is_per_class = isinstance(method, GivenNoise | Learned) and method.classwise
    count = len(manifest.classes) if is_per_class else manifest.configurations[CLEAN].rows
    expected = (count, *manifest.shape)
    if array.shape != expected or array.dtype not in DTYPES:
        raise SourceError(
            f"{array.path}: expected noise of the shape {expected}, {' or '.join(DTYPES)}, got {array.shape!s:.80}, "
            f"{array.dtype:.20}"
        )
    levels, bound = array.load(), method.bound(manifest.shape)
    # `not <=` is also true of NaN; rounding cannot add more than half a level.
    if not max(-float(levels.min()), float(levels.max())) <= bound.linf + 0.5:
        raise SourceError(f"{array.path}: expected noise of at most {bound.linf} levels, the method's bound, got more")
    return levels
