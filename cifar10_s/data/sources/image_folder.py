"""A folder with one sub-folder of images per class, as a stream of images."""

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.found import Found, UnlabelledError
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.data.sources.place import IMAGE_SUFFIXES, Folder, Place, is_image
from cifar10_s.data.sources.published import FILE_SUFFIXES
from cifar10_s.data.sources.split_names import TRAIN, listed, role
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError

# Takes image files, labels (N,), and class names.
StreamOf = Callable[[list[Path], NDArray[np.int64], tuple[str, ...]], Stream]


def find_image_folder(place: Place, choices: Choices, *, allow_unverified: bool = False) -> Found:
    """Find the splits of a folder with one sub-folder of images per class, or with one such folder per split.

    What is a split and what is a class is told by the structure: the folder of a split contains folders of classes,
    and that of a class contains images, whatever their names. Classes are in the order of their names.

    Raises
    ------
    SourceError
        If anything in it is neither: nothing is left out silently.
    """
    provenance, conversion = Provenance("images", place.name), choices.conversion

    def stream(files: list[Path], labels: NDArray[np.int64], names: tuple[str, ...]) -> Stream:
        return stream_files(files, labels, names, provenance, conversion=conversion)

    return find_classes(place.folder, choices, stream)


def find_classes(root: Folder, choices: Choices, stream: StreamOf) -> Found:
    """Find the splits of a folder that was listed, on disk or in an archive.

    Parameters
    ----------
    root
        The folder.
    choices
        The names of the splits.
    stream
        Returns a stream of image files.

    Raises
    ------
    SourceError
        See `find_image_folder`.
    """
    for file in root.others():
        advice = "move it elsewhere"
        if is_image(file.name):
            advice = "move it to the folder of its class"
        elif file.name.lower().endswith(FILE_SUFFIXES):
            advice = "to read what is in it, give the file itself, or unpack it"
        raise SourceError(f"{file}: expected only folders beside those of classes or splits; {advice}")
    if not root.folders:
        raise SourceError(
            f"{root.path}: expected batches of CIFAR-10, Parquet files, or one sub-folder of images per class; "
            "found none"
        )
    if not _are_splits(root, choices):
        return Found({TRAIN: partial(_open_split, root, stream)}, {TRAIN: str(root.path)})
    _check_splits(root, choices)
    splits = {folder.name: partial(_open_split, folder, stream) for folder in root.folders}
    return Found(splits, {folder.name: str(folder.path) for folder in root.folders})


def _are_splits(root: Folder, choices: Choices) -> bool:
    """Return whether the folders in a folder are splits rather than classes."""
    if choices.train_split is not None or all(role(folder.name) for folder in root.folders):
        # A class may be called `train`, but if all are called so, these are images without labels.
        return True
    has_classes = [bool(folder.folders) and not any(map(is_image, folder.files)) for folder in root.folders]
    return all(has_classes) or any(
        found and role(folder.name) for folder, found in zip(root.folders, has_classes, strict=True)
    )


def _check_splits(root: Folder, choices: Choices) -> None:
    """Refuse folders beside those of splits, unless the user names the splits."""
    if choices.train_split is not None:
        return
    if len(root.folders) == 1 and role(root.folders[0].name) is None:
        raise SourceError(
            f"{root.path}: holds only {root.folders[0].name}, which holds folders: expected folders of classes or "
            f"splits; give {root.folders[0].path}"
        )
    others = [folder for folder in root.folders if role(folder.name) is None]
    if others:
        inner = next((folder.folders[0] for folder in root.folders if folder.folders), others[0])
        raise SourceError(
            f"{others[0].path}: expected either only images in the folders of classes, or only folders of splits "
            f"(train, test, val …), got {listed(folder.name for folder in root.folders)}, and folders in them "
            f"({inner.path}); move what does not belong there, or name the splits with --train-split and --test-split"
        )


def _open_split(folder: Folder, stream: StreamOf) -> Stream:
    """Open a split, whose folders are the classes; or None of them, if its images have no labels."""
    for file in folder.others():
        if is_image(file.name) and not folder.folders:
            raise UnlabelledError(f"{folder.path}: has images but no folders of classes, and so no labels")
        raise SourceError(f"{file}: expected only folders of classes in the folder of a split; move it elsewhere")
    if not folder.folders:
        raise SourceError(f"{folder.path}: has no images: expected one sub-folder of images per class")
    files = [_images_of_class(one) for one in folder.folders]
    labels = np.repeat(np.arange(len(files)), list(map(len, files)))
    names = tuple(one.name for one in folder.folders)
    return stream(list(chain(*files)), labels, names)


def _images_of_class(folder: Folder) -> list[Path]:
    if not folder.name.isprintable():
        raise SourceError(f"{folder.path!s:.200}: expected a class name of printable characters; rename the folder")
    files = [folder.path / name for name in sorted((*folder.files, *(one.name for one in folder.folders)))]
    if not files:
        raise SourceError(
            f"{folder.path}: class {folder.name!r} has no images: expected at least one; add some or remove it"
        )
    for file in files:
        if not is_image(file.name):
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(
                f"{file}: expected only images in a class's folder ({suffixes}); convert it, or move it elsewhere"
            )
    return files
