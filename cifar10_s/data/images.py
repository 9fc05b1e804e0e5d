"""Labelled images of one size: the interface `Images`, and `LabeledImages` in memory."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.checksums import hash_bytes
from cifar10_s.common.threads import chunks, thread_map
from cifar10_s.data.provenance import Provenance
from cifar10_s.errors import UsageError

if TYPE_CHECKING:
    import PIL.Image

    from cifar10_s.data.torch_dataset import ImageDataset

Result = TypeVar("Result")
ImagesT = TypeVar("ImagesT", bound="Images")
# Consecutive images, or ascending row numbers.
Rows = slice | NDArray[np.int64]
# Takes rows and their pixels, (n, H, W, C) uint8, which it must not change; returns new pixels of the same shape.
Transform = Callable[[Rows, NDArray[np.uint8]], NDArray[np.uint8]]

# The most images that a task processes at a time, and the most bytes of their pixels.
MAX_PART_IMAGES, MAX_PART_BYTES = 1_000, 4 << 20
# Clean images, perturbed images, and perturbed images with a shortcut are in memory at once.
COPIES_IN_MEMORY = 3


class PixelDigest:
    """SHA-256 of shape, dtype, labels and raw pixels; independent of any encoder or library.

    The hash of the ASCII line ``uint8 N H W C``, a newline, the labels as little-endian int64, and the
    pixels in C order. Pixels may be added in parts.
    """

    def __init__(self, shape: Sequence[int], labels: NDArray[np.int64]) -> None:
        self._hash = hashlib.sha256(f"uint8 {' '.join(map(str, shape))}\n".encode())
        self._hash.update(labels.astype("<i8").tobytes())

    def update(self, pixels: NDArray[np.uint8]) -> None:
        """Add the pixels of the next images."""
        self._hash.update(np.ascontiguousarray(pixels).data)

    def hexdigest(self) -> str:
        """Return the digest, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def to_uint8(levels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Round levels to nearest (halves to even) and clip them to 0-255.

    The only function that turns levels into pixels: truncation would darken all noise by half a level.
    """
    rounded = np.rint(levels)
    return np.asarray(np.clip(rounded, 0, 255, out=rounded), np.uint8)


def row_numbers(rows: Rows) -> NDArray[np.int64]:
    """Return the row numbers of some images, (n,)."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def part_size(shape: Sequence[int], max_images: int = MAX_PART_IMAGES) -> int:
    """Return the number of images of shape (H, W, C) that a task processes at a time."""
    return max(1, min(max_images, MAX_PART_BYTES // math.prod(shape)))


def split_rows(total: int, size: int, mask: NDArray[np.bool_] | None = None) -> list[Rows]:
    """Split ``total`` rows into parts of at most ``size``, of which a mask keeps some; no part is empty."""
    parts = chunks(total, size)
    if mask is None:
        return list(parts)
    return [row_numbers(part)[mask[part]] for part in parts if mask[part].any()]


@dataclass(frozen=True, eq=False)
class OtherLabels:
    """Labels of another kind, such as the coarse ones of CIFAR-100: (N,) int64, and their names if they have names."""

    values: NDArray[np.int64]
    names: tuple[str, ...] | None = None

    def take(self, rows: Rows) -> "OtherLabels":
        """Return the labels of some images."""
        return replace(self, values=self.values[rows])


class Images(ABC):
    """Images of one size with their class labels, in memory or elsewhere.

    Attributes
    ----------
    labels : (N,) int64, each from 0 to K - 1
    class_names : the K names, in order of label
    provenance : where the images came from
    other_labels : labels of other kinds, by the name of their column; they are passed on, and not in the pixel digest
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance
    other_labels: Mapping[str, OtherLabels]

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """Return (N, H, W, C)."""

    @abstractmethod
    def map_batches(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        mask: NDArray[np.bool_] | None = None,
        desc: str = "",
    ) -> Iterator[Result]:
        """Apply a function to parts of the images, on all cores, and yield the results in order.

        Parameters
        ----------
        function
            Called with rows and their pixels, (n, H, W, C) uint8, which it must not change.
        mask : (N,) bool
            The images to read; all by default.
        desc
            The description of a progress bar, shown if the images are not in memory; no bar by default.
        """

    @abstractmethod
    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """Return the pixels of some images, (n, H, W, C) uint8, which must not be changed."""

    @abstractmethod
    def with_transform(self, transform: Transform) -> Self:
        """Return images whose pixels a function transforms, part by part; all else stays the same."""

    def map_pairs(
        self,
        before: "Images",
        function: Callable[[Rows, NDArray[np.uint8], NDArray[np.uint8]], Result],
        *,
        desc: str = "",
    ) -> Iterator[Result]:
        """Apply a function to rows, their pixels in ``before``, and their pixels in these images; see `map_batches`."""
        return self.map_batches(lambda rows, after: function(rows, before.read(rows), after), desc=desc)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        """Return kind, size and origin on one line, such as ``LabeledImages(50000×32×32×3, 10 classes, CIFAR-10)``."""
        shape = "×".join(map(str, self.shape))
        return f"{type(self).__name__}({shape}, {len(self.class_names)} classes, {self.provenance.title})"

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], int]:
        """Return the pixels of an image, (H, W, C) uint8, and its label.

        Raises
        ------
        IndexError
            If there is no image of this number.
        """
        row = range(len(self))[number]
        return self.read(slice(row, row + 1))[0], int(self.labels[row])

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        """Yield the pixels and the label of each image, read in parts."""
        for rows, pixels in self.map_batches(lambda rows, pixels: (rows, pixels)):
            yield from zip(pixels, self.labels[rows].tolist(), strict=True)

    @cached_property
    def _digest(self) -> str:
        digest = PixelDigest(self.shape, self.labels)
        for pixels in self.map_batches(lambda rows, pixels: pixels, desc="hash"):
            digest.update(pixels)
        return digest.hexdigest()

    @cached_property
    def _kept(self) -> dict[type, Any]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to copy or pickle: all but the kept results."""
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}

    def keep(self, result: Result) -> Result:
        """Keep a result that was computed from these images as long as they live, one per type; return the kept one."""
        kept: Result = self._kept.setdefault(type(result), result)
        return kept

    def kept(self, kind: type[Result]) -> Result | None:
        """Return the result of a type that is kept with these images, or None."""
        return self._kept.get(kind)

    def digest(self) -> str:
        """Return the pixel digest (see `PixelDigest`), which identifies the images."""
        return self._digest

    def take(self, rows: Rows) -> "LabeledImages":
        """Return some of the images, in memory."""
        others = {name: labels.take(rows) for name, labels in self.other_labels.items()}
        return LabeledImages(self.read(rows), self.labels[rows], self.class_names, self.provenance, others)

    def first_per_class(self, count: int | None) -> "LabeledImages":
        """Return the first images of each class, at most ``count`` (None for all), in memory and in their order.

        Examples
        --------
        >>> images = LabeledImages(np.zeros((4, 1, 1, 3), np.uint8), np.array([0, 0, 1, 0]), ("cat", "dog"))
        >>> images.first_per_class(2).labels.tolist()
        [0, 0, 1]
        """
        return self.load() if count is None else self.take(np.flatnonzero(numbers_in_class(self.labels) < count))

    def load(self) -> "LabeledImages":
        """Return all images, in memory.

        Raises
        ------
        SourceError
            If they do not fit into memory.
        """
        return self.take(slice(0, len(self)))

    def to_torch(self, transform: Callable[["PIL.Image.Image"], Any] | None = None) -> "ImageDataset":
        """Load the images as a map-style dataset for PyTorch; see `ImageDataset`."""
        from cifar10_s.data.torch_dataset import ImageDataset

        images = self.load()
        return ImageDataset(images.pixels, images.labels, images.class_names, transform)

    def load_if_fits(self, memory: int) -> "Images":
        """Load the images if `COPIES_IN_MEMORY` copies fit into ``memory`` bytes; otherwise return them as they are."""
        return self.load() if COPIES_IN_MEMORY * math.prod(self.shape) <= memory else self


@dataclass(frozen=True, eq=False, repr=False)
class LabeledImages(Images):
    """Images in memory.

    Parameters
    ----------
    pixels : (N, H, W, C) uint8, levels 0-255, C from 1 to 4; must not be changed afterwards
    labels : (N,) int64, each from 0 to K - 1
    class_names : the K names, in order of label
    provenance : where the images came from
    other_labels : labels of other kinds, by the name of their column

    Raises
    ------
    UsageError
        If shapes, types or labels are not as above.

    Examples
    --------
    >>> import cifar10_s
    >>> import numpy as np
    >>> pixels = np.zeros((2, 32, 32, 3), np.uint8)
    >>> images = cifar10_s.LabeledImages(pixels, np.array([0, 1]), ("cat", "dog"))
    >>> images
    LabeledImages(2×32×32×3, 2 classes, an array in memory)
    >>> pixels, label = images[1]
    >>> pixels.shape, label
    ((32, 32, 3), 1)
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance = field(default_factory=Provenance)
    other_labels: Mapping[str, OtherLabels] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not 1 <= shape[-1] <= 4 or 0 in shape:
            raise UsageError(
                f"pixels: expected uint8 of shape (N, H, W, C) with C from 1 to 4 and no size 0, "
                f"got {self.pixels.dtype} of shape {shape}"
            )
        object.__setattr__(self, "class_names", tuple(self.class_names))
        check_labels(self.labels, shape[0], len(self.class_names))

    def _repr_html_(self) -> str:
        """Return thumbnails of the first images per class, for notebooks; a stamped shortcut's pixels are ringed."""
        from cifar10_s.data.thumbnails import Rings, thumbnails

        return thumbnails(repr(self), self.pixels, self.labels, self.class_names, self.kept(Rings))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images.shape`."""
        count, height, width, channels = self.pixels.shape
        return count, height, width, channels

    def map_batches(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        mask: NDArray[np.bool_] | None = None,
        desc: str = "",
    ) -> Iterator[Result]:
        """See `Images.map_batches`."""
        parts = split_rows(len(self), part_size(self.shape[1:]), mask)
        return thread_map(lambda rows: function(rows, self.pixels[rows]), parts)

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """See `Images.read`."""
        return self.pixels[rows]

    def with_transform(self, transform: Transform) -> Self:
        """See `Images.with_transform`; all pixels are computed at once."""
        pixels = np.empty(self.shape, np.uint8)

        def put(rows: Rows, before: NDArray[np.uint8]) -> None:
            pixels[rows] = transform(rows, before)

        for _ in self.map_batches(put):
            pass
        return self.with_pixels(pixels)

    def load(self) -> "LabeledImages":
        """Return these images."""
        return self

    def with_pixels(self, pixels: NDArray[np.uint8]) -> Self:
        """Return the same labels, names and provenance with other pixels."""
        return replace(self, pixels=pixels)


def numbers_in_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each image among those of its class, from 0."""
    order = np.argsort(labels, kind="stable")
    ordered = labels[order]
    numbers = np.empty(len(labels), np.int64)
    numbers[order] = np.arange(len(labels)) - np.searchsorted(ordered, ordered)
    return numbers


def values_sha256(values: NDArray[np.int64]) -> str:
    """Return the SHA-256 of whole numbers as little-endian int64."""
    return hash_bytes(values.astype("<i8").tobytes())


def check_labels(labels: NDArray[np.int64], images: int, classes: int) -> None:
    """Check that there are images, a label for each, and a class for each label.

    Raises
    ------
    UsageError
        If there are none, or labels are of another type or number, or out of range.
    """
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise UsageError(
            f"labels: expected int64 of shape ({images},), one per image, got {labels.dtype} of shape {labels.shape}"
        )
    if not images:
        raise UsageError("images: expected at least one image, got none")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise UsageError(
            f"labels: image {wrong} has label {labels[wrong]}, "
            f"expected 0 to {classes - 1}, one for each of the {classes} class names"
        )
