"""Noise from a user's files, in place of what methods make."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from cifar10_s.data.images import Images
from cifar10_s.errors import UsageError, unknown
from cifar10_s.methods.base import Bound
from cifar10_s.methods.from_file import CLASS_WISE, SAMPLE_WISE, GivenNoise
from cifar10_s.methods.noise_file import read_noise
from cifar10_s.methods.noise_order import TELLS_CLASSES, is_sorted_by_class
from cifar10_s.methods.own import declared_bound
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.recipes import Recipe, is_of_other_kind

logger = logging.getLogger(__name__)


def check_is_wanted(noise: Iterable[str], recipes: Iterable[Recipe]) -> None:
    """Raise UsageError if noise is given for a method that no recipe has."""
    methods = {recipe.method.name for recipe in recipes if recipe.method is not None}
    for method in noise:
        if method not in methods:
            raise unknown("method for the noise, among those that are built,", method, sorted(methods) or ["none"])


def read_noise_files(
    files: Mapping[str, str | Path], recipes: Iterable[Recipe], images: Images
) -> dict[str, GivenNoise]:
    """Read the noise that replaces the methods' own, by the method's name."""
    methods = {one.method.name: (one.method, one.origin) for one in recipes if one.method is not None}
    shape, given = images.shape[1:], {}
    for name, file in files.items():
        method, origin = methods[name]
        bound = method.bound(shape) if origin is None else declared_bound(method, origin.path, shape)
        if bound == Bound():
            raise UsageError(f"{name}: has no bound to check noise from a file against; leave out its --noise")
        read = read_noise(
            file, shape=shape, images=len(images), classes=len(images.class_names),
            linf=bound.linf, l2=bound.l2_rounded(shape), clean=images,
        )  # fmt: skip
        if read.of_images:
            logger.info("%s: holds perturbed images: their noise is what differs from the clean ones", file)
        if read.one_sided:
            logger.warning("%s: no value of this noise is negative; was its negative half lost?", file)
        given[name] = GivenNoise.of(method, file=read.name, sha256=read.sha256, kind=read.kind, levels=read.levels)
        if read.kind == SAMPLE_WISE and is_sorted_by_class(read.levels, images.labels):
            logger.warning(
                "%s: fits images that are sorted by class, and these are not: it was made for another order; put it in "
                "the order of these", file,
            )  # fmt: skip
        if is_of_other_kind(given[name]):
            each = "class" if read.kind == CLASS_WISE else "image"
            logger.warning("%s: holds one noise per %s, unlike %s's own: the release says so", file, each, name)
    return given


def warn_of_noise_without_class(recipes: Iterable[Recipe], manifest: Manifest) -> None:
    """Warn of noise from a file that does not tell the classes of these images, as if it were in another order."""
    for recipe in recipes:
        method, measured = recipe.method, manifest.configurations[recipe.name].separability
        if not isinstance(method, GivenNoise) or method.name not in TELLS_CLASSES or recipe.objective is not None:
            continue
        if measured is not None and measured.is_at_chance(len(manifest.classes)):
            logger.warning(
                "%s: tells the classes of %.3g %% of the images, no better than guessing: was it made for images in "
                "another order? CIFAR-10's order differs from that of folders, which are sorted by class",
                method.file, measured.accuracy,
            )  # fmt: skip
