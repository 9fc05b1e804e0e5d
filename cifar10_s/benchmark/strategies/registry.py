"""The table of strategies, and finding a strategy by name, or a user's own by its path."""

import re
from collections.abc import Callable
from dataclasses import replace

from cifar10_s.benchmark.strategies.augmentations import CutMix, Cutout, Mixup, RandAugment, UEraser
from cifar10_s.benchmark.strategies.base import AUGMENT_SIGNATURE, Strategy
from cifar10_s.benchmark.strategies.d_vae import DVae
from cifar10_s.benchmark.strategies.defences import BitDepth, GaussianBlur, Grayscale, Jpeg, LowPass, Median
from cifar10_s.benchmark.strategies.dilution import Addition, Dilution
from cifar10_s.benchmark.strategies.distortions import Chain, Coin, RandomSharpening, SmoothBatch, Sometimes
from cifar10_s.benchmark.strategies.last_layer import LastLayer
from cifar10_s.benchmark.strategies.ops_randaugment import OpsRandAugment
from cifar10_s.benchmark.strategies.pixel_audit import PixelAudit
from cifar10_s.benchmark.strategies.projection import OrthogonalProjection, ProjectBatch
from cifar10_s.benchmark.strategies.simclr import SimClr
from cifar10_s.benchmark.strategies.strong_view import StrongView
from cifar10_s.common.own import load_own, own_names, own_path
from cifar10_s.errors import UsageError, unknown
from cifar10_s.nn.pgd import Adversary

__all__ = ["STANDARD", "STRATEGIES", "Adversary", "Strategy", "count_clean_images", "find_ours", "find_strategy"]

# The strategy of crop and flip alone.
STANDARD = "standard"


def _by_name(*strategies: Strategy) -> dict[str, Strategy]:
    return {strategy.name: strategy for strategy in strategies}


def _dilution(count: int) -> Strategy:
    return Strategy(
        name=f"dilution-{count}", summary=f"{count} images are clean", prepare=Dilution(count=count), needs_clean=True
    )


def _addition(count: int) -> Strategy:
    return Strategy(
        name=f"add-{count}", summary=f"{count} clean images are added", prepare=Addition(count=count), needs_clean=True
    )


def _jpeg(quality: int) -> Strategy:
    return Strategy(name=f"jpeg-{quality}", summary=f"JPEG of quality {quality}", prepare=Jpeg(quality=quality))


# What a pattern of names, each with one number, makes.
_NUMBERED: dict[str, tuple[str, Callable[[int], Strategy]]] = {
    "dilution-K for any K from 1": (r"dilution-([1-9][0-9]{0,8})", _dilution),
    "add-K for any K from 1": (r"add-([1-9][0-9]{0,8})", _addition),
    "jpeg-Q for any Q from 1 to 95": (r"jpeg-([1-9]|[1-8][0-9]|9[0-5])", _jpeg),
}
_STANDARD = _by_name(
    Strategy(name=STANDARD, summary="crop and flip alone"),
    Strategy(name="mixup", summary="mixup, Beta(1, 1)", augment=Mixup()),
    Strategy(name="cutmix", summary="CutMix, Beta(1, 1)", augment=CutMix()),
    Strategy(name="cutout", summary="Cutout, a hole of half the image's sides", augment=Cutout()),
    Strategy(name="randaugment", summary="RandAugment, N = 2, M = 9 of 30", augment=RandAugment()),
)
# As the authors of OPS trained for their tables (their code), where it differs from the above.
_OPS_AUTHORS = _by_name(
    Strategy(name="cutout-black", summary="Cutout, the hole is black", augment=Cutout(level=0.0)),
    Strategy(
        name="randaugment-ops",
        summary="RandAugment of the OPS authors: 2 of 15 operations, each with probability ½",
        augment=OpsRandAugment(),
    ),
)
_AT = Strategy(name="at", summary="adversarial training, PGD-10 within 8/255", adversary=Adversary())
_DEFENCES = _by_name(
    Strategy(name="grayscale", summary="all channels become the image's grey", prepare=Grayscale()),
    *(_jpeg(quality) for quality in (90, 70, 50, 30, 10)),
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
    Strategy(
        name="orthogonal-projection-strong",
        summary="orthogonal projection as its authors ran it: unclipped, strong augmentation, CutMix",
        before=Chain(parts=(ProjectBatch(), StrongView())),
        augment=Sometimes(augment=CutMix()),
    ),
    Strategy(
        name="pixel-audit",
        summary="pixels of one colour per class become the median of their neighbours",
        prepare=PixelAudit(),
    ),
    Strategy(
        name="d-vae",
        summary="D-VAE: class-wise perturbations are learned and subtracted, then images reconstructed; for a GPU",
        purify=DVae(),
    ),
    Strategy(
        name="d-vae-small",
        summary="D-VAE reduced for a CPU: narrower networks, 2 epochs each on batches of 32",
        purify=DVae(epochs=2, batch=32, width=16, blocks=0, latent=32),
    ),
    Strategy(name="low-pass", summary="the lowest 30 % of rows and columns of the DCT", prepare=LowPass()),
    Strategy(name="rsk", summary="random sharpening by 3×3 pixels", before=RandomSharpening()),
    Strategy(
        name="rsk-low-pass",
        summary="random sharpening, then the lowest 30 % of rows and columns of the DCT",
        before=Chain(parts=(RandomSharpening(), SmoothBatch())),
    ),
    Strategy(name="coin", summary="each pixel from a place up to 2 pixels away", augment=Coin()),
    Strategy(
        name="dfr",
        summary="deep feature reweighting: the last layer trained anew on 5,000 clean images",
        refit=LastLayer(),
        needs_clean=True,
    ),
    Strategy(
        name="simclr",
        summary="SimCLR for 500 epochs without labels, then the classifier alone",
        pretrain=SimClr(),
        probe=True,
    ),
    Strategy(
        name="simclr-small",
        summary="SimCLR reduced for a CPU, 20 epochs on batches of 256; then the classifier alone",
        pretrain=SimClr(epochs=20, batch=256, warmup=0.1),
        probe=True,
    ),
    Strategy(name="linear-probe", summary="the classifier alone is trained, such as after --weights", probe=True),
    *(_dilution(count) for count in (100, 500, 1000, 5000)),
    _addition(500),
)
_WITH_AT = _by_name(
    *(
        replace(_AT, name=f"at-{plain.name}", summary=f"{_AT.summary}; {plain.summary}", augment=plain.augment)
        for plain in (*_STANDARD.values(), *_OPS_AUTHORS.values())
        if plain.augment is not None
    ),
    replace(_AT, name="at-mixup-ops", summary=f"{_AT.summary}, then mixup", augment=Mixup(), attack_first=True),
)
STRATEGIES: dict[str, Strategy] = {**_STANDARD, **_OPS_AUTHORS, **_by_name(_AT), **_WITH_AT, **_DEFENCES}


def find_strategy(name: str) -> Strategy:
    """Look up a strategy: a name of `STRATEGIES`, a numbered one, or a user's own as ``package.module:name``.

    The numbered ones are ``dilution-K``, ``add-K`` and ``jpeg-Q``. A user's own is a `Strategy` or an augmentation
    (`base.Augmentation`), in a module that is installed or in the current folder; an entry point's name stands for its
    path. Records identify it by this path: if it is changed under the same name, recorded runs are not repeated.

    Raises
    ------
    UsageError
        If there is no such strategy.
    """
    if ours := find_ours(name):
        return ours
    path = own_path("strategy", name)
    if path is None:
        raise unknown("strategy", name, [*STRATEGIES, *_NUMBERED, *own_names("strategy")])
    own = load_own("strategy", path)
    if isinstance(own, Strategy):
        return replace(own, name=path)
    if callable(own) and not isinstance(own, type):
        return Strategy(name=path, summary="a user's own augmentation", augment=own)
    raise UsageError(
        f"strategy {name!r}: expected a Strategy or a function {AUGMENT_SIGNATURE}, "
        f"got {'the class ' + own.__name__ if isinstance(own, type) else type(own).__name__}"
    )


def find_ours(name: str) -> Strategy | None:
    """Look up a strategy of this package, also a numbered one; None if there is none. Nothing is imported for it."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    for pattern, make in _NUMBERED.values():
        if found := re.fullmatch(pattern, name, re.ASCII):
            return make(int(found[1]))
    return None


def count_clean_images(name: str) -> int | None:
    """Return the number of clean images of a dilution, 0 for standard training, None for other strategies."""
    found = re.fullmatch(r"dilution-([1-9][0-9]*)", name)
    return int(found[1]) if found else 0 if name == STANDARD else None
