"""The interface of every method that perturbs a training set, and what several of them share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.threads import chunks
from cifar10_s.data.images import Images, LabeledImages, Rows, Transform, row_numbers, to_uint8

# Images whose random numbers are drawn together; fixed, so that these do not depend on how images are split.
CHUNK_IMAGES = 500
# Images whose floats, a megabyte if they are of CIFAR-10, are computed together.
PIECE_IMAGES = 100


@dataclass(frozen=True)
class Bound:
    """Bounds on the perturbation of an image.

    Attributes
    ----------
    linf
        Maximum change of any value, in levels 0-255.
    l2
        Maximum ℓ2 norm, x in [0, 1], before rounding; rounding can add half a level per value.
    """

    linf: int = 255
    l2: float = math.inf

    def l2_rounded(self, shape: tuple[int, ...]) -> float:
        """Return the maximum ℓ2 norm for an (H, W, C) image after rounding."""
        return self.l2 + 0.5 / 255 * math.sqrt(math.prod(shape))


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A method that perturbs a training set; the fields of a subclass are the parameters of its recipe.

    The number of images, their order and their labels do not change.

    Attributes
    ----------
    name
        Name of the method, and of the configuration made by it alone.
    summary
        Description for the card; the part before a colon is the method's name.
    draws
        Whether a release records what the method draws for the classes (see `drawn`).
    repeatable
        Whether the images and the recipe alone give the same bits on every machine, and in minutes.
    """

    draws: ClassVar[bool] = False
    repeatable: ClassVar[bool] = True
    name: str
    summary: str

    @abstractmethod
    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Return the bound on the perturbation of an (H, W, C) image."""

    def check(self, images: Images) -> None:  # noqa: B027 (most methods take any images)
        """Raise UsageError if the method cannot perturb these images: they are too small, or have too few classes."""

    def transform(self, images: Images, options: Options) -> Transform | None:
        """Return a function that perturbs any part of the images, or None (the default) if all are needed in memory.

        The result must not depend on how the images are split into parts.
        """
        return None

    def perturb(self, images: LabeledImages, options: Options) -> NDArray[np.uint8]:
        """Return the perturbed images, (N, H, W, C) uint8, the same for the same seed; by default by `transform`."""
        change = self.transform(images, options)
        if change is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither `transform` nor `perturb`")
        return images.with_transform(change).pixels

    def drawn(self, images: Images, options: Options) -> dict[str, Any] | None:
        """Return what the method draws for the classes, as a JSON object for the recipe's record, or None.

        With it, nothing has to be drawn again, and `verify` compares every image with what the method makes of it.
        """
        return None

    def with_drawn(self, drawn: Any) -> Self:
        """Return the method with what `drawn` returned, from an untrusted record, instead of its own draws.

        Raises
        ------
        ValueError
            If it is malformed.
        """
        raise ValueError("drawn: expected no such field")

    def noise_levels(self, images: Images, options: Options) -> NDArray[Any]:
        """Return the noise of a method that is not `repeatable`, in levels: (N, H, W, C), or (K, H, W, C) per class."""
        raise NotImplementedError(f"{self.name}: is repeatable")

    def with_noise_levels(self, levels: NDArray[Any]) -> Self:
        """Return the method with what `noise_levels` returned, instead of making it."""
        raise NotImplementedError(f"{self.name}: is repeatable")

    def settings(self) -> dict[str, Any]:
        """Return the name and all parameters, for the record of the recipe."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "summary"}
        # JSON has lists, but no tuples.
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def adding(noise: Callable[[Rows], NDArray[np.float32]]) -> Transform:
    """Return a transform that adds noise; ``noise(rows)`` returns that of the images ``rows``, (n, H, W, C) levels."""

    def add(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        levels = noise(rows)
        return np.concatenate([to_uint8(levels[part] + pixels[part]) for part in chunks(len(pixels), PIECE_IMAGES)])

    return add


def in_pieces(transform: Transform) -> Transform:
    """Return a transform that does the same to few images at a time, so that what it computes stays in the cache."""

    def change(rows: Rows, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        index = row_numbers(rows)
        return np.concatenate([transform(index[part], pixels[part]) for part in chunks(len(pixels), PIECE_IMAGES)])

    return change


def add_noise(images: LabeledImages, noise: Callable[[Rows], NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Return images in memory with noise added, computed on all cores; see `adding`."""
    return images.with_transform(adding(noise)).pixels


def by_chunk(rows: Rows, draw: Callable[[int, NDArray[np.int64]], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return ``rows`` of noise drawn in chunks of `CHUNK_IMAGES`: ``draw(i, rows)`` returns rows of chunk ``i``."""
    chunks, within = np.divmod(row_numbers(rows), CHUNK_IMAGES)
    return np.concatenate([draw(int(chunk), within[chunks == chunk]) for chunk in np.unique(chunks)])


def scale_to(noise: NDArray[np.floating[Any]], l2: float) -> NDArray[np.float32]:
    """Scale each image's noise to the ℓ2 norm ``l2``, x in [0, 1]; return it in levels."""
    norms = np.sqrt(np.square(noise, dtype=np.float64).sum((1, 2, 3), keepdims=True))
    return np.asarray(noise * (255 * l2 / norms), np.float32)
