"""What a training strategy is: changes of the training images beyond crop and flip, an adversary, a last layer."""

import math
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cifar10_s.benchmark.strategies.d_vae import DVae
from cifar10_s.benchmark.strategies.last_layer import LastLayer
from cifar10_s.benchmark.strategies.simclr import SimClr
from cifar10_s.data.images import LabeledImages
from cifar10_s.errors import Cifar10SError, UsageError, one_line
from cifar10_s.nn.pgd import Adversary

# Takes (B, H, W, C) float levels 0-255 and (B, K) target probabilities, on the device, and a random generator; returns
# new levels and targets.
Augmentation = Callable[[Tensor, Tensor, np.random.Generator], tuple[Tensor, Tensor]]
# Takes all training images, the clean ones (None unless `Strategy.needs_clean`) and a random generator; returns the
# images to train on.
Preparation = Callable[[LabeledImages, LabeledImages | None, np.random.Generator], LabeledImages]
# The signatures of the two in error messages.
AUGMENT_SIGNATURE = "(levels, targets, random) → (levels, targets)"
PREPARE_SIGNATURE = "(images, clean, random) → images"
# What fits `before` to images, and its signature in error messages.
FITTED, FITTED_SIGNATURE = "before.fitted", "(images, random) → (levels, targets, random) → (levels, targets)"
# How far the sum of an image's target probabilities may be from 1; in half precision it is not exact.
MAX_SUM_ERROR = 0.01


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A training strategy, in addition to crop and flip.

    Attributes
    ----------
    name
        The name in records and tables.
    summary
        What it does, in one line.
    prepare
        Changes all training images once (a defence); None for no change.
    needs_clean
        Whether ``prepare`` gets the clean images; otherwise it gets None.
    augment
        Changes each batch after crop and flip; None for no change.
    draws
        The number of draws of ``augment``; each image keeps the one with the largest loss.
    adversary
        Attacks each batch after that; None for no attack.
    attack_first
        Whether the adversary comes before ``augment`` instead.
    before
        Changes each batch before crop and flip, as ``augment`` does after it; None for no change. If it has a method
        ``fitted(images, random)``, that is called once, with the training images, and returns what changes the batches.
    refit
        Trains the network's last layer anew after the last epoch, on clean images; None for no change.
    pretrain
        Trains the network on the images without their labels, before the first epoch; None for no change.
    probe
        Whether only the classifier, the last linear layer, is trained in the epochs.
    purify
        Purifies all training images, after ``prepare``, by networks that it trains on them; None for no change.
    """

    name: str
    summary: str
    prepare: Preparation | None = None
    needs_clean: bool = False
    augment: Augmentation | None = None
    draws: int = 1
    adversary: Adversary | None = None
    attack_first: bool = False
    before: Augmentation | None = None
    refit: LastLayer | None = None
    pretrain: SimClr | None = None
    probe: bool = False
    purify: DVae | None = None

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise UsageError(f"strategy {self.name!r}: draws: expected 1 or more, got {self.draws}")
        if self.refit is not None and not self.needs_clean:
            raise UsageError(f"strategy {self.name!r}: expected needs_clean=True, which `refit` takes, got False")

    def settings(self) -> dict[str, Any]:
        """Return the name and all numbers, for the record."""
        # Instead of `needs_clean`, a record has the digest of the clean images. Parts that a strategy lacks are left
        # out: those that were added later did not change the ids of earlier runs.
        unrecorded = ("summary", "needs_clean")
        parts = {part.name: getattr(self, part.name) for part in fields(self) if part.name not in unrecorded}
        return {name: _settings(part) for name, part in parts.items() if part is not None and part is not False}

    def prepared(
        self, images: LabeledImages, clean: LabeledImages | None, random: np.random.Generator
    ) -> LabeledImages:
        """Return the images to train on.

        Raises
        ------
        UsageError
            If ``prepare`` raises, or returns anything but such images.
        """
        if self.prepare is None:
            return images
        result = self._call("prepare", PREPARE_SIGNATURE, images, clean, random)
        if not isinstance(result, LabeledImages) or result.pixels.shape[1:] != images.pixels.shape[1:]:
            raise UsageError(
                f"strategy {self.name!r}: expected LabeledImages of shape (N, "
                f"{', '.join(map(str, images.pixels.shape[1:]))}) from `prepare`, got "
                f"{_describe(getattr(result, 'pixels', result))}"
            )
        if result.class_names != images.class_names:
            raise UsageError(
                f"strategy {self.name!r}: expected images of the same classes from `prepare`, "
                f"{', '.join(images.class_names)}, got {', '.join(map(str, result.class_names))}"
            )
        return result

    def fitted(self, images: LabeledImages, random: np.random.Generator) -> "Strategy":
        """Return the strategy with a ``before`` that is fitted to the training images, if it can be.

        Raises
        ------
        UsageError
            If ``fitted`` raises.
        """
        if not hasattr(self.before, "fitted"):
            return self
        return replace(self, before=self._call(FITTED, FITTED_SIGNATURE, images, random))

    def changed_before(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch after ``before``; see `augmented`."""
        return self._changed("before", levels, targets, random)

    def augmented(self, levels: Tensor, targets: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a batch after one draw of ``augment``, with the same dtypes and devices.

        Raises
        ------
        UsageError
            If ``augment`` raises, or returns anything but such a batch.
        """
        return self._changed("augment", levels, targets, random)

    def _changed(
        self, part: str, levels: Tensor, targets: Tensor, random: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Call ``before`` or ``augment``, if the strategy has it, and check what it returns."""
        if getattr(self, part) is None:
            return levels, targets
        result = self._call(part, AUGMENT_SIGNATURE, levels, targets, random)
        shapes = [tensor.shape for tensor in (levels, targets)]
        if not isinstance(result, tuple) or [_shape(tensor) for tensor in result] != shapes:
            raise UsageError(
                f"strategy {self.name!r}: expected levels and targets from `{part}`, torch tensors of shapes "
                f"{' and '.join(str(tuple(shape)) for shape in shapes)}, got {_describe(result)}"
            )
        if not result[1].is_floating_point():
            raise UsageError(
                f"strategy {self.name!r}: expected targets as {targets.dtype} probabilities from `{part}`, got "
                f"{result[1].dtype}"
            )
        return result[0].to(levels), result[1].to(targets)

    def check_targets(self, targets: Tensor) -> None:
        """Check that targets are probabilities; if they are on a GPU, this waits for it.

        Raises
        ------
        UsageError
            If one is negative, or those of an image do not sum to 1.
        """
        least, sums = float(targets.min()), targets.sum(1)
        if not (least >= 0 and bool(((sums - 1).abs() <= MAX_SUM_ERROR).all())):
            raise UsageError(
                f"strategy {self.name!r}: expected targets from `augment` that are probabilities, none below 0 and "
                f"with sum 1 per image, got a least one of {least:.3g}, and sums from {float(sums.min()):.3g} to "
                f"{float(sums.max()):.3g}"
            )

    def _call(self, part: str, signature: str, *arguments: Any) -> Any:
        """Call a part of the strategy; since it may be a user's function, whatever it raises becomes one line."""
        try:
            return attrgetter(part)(self)(*arguments)
        except (Cifar10SError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a user's function can raise anything
            reason = one_line(error)
            raise UsageError(
                f"strategy {self.name!r}: `{part}` raised {reason}{_place(error)}: expected a function {signature}"
            ) from error


def _place(error: Exception) -> str:
    """Return where in the called function an error was raised, if the function is written in Python."""
    inside = traceback.extract_tb(error.__traceback__)[1:2]
    return "".join(f" ({frame.filename}, line {frame.lineno})" for frame in inside)


def _shape(part: object) -> torch.Size | None:
    return part.shape if isinstance(part, Tensor) else None


def _describe(value: object) -> str:
    """Return types and shapes, for an error message."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_describe, value))})"
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"


def _settings(part: Any) -> Any:
    """Return a part of a strategy as JSON values: dataclasses by their fields, functions and other objects by name."""
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
