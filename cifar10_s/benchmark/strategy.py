"""Strategy: what is done to training images, once or in each batch, beyond crop and flip."""

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cifar10_s.adversary import Adversary
from cifar10_s.errors import Cifar10SError, UsageError, printable
from cifar10_s.images import LabeledImages

# (B, H, W, C) float levels 0-255 and (B, K) target probabilities, on the device, and chance → the same, changed.
Augmentation = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]
# All training images, the clean ones where `Strategy.needs_clean` (else None), and chance → the images to train on.
Preparation = Callable[[LabeledImages, LabeledImages | None, np.random.Generator], LabeledImages]
# How the two are called, for errors.
AUGMENT, PREPARE = "(levels, targets, random) → (levels, targets)", "(images, clean, random) → images"
# How far from 1 the probabilities of an image may sum: those of half precision come near.
ROUNDING = 0.01


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
        result = self._call("prepare", PREPARE, images, clean, random)
        if not isinstance(result, LabeledImages) or result.pixels.shape[1:] != images.pixels.shape[1:]:
            raise UsageError(
                f"strategy {self.name!r}: `prepare` is to give LabeledImages of shape (N, "
                f"{', '.join(map(str, images.pixels.shape[1:]))}), got {_describe(getattr(result, 'pixels', result))}"
            )
        if result.class_names != images.class_names:
            raise UsageError(
                f"strategy {self.name!r}: `prepare` is to give images of the same classes, "
                f"{', '.join(images.class_names)}, got {', '.join(map(str, result.class_names))}"
            )
        return result

    def augmented(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Give a batch after one draw of ``augment``, if there is one, of the type and on the device that it had.

        Raises
        ------
        UsageError
            Where ``augment`` cannot do it, or gives something else than such a batch.
        """
        if self.augment is None:
            return levels, targets
        result = self._call("augment", AUGMENT, levels, targets, random)
        wanted = [part.shape for part in (levels, targets)]
        if not isinstance(result, tuple) or [_shape(part) for part in result] != wanted:
            raise UsageError(
                f"strategy {self.name!r}: `augment` is to give levels and targets, tensors of torch of shapes "
                f"{' and '.join(str(tuple(shape)) for shape in wanted)}, got {_describe(result)}"
            )
        if not result[1].is_floating_point():
            raise UsageError(
                f"strategy {self.name!r}: `augment` is to give targets as {targets.dtype} probabilities, got "
                f"{result[1].dtype}"
            )
        return result[0].to(levels), result[1].to(targets)

    def check_targets(self, targets: Tensor) -> None:
        """Refuse targets that are no probabilities; where they are on a GPU, looking at them waits for it.

        Raises
        ------
        UsageError
            Where one is negative, or those of an image do not sum to 1.
        """
        least, sums = float(targets.min()), targets.sum(1)
        if not (least >= 0 and bool(((sums - 1).abs() <= ROUNDING).all())):
            raise UsageError(
                f"strategy {self.name!r}: `augment` is to give targets that are probabilities: expected none below 0 "
                f"and a sum of 1 for each image, got {least:.3g} for the least, and sums from {float(sums.min()):.3g} "
                f"to {float(sums.max()):.3g}"
            )

    def _call(self, part: str, signature: str, *arguments: Any) -> Any:
        """Call a part of the strategy, which can be a user's own: what goes wrong there becomes one line."""
        try:
            return getattr(self, part)(*arguments)
        except (Cifar10SError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a user's function can raise anything
            said = printable(": ".join(filter(None, [type(error).__name__, str(error)])))
            raise UsageError(
                f"strategy {self.name!r}: `{part}` raised {said}{_place(error)}: expected a function {signature}"
            ) from error


def _place(error: Exception) -> str:
    """Say where in the called function an error came about, if it has lines of Python."""
    inside = traceback.extract_tb(error.__traceback__)[1:2]
    return "".join(f" ({frame.filename}, line {frame.lineno})" for frame in inside)


def _shape(part: object) -> torch.Size | None:
    return part.shape if isinstance(part, Tensor) else None


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
