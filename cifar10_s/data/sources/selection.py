"""Select classes, or a number of images per class, from images in memory or streamed."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.conversion import Conversion
from cifar10_s.data.images import Images, LabeledImages, numbers_in_class
from cifar10_s.data.sources.split_names import listed
from cifar10_s.data.stream import Block, ComparableBlock, Stream
from cifar10_s.errors import SourceError

RANGE = re.compile(r"(\d{0,9}):(\d{0,9})")


@dataclass(frozen=True)
class PartOfBlock:
    """Some rows of a block, ascending from 0."""

    block: Block
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        return self.block.read(self.rows[rows])

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """See `stream.ComparableBlock.count_unlike`."""
        return self.block.count_unlike(self.rows[rows]) if isinstance(self.block, ComparableBlock) else 0


@dataclass(frozen=True)
class ConvertedBlock:
    """A block whose pixels are converted after they were read, since its format has no image files."""

    block: Block
    conversion: Conversion

    def __len__(self) -> int:
        return len(self.block)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        return map(self.conversion.apply_to_pixels, self.block.read(rows))


def chosen_classes(names: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Return the labels of the classes that a user names, ascending.

    Parameters
    ----------
    names
        The names of all classes, in order of label.
    wanted
        Names, numbers, or ranges such as ``0:100``.
    source
        The name of the source in error messages.

    Raises
    ------
    SourceError
        If there is no such class, or one is named twice.

    Examples
    --------
    >>> chosen_classes(("cat", "dog", "eel", "fox"), ("fox", "0:2"), "pets")
    [0, 1, 3]
    """
    found: list[int] = []
    for text in wanted:
        found += _labels_of(names, text, source)
    if len(set(found)) != len(found):
        raise SourceError(f"{source}: --classes: expected each class once, got {listed(wanted)}")
    return sorted(found)


def _labels_of(names: Sequence[str], text: str, source: str) -> list[int]:
    if text in names:
        return [names.index(text)]
    bounds = RANGE.fullmatch(text)
    if bounds:
        start, stop = int(bounds[1] or 0), int(bounds[2] or len(names))
    elif text.isdecimal() and len(text) < 10:
        start, stop = int(text), int(text) + 1
    else:
        start = stop = 0
    if not start < stop <= len(names):
        raise SourceError(
            f"{source}: --classes: expected names, numbers from 0 to {len(names) - 1}, or ranges such as 0:2, of the "
            f"classes {listed(names)}; got {text!r}"
        )
    return list(range(start, stop))


def select(images: Images, labels: Sequence[int] | None, limit: int | None) -> Images:
    """Return the images of some classes, and of each class at most ``limit``, the first ones.

    Parameters
    ----------
    images
        The images.
    labels
        The labels of the classes to keep, ascending, which become 0, 1, …; None for all.
    limit
        Images per class; None for all.

    Raises
    ------
    SourceError
        If no image is left.
    """
    kept = list(range(len(images.class_names))) if labels is None else list(labels)
    new = np.full(len(images.class_names), -1, np.int64)
    new[kept] = np.arange(len(kept))
    relabelled = new[images.labels]
    is_kept = relabelled >= 0
    if limit is not None:
        is_kept &= numbers_in_class(images.labels) < limit
    rows = np.flatnonzero(is_kept)
    if not len(rows):
        raise SourceError(f"{images.provenance.name}: --classes: none of the images is of these classes; name others")
    names = tuple(images.class_names[label] for label in kept)
    if isinstance(images, LabeledImages):
        return replace(images.take(rows), labels=relabelled[rows], class_names=names)
    others = {name: labels.take(rows) for name, labels in images.other_labels.items()}
    stream = as_stream(images)
    starts = np.cumsum([0, *map(len, stream.blocks)])
    bounds = np.searchsorted(rows, starts).tolist()
    blocks = tuple(
        PartOfBlock(block, rows[first:last] - start)
        for block, start, (first, last) in zip(stream.blocks, starts.tolist(), pairwise(bounds), strict=False)
        if first < last
    )
    return replace(stream, blocks=blocks, labels=relabelled[rows], class_names=names, other_labels=others)


def as_stream(images: Images) -> Stream:
    """Return images that are not in memory, typed as the stream that they are."""
    assert isinstance(images, Stream)  # noqa: S101 (there are no other images)
    return images


def rename(images: Images, names: tuple[str, ...]) -> Images:
    """Return the images with labels for other class names, among which their own are.

    Unpacked on another system, a name may have other bytes: é as one character or as two.
    """
    place = {normalize("NFC", name): label for label, name in enumerate(names)}
    labels = np.array([place[normalize("NFC", name)] for name in images.class_names], np.int64)[images.labels]
    return replace(images, labels=labels, class_names=names)  # type: ignore[type-var]


def convert(images: Images, conversion: Conversion) -> Images:
    """Return images, whose format has no image files, converted."""
    if isinstance(images, LabeledImages):
        parts = images.map_batches(lambda rows, pixels: conversion.apply_to_pixels(pixels))
        return images.with_pixels(np.concatenate(list(parts)))
    stream = as_stream(images)
    blocks = tuple(ConvertedBlock(block, conversion) for block in stream.blocks)
    return replace(stream, blocks=blocks, size=conversion.shape(*stream.size))
