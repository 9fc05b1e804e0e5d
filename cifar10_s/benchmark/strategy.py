"""Strategy: what is done to training images, once or in each batch, beyond crop and flip."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from torch import Tensor

from cifar10_s.adversary import Adversary
from cifar10_s.errors import UsageError
from cifar10_s.images import LabeledImages

# (B, H, W, C) float levels 0-255 and (B, K) target probabilities, on the device, and chance → the same, changed.
Augmentation = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]
# All training images, the clean ones where `Strategy.needs_clean` (else None), and chance → the images to train on.
Preparation = Callable[[LabeledImages, LabeledImages | None, np.random.Generator], LabeledImages]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to train; crop and flip are always on.

    Attributes
    ----------
    name
        Its name in records and tables.
    summary
        What it does, in one line.
    prepare
        Changes all training images once (a defence), if anything.
    needs_clean
        Whether ``prepare`` is given the clean images; else it is given None.
    augment
        Changes each batch after crop and flip, if anything.
    draws
        Of so many draws of ``augment``, each image takes the one with the largest loss.
    adversary
        Attacks each batch last, if there is one.
    """

    name: str
    summary: str
    prepare: Preparation | None = None
    needs_clean: bool = False
    augment: Augmentation | None = None
    draws: int = 1
    adversary: Adversary | None = None

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UsageError(f"strategy {self.name!r}: draws: expected 1 or more, got {self.draws}")

    def settings(self) -> dict[str, Any]:
        """Give the name and every number, for the record."""
        # Whether it needs clean images shows there by their digest.
        unsaid = ("summary", "needs_clean")
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in unsaid}
        return {name: _settings(part) for name, part in parts.items() if part is not None}

    def prepared(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Give the images to train on.

        Raises
        ------
        UsageError
            Where ``prepare`` cannot do it, or gives something else than such images.
        """
        if self.prepare is None:
            return images
        result: Any = self.prepare(images, clean, random)
        if not isinstance(result, LabeledImages) or result.pixels.shape[1:] != images.pixels.shape[1:]:
            raise UsageError(
                f"strategy {self.name!r}: `prepare` is to give LabeledImages of shape (N, "
                f"{', '.join(map(str, images.pixels.shape[1:]))}), got {_describe(getattr(result, 'pixels', result))}"
            )
        return result

    def augmented(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Give a batch after one draw of ``augment``, if there is one.

        Raises
        ------
        UsageError
            Where ``augment`` cannot do it, or gives something else than such a batch.
        """
        if self.augment is None:
            return levels, targets
        result: Any = self.augment(levels, targets, random)
        wanted = [part.shape for part in (levels, targets)]
        if not isinstance(result, tuple) or [getattr(part, "shape", None) for part in result] != wanted:
            raise UsageError(
                f"strategy {self.name!r}: `augment` is to give levels and targets of shapes "
                f"{' and '.join(str(tuple(shape)) for shape in wanted)}, got {_describe(result)}"
            )
        return result[0], result[1]


def _describe(thing: object) -> str:
    """Name types and shapes, for an error."""
    if isinstance(thing, tuple):
        return f"({', '.join(map(_describe, thing))})"
    shape = getattr(thing, "shape", None)
    return type(thing).__name__ if shape is None else f"{type(thing).__name__} of shape {tuple(shape)}"


def _settings(part: Any) -> Any:
    """Give what a part of a strategy is: numbers as they are, dataclasses by their fields, others by name."""
    if isinstance(part, float) and not math.isfinite(part):
        return str(part)  # JSON has no such numbers
    if part is None or isinstance(part, str | int | float):
        return part
    if isinstance(part, np.generic):
        return _settings(part.item())
    if is_dataclass(part):
        return {
            "is": type(part).__name__,
            **{field.name: _settings(getattr(part, field.name)) for field in fields(part)},
        }
    if isinstance(part, Mapping):
        return {str(key): _settings(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_settings(value) for value in part]
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}:{named.__qualname__}"
