"""The table of strategies, and finding one by its name or by the path of a user's own."""

import re
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from cifar10_s.adversary import Adversary
from cifar10_s.benchmark.augmentations import CutMix, Cutout, Mixup, RandAugment, UEraser
from cifar10_s.benchmark.defences import BitDepth, GaussianBlur, Grayscale, Jpeg, Median
from cifar10_s.benchmark.dilution import Dilution
from cifar10_s.benchmark.projection import OrthogonalProjection
from cifar10_s.benchmark.strategy import AUGMENT, Strategy
from cifar10_s.errors import UsageError, unknown

__all__ = ["PLAIN", "STRATEGIES", "Adversary", "Strategy", "clean_images", "find"]

# Crop and flip alone.
PLAIN = "standard"


def _by_name(*strategies: Strategy) -> dict[str, Strategy]:
    return {strategy.name: strategy for strategy in strategies}


def _dilution(count: int) -> Strategy:
    return Strategy(
        name=f"dilution-{count}", summary=f"{count} images are clean", prepare=Dilution(count=count), needs_clean=True
    )


_STANDARD = _by_name(
    Strategy(name=PLAIN, summary="crop and flip alone"),
    Strategy(name="mixup", summary="mixup, Beta(1, 1)", augment=Mixup()),
    Strategy(name="cutmix", summary="CutMix, Beta(1, 1)", augment=CutMix()),
    Strategy(name="cutout", summary="Cutout, a hole of half the image's sides", augment=Cutout()),
    Strategy(name="randaugment", summary="RandAugment, N = 2, M = 9 of 30", augment=RandAugment()),
)
_AT = Strategy(name="at", summary="adversarial training, PGD-10 within 8/255", adversary=Adversary())
_DEFENCES = _by_name(
    Strategy(name="grayscale", summary="all channels become the image's grey", prepare=Grayscale()),
    Strategy(name="jpeg-10", summary="JPEG of quality 10", prepare=Jpeg(quality=10)),
    Strategy(name="bit-depth-2", summary="the upper 2 of 8 bits", prepare=BitDepth(bits=2)),
    Strategy(name="median-3", summary="median of 3×3 pixels", prepare=Median(size=3)),
    Strategy(name="gaussian-blur-3", summary="Gaussian blur of 3×3 pixels", prepare=GaussianBlur(size=3)),
    Strategy(name="ueraser", summary="UEraser: plasma, shuffled channels, TrivialAugment", augment=UEraser()),
    Strategy(name="ueraser-max", summary="UEraser, the hardest of 5 draws", augment=UEraser(), draws=5),
    Strategy(
        name="orthogonal-projection",
        summary="what a linear classifier sees is taken out",
        prepare=OrthogonalProjection(),
    ),
    *(_dilution(count) for count in (100, 500, 1000, 5000)),
)
STRATEGIES: dict[str, Strategy] = {
    **_STANDARD,
    **_by_name(_AT),
    **_by_name(
        *(
            replace(_AT, name=f"at-{plain.name}", summary=f"{_AT.summary}; {plain.summary}", augment=plain.augment)
            for plain in _STANDARD.values()
            if plain.augment is not None
        )
    ),
    **_DEFENCES,
}


def find(name: str) -> Strategy:
    """Look up a strategy: a name of `STRATEGIES`, ``dilution-K``, or a user's own as ``package.module:name``.

    The last is a `Strategy` or an `Augmentation`, in a module that is installed or in the current folder. Records
    know it by this path: what is changed but not renamed is taken for done.

    Raises
    ------
    UsageError
        Where there is none.
    """
    if name in STRATEGIES:
        return STRATEGIES[name]
    if count := clean_images(name):
        return _dilution(count)
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise unknown("strategy", name, [*STRATEGIES, "dilution-K for any K from 1", "your own as package.module:name"])
    found = _load(name, module, attribute)
    if isinstance(found, Strategy):
        return replace(found, name=name)
    if callable(found) and not isinstance(found, type):
        return Strategy(name=name, summary="a user's own augmentation", augment=found)
    raise UsageError(
        f"strategy {name!r}: expected a Strategy or a function {AUGMENT}, "
        f"got {'the class ' + found.__name__ if isinstance(found, type) else type(found).__name__}"
    )


def clean_images(name: str) -> int | None:
    """Tell how many training images a strategy leaves clean and alone: none is standard; None for all others."""
    found = re.fullmatch(r"dilution-([1-9][0-9]*)", name)
    return int(found[1]) if found else 0 if name == PLAIN else None


def _load(name: str, module: str, attribute: str) -> Any:
    """Import what a user names; the current folder counts, as for ``python -m``."""
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))
    try:
        loaded = import_module(module)
    except Exception as error:  # a user's module can raise anything
        raise UsageError(
            f"strategy {name!r}: {module} does not import ({type(error).__name__}: {error}): expected a module that is "
            "installed or in the current folder"
        ) from error
    if not hasattr(loaded, attribute):
        raise UsageError(f"strategy {name!r}: {module} defines no {attribute!r}: check the name")
    return getattr(loaded, attribute)
