"""A ``.npz`` file with the images and labels of all splits, as MedMNIST and Keras publish them."""

from functools import partial
from pathlib import Path

from cifar10_s.data.array_files.base import one_line_errors
from cifar10_s.data.array_files.npy import npz_names, open_npz
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.in_memory import numbered_images
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.split_names import listed
from cifar10_s.errors import SourceError

SUFFIX = ".npz"
# The names of images and labels: the first of each split are MedMNIST's, the second are those of Keras.
ARRAYS = {
    "train": (("train_images", "train_labels"), ("x_train", "y_train")),
    "val": (("val_images", "val_labels"),),
    "test": (("test_images", "test_labels"), ("x_test", "y_test")),
}


def is_npz_file(place: Place) -> bool:
    """Return whether a source is a ``.npz`` file."""
    return place.text.lower().endswith(SUFFIX) and place.path.is_file()


def find_npz_file(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a ``.npz`` file.

    Raises
    ------
    SourceError
        If it cannot be read, or has arrays of other names.
    """
    with one_line_errors(place.path):
        names = set(npz_names(place.path))
    splits = {split: pair for split, pairs in ARRAYS.items() for pair in pairs if names >= {*pair}}
    others = sorted(names - {name for pair in splits.values() for name in pair})
    if others or not splits:
        raise SourceError(
            f"{place.path}: expected arrays of MedMNIST (train_images, train_labels, val_…, test_…) or Keras (x_train, "
            f"y_train, x_test, y_test), got {listed(others)}; save them under these names"
        )
    open_ = partial(_open_split, place.path, Provenance("npz", place.name))
    return Found(
        {split: partial(open_, split, *pair) for split, pair in splits.items()},
        {split: f"{place.text} ({pair[0]})" for split, pair in splits.items()},
    )


def _open_split(path: Path, provenance: Provenance, split: str, images: str, labels: str) -> LabeledImages:
    arrays = []
    for name in (images, labels):
        with one_line_errors(path):
            array = open_npz(path, name)
        arrays.append(array.load())
    return numbered_images(arrays[0], arrays[1], f"{path}: {split}", provenance)
