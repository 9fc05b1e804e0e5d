"""A folder with one sub-folder of images a class → a stream of images."""

from itertools import chain
from pathlib import Path

import numpy as np

from cifar10_s.errors import SourceError
from cifar10_s.image_files import stream_files
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
LITTER = {"Thumbs.db", "desktop.ini", "__MACOSX"}


def open_image_folder(path: Path, split: str) -> Stream | None:
    """Open one sub-folder of images a class, in the order of their names; or ``train`` and ``test`` of such.

    Gives None where the folder has no such split.

    Raises
    ------
    SourceError
        Where something in it is no class of images: nothing is left out silently.
    """
    folders = {child.name.lower(): child for child in _visible(path) if child.is_dir()}
    if "train" in folders:
        if split not in folders:
            return None
        root = folders[split]
    elif split == "train":
        root = path
    else:
        return None
    classes = [child for child in _visible(root) if child.is_dir()]
    if not classes:
        raise SourceError(
            f"{root}: expected batches of CIFAR-10, Parquet files, or one sub-folder of images a class; found none"
        )
    files = [_images_of_class(folder) for folder in classes]
    labels = np.repeat(np.arange(len(classes)), list(map(len, files)))
    names = tuple(folder.name for folder in classes)
    return stream_files(list(chain(*files)), labels, names, Provenance("images", path.resolve().name))


def _visible(folder: Path) -> list[Path]:
    """List a folder by name, without what file managers leave behind."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith(".") and child.name not in LITTER)


def _images_of_class(folder: Path) -> list[Path]:
    if not folder.name.isprintable():
        raise SourceError(f"{folder!s:.200}: expected a class name of printable characters; rename the folder")
    found = _visible(folder)
    if not found:
        raise SourceError(
            f"{folder}: class {folder.name!r} has no images: expected at least one; add some or remove it"
        )
    for file in found:
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"{file}: expected only images in a class's folder ({suffixes}); move it elsewhere")
    return found
