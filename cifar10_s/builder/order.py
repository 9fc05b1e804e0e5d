"""Where and how a release is written: beside its place, and verified before it gets its name."""

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path

from datasets.exceptions import DatasetGenerationError

from cifar10_s.builder.noise_files import warn_of_noise_without_class
from cifar10_s.builder.write import describe, write_release
from cifar10_s.common.files import expand_home
from cifar10_s.common.options import Options
from cifar10_s.common.records import Records
from cifar10_s.common.staging import Staging
from cifar10_s.data.images import Images
from cifar10_s.data.sources.release_folder import check_outside_releases
from cifar10_s.errors import BuildError, SourceError, UsageError, root_cause
from cifar10_s.release.attribution import NO_ATTRIBUTION, Attribution
from cifar10_s.release.compose import check_fit, check_time
from cifar10_s.release.layout import MANIFEST, RESULTS, TRAIN, recipe_path
from cifar10_s.release.manifest import Description, Manifest, read_manifest
from cifar10_s.release.recipe_record import RecipeSettings, read_recipe
from cifar10_s.release.recipes import DATASET_VERSION, Recipe
from cifar10_s.release.verification.verifier import Verified, verify_folder
from cifar10_s.report.report import Report

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        The source or recipe, its description, and files of noise and records: a folder that holds one of them is not
        replaced.
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
        check_outside_releases(self.output)
        if self.overwrite:
            _check_outside(self.output, self.inputs)
            if Path.cwd().is_relative_to(self.output) and not (self.output / MANIFEST).is_file():
                raise UsageError(
                    f"{self.output}: is the current folder, or holds it, and --overwrite would remove all that is in "
                    "it; choose another --output"
                )
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
        warn_of_noise_without_class(recipes, verified.manifest)
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
    what = "cannot be written to by this account" if beside.is_dir() else "is not a folder"
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
