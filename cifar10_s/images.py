"""Images: what every other part of the package takes and gives. `LabeledImages` are those in memory."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.parallel import chunks, thread_map
from cifar10_s.provenance import Provenance

Result = TypeVar("Result")
ImagesT = TypeVar("ImagesT", bound="Images")
# Which of the images: consecutive ones, or those of these numbers, ascending.
Rows = slice | NDArray[np.int64]
# Some images' pixels, (n, H, W, C) uint8, which it leaves as they are → other pixels of the same shape.
Change = Callable[[Rows, NDArray[np.uint8]], NDArray[np.uint8]]

# What a task takes at a time: at most so many images, and about so many bytes of pixels.
PART_IMAGES, PART_BYTES = 1_000, 4 << 20
# The clean images, perturbed ones, and those with a pixel on them are in memory at once.
COPIES = 3


class PixelDigest:
    """SHA-256 of shape, dtype, labels and raw pixels; it depends on no encoder and no library.

    The hash of the ASCII line ``uint8 N H W C``, a newline, the labels as little-endian int64, and the
    pixels in C order. Pixels may be given in pieces.
    """

    def __init__(self, shape: Sequence[int], labels: NDArray[np.int64]) -> None:
        self._hash = hashlib.sha256(f"uint8 {' '.join(map(str, shape))}\n".encode())
        self._hash.update(labels.astype("<i8").tobytes())

    def update(self, pixels: NDArray[np.uint8]) -> None:
        """Add the next images."""
        self._hash.update(np.ascontiguousarray(pixels).data)

    def hexdigest(self) -> str:
        """Give the digest, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def to_uint8(levels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Turn levels into pixels: rounded to nearest (halves to even), clipped to 0-255.

    The one place where this is done: truncating instead would darken every noise by half a level.
    """
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def numbers(rows: Rows) -> NDArray[np.int64]:
    """Give the numbers of some images, (n,)."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def part_size(shape: Sequence[int]) -> int:
    """Give how many images of a shape (H, W, C) one task takes."""
    return max(1, min(PART_IMAGES, PART_BYTES // math.prod(shape)))


class Images(ABC):
    """Images of one size with their class labels, wherever the pixels are.

    Attributes
    ----------
    labels : (N,) int64, each from 0 to K - 1
    class_names : the K names, in order of label
    provenance : where the images came from
    """

    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """Give (N, H, W, C)."""

    @abstractmethod
    def map(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        wanted: NDArray[np.bool_] | None = None,
        what: str = "",
    ) -> Iterator[Result]:
        """Apply a function to parts of the images, on all cores; the results come in order.

        Parameters
        ----------
        function
            Is given which images they are, and their pixels, (n, H, W, C) uint8, which it must leave as they are.
        wanted : (N,) bool
            Marks the images that are read; all by default.
        what
            What a progress bar says, where reading takes time; none by default.
        """

    @abstractmethod
    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """Give some images' pixels, (n, H, W, C) uint8, to be left as they are."""

    @abstractmethod
    def derive(self, change: Change) -> Self:
        """Give images whose pixels are changed, part by part; the rest stays as it is."""

    def map_beside(
        self,
        before: "Images",
        function: Callable[[Rows, NDArray[np.uint8], NDArray[np.uint8]], Result],
        *,
        what: str = "",
    ) -> Iterator[Result]:
        """Do as `map` does, with a function that is given the same images of others too: rows, before, these."""
        return self.map(lambda rows, after: function(rows, before.read(rows), after), what=what)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def _digest(self) -> str:
        digest = PixelDigest(self.shape, self.labels)
        for pixels in self.map(lambda rows, pixels: pixels, what="hash"):
            digest.update(pixels)
        return digest.hexdigest()

    def digest(self) -> str:
        """Give the pixel digest (see `PixelDigest`): the identity that a scientist cites."""
        return self._digest

    def take(self, rows: Rows) -> "LabeledImages":
        """Give some of the images, in memory."""
        return LabeledImages(self.read(rows), self.labels[rows], self.class_names, self.provenance)

    def load(self) -> "LabeledImages":
        """Give all images, in memory.

        Raises
        ------
        SourceError
            Where there is no room for them.
        """
        return self.take(slice(0, len(self)))

    def kept(self, memory: int) -> "Images":
        """Give these images in memory where so many bytes have room for them and what is made of them, else these."""
        return self.load() if COPIES * math.prod(self.shape) <= memory else self


@dataclass(frozen=True, eq=False)
class LabeledImages(Images):
    """Images in memory.

    Parameters
    ----------
    pixels : (N, H, W, C) uint8, levels 0-255, C from 1 to 4; not to be changed from then on
    labels : (N,) int64, each from 0 to K - 1
    class_names : the K names, in order of label
    provenance : where the images came from

    Raises
    ------
    UsageError
        Where shapes, types or labels are not as above.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not 1 <= shape[-1] <= 4 or 0 in shape:
            raise UsageError(
                f"pixels: expected uint8 of shape (N, H, W, C) with C from 1 to 4 and no size 0, "
                f"got {self.pixels.dtype} of shape {shape}"
            )
        check_labels(self.labels, shape[0], len(self.class_names))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images.shape`."""
        count, height, width, channels = self.pixels.shape
        return count, height, width, channels

    def map(
        self,
        function: Callable[[Rows, NDArray[np.uint8]], Result],
        *,
        wanted: NDArray[np.bool_] | None = None,
        what: str = "",
    ) -> Iterator[Result]:
        """See `Images.map`."""
        parts: Sequence[Rows] = chunks(len(self), part_size(self.shape[1:]))
        if wanted is not None:
            parts = [numbers(part)[wanted[part]] for part in parts if wanted[part].any()]
        return thread_map(lambda rows: function(rows, self.pixels[rows]), parts)

    def read(self, rows: Rows) -> NDArray[np.uint8]:
        """See `Images.read`."""
        return self.pixels[rows]

    def derive(self, change: Change) -> Self:
        """See `Images.derive`; they are made at once."""
        pixels = np.empty(self.shape, np.uint8)

        def put(rows: Rows, before: NDArray[np.uint8]) -> None:
            pixels[rows] = change(rows, before)

        for _ in self.map(put):
            pass
        return self.with_pixels(pixels)

    def load(self) -> "LabeledImages":
        """Give these images."""
        return self

    def with_pixels(self, pixels: NDArray[np.uint8]) -> Self:
        """Give the same labels, names and provenance with other pixels."""
        return replace(self, pixels=pixels)


def check_labels(labels: NDArray[np.int64], images: int, classes: int) -> None:
    """Check that there are images, a label for each, and a class for each label.

    Raises
    ------
    UsageError
        Where there is not.
    """
    if labels.dtype != np.int64 or labels.shape != (images,):
        raise UsageError(
            f"labels: expected int64 of shape ({images},), one an image, got {labels.dtype} of shape {labels.shape}"
        )
    if not images:
        raise UsageError("images: expected at least one image, got none")
    if labels.min() < 0 or labels.max() >= classes:
        wrong = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise UsageError(
            f"labels: image {wrong} has label {labels[wrong]}, "
            f"expected 0 to {classes - 1}, one for each of the {classes} class names"
        )
