"""Method: the contract of every way to perturb a training set."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.images import Change, Images, LabeledImages, Rows, numbers, to_uint8

# Images whose chance is drawn together; fixed, so that it does not depend on how images are cut into parts.
CHUNK = 500


@dataclass(frozen=True)
class Bound:
    """How far an image's perturbation may go.

    Attributes
    ----------
    linf
        The largest change of any value, in levels 0-255.
    l2
        The Euclidean norm, x in [0, 1], before pixels are rounded; rounding can add half a level a value.
    """

    linf: int = 255
    l2: float = math.inf

    def l2_rounded(self, shape: tuple[int, ...]) -> float:
        """Give the norm that an (H, W, C) image can have once its pixels are rounded."""
        return self.l2 + 0.5 / 255 * math.sqrt(math.prod(shape))


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way to perturb a training set; the fields of the subclasses are the recipe's numbers.

    Labels and order stay as they are, and so does the number of images.

    Attributes
    ----------
    name
        The name of the configuration that it alone makes.
    summary
        What it is, for the card; what stands before a colon is its name.
    """

    name: str
    summary: str

    @abstractmethod
    def bound(self, shape: tuple[int, ...]) -> Bound:
        """Give the bound that each perturbation of an (H, W, C) image keeps."""

    def change(self, images: Images, *, seed: int, device: str) -> Change | None:
        """Give what it does to any part of the images, or None (the default) where it needs all of them in memory.

        It must not depend on how the images are cut into parts.
        """
        return None

    def perturb(self, images: LabeledImages, *, seed: int, device: str) -> NDArray[np.uint8]:
        """Make the perturbed images, (N, H, W, C) uint8, the same for the same seed; by default by its `change`."""
        change = self.change(images, seed=seed, device=device)
        if change is None:
            raise NotImplementedError(f"{type(self).__name__} defines neither `change` nor `perturb`")
        return images.derive(change).pixels

    def settings(self) -> dict[str, Any]:
        """Give the name and every number of the recipe, for the record."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "summary"}
        # As JSON has it, which knows no tuples.
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def adding(noise: Callable[[Rows], NDArray[np.float32]]) -> Change:
    """Give the change that adds noise in levels; ``noise(rows)`` gives that of the images ``rows``, (n, H, W, C)."""
    return lambda rows, pixels: to_uint8(noise(rows) + pixels)


def add_noise(images: LabeledImages, noise: Callable[[Rows], NDArray[np.float32]]) -> NDArray[np.uint8]:
    """Add noise to images in memory, on all cores; see `adding`."""
    return images.derive(adding(noise)).pixels


def by_chunk(rows: Rows, draw: Callable[[int], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Give the rows of what is drawn for whole chunks: ``draw(i)`` is of rows i·CHUNK to (i + 1)·CHUNK."""
    index = numbers(rows)
    parts = [draw(int(chunk))[index[index // CHUNK == chunk] % CHUNK] for chunk in np.unique(index // CHUNK)]
    return np.concatenate(parts)


def scale_to(noise: NDArray[np.floating[Any]], l2: float) -> NDArray[np.float32]:
    """Scale each image's noise to a Euclidean norm given for x in [0, 1]; gives levels."""
    norms = np.sqrt(np.square(noise, dtype=np.float64).sum((1, 2, 3), keepdims=True))
    return np.asarray(noise * (255 * l2 / norms), np.float32)
