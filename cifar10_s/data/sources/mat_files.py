"""SVHN's cropped digits, files of MATLAB: X, (32, 32, 3, N), and y, in which 10 is the digit 0."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.array_files.base import one_line_errors
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.in_memory import numbered_images
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import is_known
from cifar10_s.data.sources.split_names import TRAIN, split_of_file
from cifar10_s.errors import SourceError

SUFFIX, PIXELS, LABELS, TEN = ".mat", "X", "y", 10
SVHN_MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}
# Deflate packs no better than this, so what a file says it holds is not believed beyond it.
MAX_RATIO = 1032


def is_mat(place: Place) -> bool:
    """Return whether a source is a MATLAB file, or a folder with such files in it."""
    if place.is_folder:
        return any(file.lower().endswith(SUFFIX) for file in place.folder.files)
    return place.text.lower().endswith(SUFFIX) and place.path.is_file()


def find_mat(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of SVHN, each a file; a file alone is the training split, unless its name tells another.

    Raises
    ------
    SourceError
        If there is anything else in the folder.
    """
    if not place.is_folder:
        split = split_of_file(place.path.stem) or TRAIN
        return Found({split: partial(_open_split, place.path, place)}, {split: place.text})
    root = place.folder
    for other in [*root.others(f"*{SUFFIX}"), *(folder.path for folder in root.folders)]:
        raise SourceError(
            f"{other}: expected only files of MATLAB (train_32x32.mat, test_32x32.mat); move it elsewhere"
        )
    splits: dict[str, Path] = {}
    for file in (root.path / name for name in root.files if name.lower().endswith(SUFFIX)):
        split = split_of_file(file.stem) or file.stem.partition("_")[0]
        splits[file.stem if split in splits else split] = file
    return Found(
        {split: partial(_open_split, file, place) for split, file in splits.items()},
        {split: str(file) for split, file in splits.items()},
    )


def _open_split(path: Path, place: Place) -> LabeledImages:
    arrays = _read(path)
    pixels, labels = arrays[PIXELS], arrays[LABELS]
    if pixels.ndim != 4:
        raise SourceError(f"{path}: X: expected the shape (height, width, 3, images), got {pixels.shape}")
    if labels.dtype.kind == "f" and np.array_equal(labels, np.rint(labels)):
        labels = labels.astype(np.int64)
    check = "MD5 of SVHN's files" if is_known(path, SVHN_MD5) else None
    # Only SVHN writes 0 as 10: another file may have both, or eleven classes or more.
    is_svhn = labels.size and labels.min() >= 1 and labels.max() == TEN
    labels = np.where(labels == TEN, 0, labels) if is_svhn else labels
    return numbered_images(pixels.transpose(3, 0, 1, 2), labels, str(path), Provenance("svhn", place.name, check=check))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return pixels and labels; no other variable is read, and none that is not numbers.

    Raises
    ------
    SourceError
        If they are not there, or cannot be read.
    """
    from scipy.io import loadmat, whosmat

    with one_line_errors(path), path.open("rb") as file:
        declared = {name: (shape, kind) for name, shape, kind in whosmat(file)}
        missing = [name for name in (PIXELS, LABELS) if name not in declared]
        if missing:
            raise SourceError(
                f"{path}: expected the variables X and y, as SVHN has them; {', '.join(missing)} is missing"
            )
        for name in (PIXELS, LABELS):
            shape, kind = declared[name]
            if not kind.startswith(("uint", "int", "double", "single")):
                raise SourceError(f"{path}: {name}: expected numbers, got {kind}; it was not read")
            if min(shape, default=0) < 0 or math.prod(shape) > MAX_RATIO * path.stat().st_size:
                raise SourceError(f"{path}: {name}: its shape {shape} is not possible in a file of this size")
        file.seek(0)
        found = loadmat(file, variable_names=[PIXELS, LABELS], mat_dtype=False)
        return {name: np.asarray(found[name]) for name in (PIXELS, LABELS)}
