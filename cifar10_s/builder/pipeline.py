"""Build a release folder, and verify it before it gets its name; a partial one is never left behind."""

import logging
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from cifar10_s.builder.noise_files import check_is_wanted, read_noise_files
from cifar10_s.builder.order import Order
from cifar10_s.common.files import expand
from cifar10_s.common.machine import Memory, parse_size
from cifar10_s.common.options import Options
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.images import Images
from cifar10_s.data.provenance import HUB_NAME, Provenance, names_cifar10
from cifar10_s.data.sources.choices import NO_CHOICES, Choices
from cifar10_s.data.sources.splits import open_splits
from cifar10_s.errors import UsageError
from cifar10_s.release.attribution import NO_ATTRIBUTION, Attribution, read_attribution
from cifar10_s.release.compose import check_fit
from cifar10_s.release.layout import TRAIN
from cifar10_s.release.manifest import DATASET_NAME, VERSION
from cifar10_s.release.recipes import ALL, DATASET_VERSION, Recipe, select
from cifar10_s.release.verification.verifier import Verified
from cifar10_s.report.plot_style import styled
from cifar10_s.report.report import Report

DEFAULT_NAME = "cifar10-s"

logger = logging.getLogger(__name__)


def build(
    source: str | Path = HUB_NAME,
    output: str | Path | None = None,
    *,
    name: str = DEFAULT_NAME,
    choices: Choices = NO_CHOICES,
    configurations: Iterable[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    budget: str = "full",
    noise: Mapping[str, str | Path] | None = None,
    yes: bool = False,
    allow_unverified: bool = False,
    overwrite: bool = False,
    max_shard_size: str = "500MB",
    memory: Memory = None,
    engine: str = "local",
    address: str | None = None,
    records: Iterable[str | Path] = (),
    recipe_only: bool = False,
    about: str | Path | None = None,
    dataset_version: str | None = None,
) -> Verified:
    """Build a release: search, compose, write and verify it, and only then move it into place.

    If the folder already holds this same build, it is verified and left unchanged.

    Parameters
    ----------
    source, choices, allow_unverified
        See `load_images`; what is chosen is recorded in the manifest and on the card.
    output
        The folder to write; by default ``name``.
    name
        The dataset's name.
    configurations
        Names in `CONFIGURATIONS`, your own methods (see `select`), or ``all``, which leaves out what does not fit the
        images; by default `recipes.STANDARD`. ``clean`` is always included.
    seed, device
        See `Options.resolve`.
    budget
        ``full``, or ``small`` for recipes reduced to what a CPU can do; it matters to methods that train a network.
    noise
        Files with noise to use instead of a method's own, by the method's name (see `noise_file.read_noise`).
    yes
        Build even if that takes hours.
    overwrite
        Replace the contents of the folder if they are not this build.
    max_shard_size
        Maximum size of a Parquet shard, such as ``500MB``.
    memory
        Maximum memory to use, such as ``8GB``; by default half of the machine's. Images that do not fit are read
        again for each configuration, and classes whose sums do not fit are searched in groups, one after another.
    engine, address
        See `Cluster.of`; with ``ray``, images are read, searched, stamped and encoded on a cluster.
    records
        Files that `bench` wrote; the results on this release's own images are included in it and shown on its card.
    recipe_only
        Write recipes, digests and card without images, for those that may not be passed on; `apply` makes the release
        of it and of the same source. Noise that a network made or a file held is in it, as nobody else makes it again.
    about
        An ``about.yaml``: what you say of the dataset (see `Attribution`).
    dataset_version
        The dataset's version, such as ``1.1.0``, by default `recipes.DATASET_VERSION`. No pixel depends on it.

    Raises
    ------
    UsageError
        If a name or version is malformed or unknown, ``about`` has unknown fields or claims what the images do not
        allow, a recipe needs more pixels than an image has, noise does not fit, the build takes hours
        and ``yes`` is false, or the folder holds something else and ``overwrite`` is false.
    SourceError
        If the source or a file of records cannot be read.
    BuildError
        If the disk is full or read-only, in which case nothing is left behind, or another process is building it.
    VerificationError
        If the written release does not verify; nothing is left behind.

    Examples
    --------
    >>> import cifar10_s
    >>> built = cifar10_s.build("sample", "digits-s", name="digits-s", configurations=["ops"])
    >>> list(built.manifest.configurations), built.images
    (['clean', 'ops'], 4673)
    """
    check_name(name)
    options = Options.resolve(seed=seed, device=device, memory=memory)
    order = Order(
        folder=expand(name if output is None else output),
        name=name,
        options=options,
        max_shard_bytes=parse_size(max_shard_size, "max_shard_size"),
        overwrite=overwrite,
        recipe_only=recipe_only,
        version=check_version(dataset_version or DATASET_VERSION),
        attribution=NO_ATTRIBUTION if about is None else read_attribution(about),
        inputs=tuple(map(str, (source, about or "", *(noise or {}).values(), *records))),
    )
    names = None if configurations is None else list(configurations)
    noise, recipes = noise or {}, select(names, budget=budget)
    check_is_wanted(noise, recipes)
    if recipe_only:
        _check_applicable(recipes)
    report = read_report(records)
    order.check_place()
    opened = open_splits(
        source, choices=choices, allow_unverified=allow_unverified, cluster=Cluster.of(engine, address)
    )
    check_claims(order.attribution, opened[TRAIN].provenance)
    if names_cifar10(name) and not opened[TRAIN].provenance.is_cifar10:
        logger.warning(
            "name: %s is for CIFAR-10, and this is %s: `push` will refuse it; choose another --name", name,
            opened[TRAIN].provenance.title,
        )  # fmt: skip
    splits = {split: images.load_if_fits(options.memory) for split, images in opened.items()}
    if noise:
        recipes = select(names, budget=budget, noise=read_noise_files(noise, recipes, splits[TRAIN]))
    if names and ALL in names:
        recipes = _that_fit(recipes, splits[TRAIN], names)
    return order.carry_out(splits, recipes, report, yes=yes)


def _check_applicable(recipes: Iterable[Recipe]) -> None:
    """Check that `apply` can make the images of recipes: it runs no code from outside this package."""
    own = [recipe.name for recipe in recipes if recipe.origin is not None]
    if own:
        raise UsageError(
            f"recipe_only: expected configurations of this package, got {', '.join(own)}; build the images"
        )


def _that_fit(recipes: list[Recipe], images: Images, names: Collection[str]) -> list[Recipe]:
    """Return the recipes that fit the images, and those that are asked for by name; warn of the others."""
    chosen, left_out = [], defaultdict[str, list[str]](list)
    for recipe in recipes:
        try:
            check_fit(recipe, images)
        except UsageError as error:
            # A user's own is only built if it is named, by its path.
            if recipe.name not in names and recipe.origin is None:
                left_out[str(error)].append(recipe.name)
                continue
        chosen.append(recipe)
    for reason, those in left_out.items():
        logger.warning("%s: leaves out %s: %s", ALL, ", ".join(those), reason)
    return chosen


def read_report(records: Iterable[str | Path]) -> Report | None:
    """Read the records, and check that their figures can be drawn, before anything is built."""
    files = list(records)
    if not files:
        return None
    with styled():
        return Report.read(files)


def check_name(name: str) -> None:
    """Raise UsageError if the Hub does not accept a dataset's name."""
    if not re.fullmatch(DATASET_NAME, name, re.ASCII):
        raise UsageError(f"name: expected a dataset name of letters, digits, '-', '_' and '.', got {name!r}")


def check_version(version: str) -> str:
    """Return a version, or raise UsageError if it is not three numbers, as of SemVer."""
    if not re.fullmatch(VERSION, version, re.ASCII):
        raise UsageError(f"dataset-version: expected three numbers, such as 1.1.0, got {version!r}")
    return version


def check_claims(attribution: Attribution, provenance: Provenance) -> None:
    """Raise UsageError if an attribution claims what images with this provenance do not allow."""
    try:
        attribution.check_claims(provenance)
    except ValueError as error:
        raise UsageError(f"about: {error}") from None
