"""Build a release folder, and verify it before it gets its name; a partial one is never left behind."""

import errno
import logging
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from datasets.exceptions import DatasetGenerationError

from cifar10_s.builder.write import describe, write_release
from cifar10_s.common.files import expand, expand_home
from cifar10_s.common.machine import Memory, parse_size
from cifar10_s.common.options import Options
from cifar10_s.common.records import Records
from cifar10_s.common.staging import Staging
from cifar10_s.data.cluster import Cluster
from cifar10_s.data.images import Images
from cifar10_s.data.provenance import HUB_NAME, Provenance, names_cifar10
from cifar10_s.data.sources.choices import NO_CHOICES, Choices
from cifar10_s.data.sources.splits import open_splits
from cifar10_s.errors import BuildError, SourceError, UsageError, root_cause, unknown
from cifar10_s.methods.base import Bound
from cifar10_s.methods.from_file import CLASS_WISE, SAMPLE_WISE, GivenNoise
from cifar10_s.methods.noise_file import read_noise
from cifar10_s.methods.noise_order import TELLS_CLASSES, is_sorted_by_class
from cifar10_s.methods.own import declared_bound
from cifar10_s.release.attribution import NO_ATTRIBUTION, Attribution, read_attribution
from cifar10_s.release.compose import check_fit, check_time
from cifar10_s.release.layout import MANIFEST, RESULTS, TRAIN, recipe_path
from cifar10_s.release.manifest import DATASET_NAME, VERSION, Description, Manifest, read_manifest
from cifar10_s.release.recipe_record import RecipeSettings, read_recipe
from cifar10_s.release.recipes import ALL, DATASET_VERSION, Recipe, is_of_other_kind, select
from cifar10_s.release.verification.verifier import Verified, verify_folder
from cifar10_s.report.plot_style import styled
from cifar10_s.report.report import Report

DEFAULT_NAME = "cifar10-s"

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

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
        inputs=tuple(map(str, (source, about or "", *(noise or {}).values()))),
    )
    names = None if configurations is None else list(configurations)
    noise, recipes = noise or {}, select(names, budget=budget)
    _check_noise_is_wanted(noise, recipes)
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
        recipes = select(names, budget=budget, noise=_read_all(noise, recipes, splits[TRAIN]))
    if names and ALL in names:
        recipes = _that_fit(recipes, splits[TRAIN], names)
    return order.carry_out(splits, recipes, report, yes=yes)


@dataclass(frozen=True, kw_only=True)
class Order:
    """Which folder to write, and how.

    Attributes
    ----------
    folder
        The folder, as it was given.
    name, version, attribution, recipe_only
        See `describe`.
    options, max_shard_bytes
        See `write_release`.
    overwrite
        Replace the contents of the folder if they are not this release.
    expected
        The manifest that the release must agree with in the pixels of each configuration, if there is one.
    inputs
        The source, its description and files of noise: a folder that holds one of them is not replaced.
    """

    folder: Path
    name: str
    options: Options
    max_shard_bytes: int
    overwrite: bool
    version: str = DATASET_VERSION
    attribution: Attribution = NO_ATTRIBUTION
    recipe_only: bool = False
    expected: Manifest | None = None
    inputs: tuple[str, ...] = ()

    @property
    def output(self) -> Path:
        """The folder without links and `.`, so that it is itself replaced."""
        return self.folder.resolve()

    def check_place(self) -> None:
        """Check that the folder can be written, and clear away what an interrupted build left.

        Raises
        ------
        UsageError
            If it cannot be replaced by renaming, or holds something that is not a release and must not be replaced, or
            holds one of the inputs.
        BuildError
            If the disk is full or read-only.
        """
        if self.overwrite:
            _check_outside(self.output, self.inputs)
        if self.overwrite or not _is_taken(self.output):
            _check_place(self.output, self.name)
        with one_line_errors(self.output):
            Staging(self.output).recover()
        if not self.overwrite and _is_taken(self.output) and not (self.output / MANIFEST).is_file():
            raise _taken(self.output)

    def carry_out(
        self, splits: Mapping[str, Images], recipes: list[Recipe], report: Report | None, *, yes: bool
    ) -> Verified:
        """Write and verify the release, and move it into place; errors as for `build`."""
        output, options = self.output, self.options
        for recipe in recipes:
            check_fit(recipe, splits[TRAIN])
        if _is_taken(output) and not self.overwrite:
            if not _holds(output, self._described(splits, recipes), recipes, report):
                raise _taken(output)
            return self._agreeing(verify_folder(self.folder, options))
        if not yes:
            check_time(recipes, splits[TRAIN], options)
        staging = Staging(output)
        with one_line_errors(output), staging.held() as folder:
            write_release(
                folder, splits, recipes, options, self._described(splits, recipes),
                max_shard_bytes=self.max_shard_bytes, report=report,
                device=None if self.expected is None else self.expected.device,
            )  # fmt: skip
            verified = self._agreeing(verify_folder(folder, options))
            _put_in_place(staging, overwrite=self.overwrite)
        _warn_of_noise_without_class(recipes, verified.manifest)
        return replace(verified, folder=self.folder)

    def _described(self, splits: Mapping[str, Images], recipes: list[Recipe]) -> Description:
        description = describe(
            splits, recipes, name=self.name, seed=self.options.seed, version=self.version,
            attribution=self.attribution, recipe_only=self.recipe_only,
        )  # fmt: skip
        return description if self.expected is None else replace(description, date=self.expected.date)

    def _agreeing(self, verified: Verified) -> Verified:
        """Return a release that has the expected pixels."""
        for name, digest in ({} if self.expected is None else self.expected.pixels).items():
            got = verified.manifest.pixels[name]
            if got != digest:
                raise BuildError(
                    f"{name}: expected the pixel digest {digest}, as in the recipe, got {got}: nothing was written; "
                    "apply it with the version of cifar10-s that made it"
                )
        return verified


def _check_applicable(recipes: Iterable[Recipe]) -> None:
    """Check that `apply` can make the images of recipes: it runs no code from outside this package."""
    own = [recipe.name for recipe in recipes if recipe.origin is not None]
    if own:
        raise UsageError(
            f"recipe_only: expected configurations of this package, got {', '.join(own)}; build the images"
        )


def _warn_of_noise_without_class(recipes: Iterable[Recipe], manifest: Manifest) -> None:
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


def _check_noise_is_wanted(noise: Iterable[str], recipes: list[Recipe]) -> None:
    methods = {recipe.method.name for recipe in recipes if recipe.method is not None}
    for method in noise:
        if method not in methods:
            raise unknown("method for the noise, among those that are built,", method, sorted(methods) or ["none"])


def _that_fit(recipes: list[Recipe], images: Images, names: Collection[str]) -> list[Recipe]:
    """Return the recipes whose shortcuts fit the images, and those that are asked for by name; warn of the others."""
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


def _read_all(files: Mapping[str, str | Path], recipes: Iterable[Recipe], images: Images) -> dict[str, GivenNoise]:
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


def _check_place(output: Path, name: str) -> None:
    """Check, before anything is read, that a folder beside the output can be written and renamed to it."""
    if output.is_mount():
        raise UsageError(
            f"{output}: is where a disk is mounted, and a finished build is renamed into place; choose a folder in it, "
            f"such as --output {output / name}"
        )
    beside = next(place for place in output.parents if place.exists())
    if beside.is_dir() and os.access(beside, os.W_OK | os.X_OK):
        return
    inside = output.is_dir() and os.access(output, os.W_OK | os.X_OK)
    advice = f"choose a folder in it, such as --output {output / name}" if inside else "choose another --output"
    what = "cannot be written to by this account" if beside.is_dir() else "is no folder"
    raise UsageError(f"{output}: the build is written beside it, but {beside} {what}; {advice}")


def _check_outside(output: Path, inputs: Iterable[str]) -> None:
    """Check that nothing that is read is in the folder that is replaced, such as the only copy of the images."""
    for given in filter(None, inputs):
        place = Path(expand_home(given)).resolve()
        if place.is_relative_to(output) and place.exists():
            raise UsageError(
                f"{given}: is read for this build, and --overwrite would remove it with all else in {output}; choose "
                "another --output"
            )


def _is_taken(output: Path) -> bool:
    return output.exists() and not (output.is_dir() and not any(output.iterdir()))


def _taken(output: Path) -> UsageError:
    return UsageError(
        f"{output}: holds something other than this build; choose another --output, or --overwrite to replace it"
    )


def _holds(output: Path, description: Description, recipes: list[Recipe], report: Report | None) -> bool:
    """Return whether a folder's manifest, recipes and records are those that this build would write."""
    try:
        manifest = read_manifest((output / MANIFEST).read_bytes())
        records = report.measured_on(manifest.pixels, manifest.test_pixels).records if report else ()
        # A version keeps the date of the day on which it was built.
        description = replace(description, date=manifest.date)
        return (
            list(manifest.configurations) == [recipe.name for recipe in recipes]
            and all(getattr(manifest, field.name) == getattr(description, field.name) for field in fields(description))
            and all(_recorded(output, recipe) == RecipeSettings.of(recipe) for recipe in recipes)
            and Records(output / RESULTS).read() == [record.line for record in records]
        )
    except (OSError, ValueError, SourceError):
        return False


def _recorded(output: Path, recipe: Recipe) -> RecipeSettings:
    return read_recipe((output / recipe_path(recipe.name)).read_bytes()).recipe


@contextmanager
def one_line_errors(output: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into one line that says what to do."""
    try:
        yield
    except (OSError, DatasetGenerationError) as error:
        cause = root_cause(error)
        if not isinstance(cause, OSError):
            raise
        space = "free some space, or " if cause.errno in _NO_SPACE else ""
        raise BuildError(
            f"{output}: could not be written ({cause}); the unfinished build was removed; {space}choose another "
            "--output"
        ) from error


def _put_in_place(staging: Staging, *, overwrite: bool) -> None:
    """Move the finished folder into place; what is already there is kept unless ``overwrite`` is true."""
    if overwrite and _is_taken(staging.output):
        staging.replace()
        return
    try:
        staging.put_in_place()
    except FileExistsError:
        raise _taken(staging.output) from None
