"""LabeledImages: what every other part of the package takes and gives."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.errors import UsageError
from cifar10_s.provenance import Provenance


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


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images of one size with their class labels.

    Parameters
    ----------
    pixels : (N, H, W, C) uint8, levels 0-255, C from 1 to 4
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
        shape, count = self.pixels.shape, len(self.class_names)
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4 or not 1 <= shape[-1] <= 4 or 0 in shape:
            raise UsageError(
                f"pixels: expected uint8 of shape (N, H, W, C) with C from 1 to 4 and no size 0, "
                f"got {self.pixels.dtype} of shape {shape}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise UsageError(
                f"labels: expected int64 of shape ({shape[0]},), one an image, "
                f"got {self.labels.dtype} of shape {self.labels.shape}"
            )
        if self.labels.min() < 0 or self.labels.max() >= count:
            wrong = int(np.flatnonzero((self.labels < 0) | (self.labels >= count))[0])
            raise UsageError(
                f"labels: image {wrong} has label {self.labels[wrong]}, "
                f"expected 0 to {count - 1}, one for each of the {count} class names"
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def _digest(self) -> str:
        digest = PixelDigest(self.pixels.shape, self.labels)
        digest.update(self.pixels)
        return digest.hexdigest()

    def digest(self) -> str:
        """Give the pixel digest (see `PixelDigest`): the identity that a scientist cites."""
        return self._digest

    def with_pixels(self, pixels: NDArray[np.uint8]) -> "LabeledImages":
        """Give the same labels, names and provenance with other pixels."""
        return replace(self, pixels=pixels)
