"""Verify that a release folder matches its own metadata, independently of the code that writes one."""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from cifar10_s.common.checksums import SUMS, compare, hash_files, list_files, read_sums
from cifar10_s.common.options import Options
from cifar10_s.common.transfers import explain, is_added, is_cache_link, is_pointer, missing_sums
from cifar10_s.errors import VerificationError
from cifar10_s.release.layout import (
    CARD,
    CLEAN,
    CROISSANT,
    MANIFEST,
    RESULTS,
    SHARD_SUFFIX,
    TRAIN,
    find_shards,
    gallery_path,
    is_figure,
    noise_path,
    recipe_path,
    score_map_path,
    shard_path,
    shard_pattern,
    split_path,
)
from cifar10_s.release.manifest import Manifest, read_manifest
from cifar10_s.release.recipe_record import read_recipe
from cifar10_s.release.recipes import Recipe
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.verification.failures import Failures
from cifar10_s.release.verification.images import ImageChecks
from cifar10_s.release.verification.metadata import (
    check_card,
    check_croissant,
    check_manifest,
    check_records,
    searched_objectives,
)
from cifar10_s.release.verification.recipes import check_recipes, read_recipes, unrepeatable

MAX_FIGURE_PIXELS = 1 << 25


@dataclass(frozen=True)
class Verified:
    """A release that has verified, in a folder or on the Hub; returned by `verify`.

    Attributes
    ----------
    folder
        The release's folder; None on the Hub.
    manifest
        The contents of ``manifest.json``.
    files
        The SHA-256 of every file, by path.
    images
        The number of images that were decoded and compared; 0 on the Hub without ``download``, and of a release
        without images, of which files, recipes and card are checked.
    repo_id, commit
        On the Hub, ``<namespace>/<name>`` and the commit's id, 40 hexadecimal digits; None in a folder.
    """

    folder: Path | None
    manifest: Manifest
    files: Mapping[str, str]
    images: int
    repo_id: str | None = None
    commit: str | None = None

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What could not be checked, a line for each method outside this package."""
        return tuple(f"{name}: {own.unchecked}" for name, own in self.manifest.own_methods.items())


def verify_folder(folder: str | Path, options: Options) -> Verified:
    """Check every file and every image of a release; a missing file is an error.

    Parameters
    ----------
    folder
        The release's folder.
    options
        The memory to use at most: clean images that do not fit are read again for each configuration. The seed is
        that of the manifest, and the search runs on the CPU.

    Raises
    ------
    VerificationError
        Naming every file that fails, and how.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VerificationError([f"{folder}: is not a folder; expected a release that `cifar10-s build` wrote"])
    run = _Verification(folder)
    check_images = partial(run.check_images, replace(options, device="cpu"))
    run.do(
        (run.check_sums,),
        (run.check_layout,),
        (run.check_figures, check_images, run.check_croissant),
        (run.check_card,),
    )
    return Verified(folder, run.manifest, run.files, run.images)


def check_listing(folder: Path, files: Mapping[str, str]) -> Manifest:
    """Check ``manifest.json`` and ``croissant.json``, and that the release has exactly the files they call for.

    Parameters
    ----------
    folder
        The folder with these two files.
    files
        The SHA-256 of every file that the release has, by path.

    Returns
    -------
    Manifest
        The contents of ``manifest.json``.

    Raises
    ------
    VerificationError
        Naming every file that is missing or unexpected, and what is wrong with these two.
    """
    run = _Verification(folder)
    run.files = dict(files)
    run.do((run.check_layout,), (run.check_croissant,))
    return run.manifest


class _Verification:
    """One verification of a release: its checks, and what they have read and found so far."""

    # Read by `check_layout`, on which all later checks depend.
    manifest: Manifest

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures = Failures(folder)
        self.files: dict[str, str] = {}
        self.stored: dict[str, StoredSplit] = {}
        # Read of a release without images only; otherwise they are checked with these.
        self.recipes: dict[str, Recipe] = {}
        self.images = 0

    def do(self, *stages: Sequence[Callable[[], None]]) -> None:
        """Run the checks in stages, each of which depends on those before it.

        Raises
        ------
        VerificationError
            With all the failures of the first stage that has any.
        """
        for checks in stages:
            for check in checks:
                check()
            if self.failures.lines:
                raise VerificationError(self.failures.lines)

    def check_sums(self) -> None:
        """Compare every file with SHA256SUMS, but not what tools that fetch or unpack a folder add to it."""
        sums = self.folder / SUMS
        if not sums.is_file() or is_pointer(sums):
            self.failures.add(SUMS, missing_sums(self.folder))
            return
        plain, others = list_files(self.folder)
        linked = {name for name in others if is_cache_link(self.folder, name)}
        others = [name for name in others if name not in linked and not is_added(self.folder, name)]
        for name in others:
            self.failures.add(name, "is not a regular file")
        there = [*plain, *(name for name in linked if (self.folder / name).is_file())]
        self.files = hash_files(self.folder, (name for name in there if not is_added(self.folder, name)))
        with self.failures.reading(SUMS):
            self._compare(read_sums(self.folder))

    def _compare(self, sums: Mapping[str, str]) -> None:
        """Add a failure for each file that differs from its sum; it says how to get what a tool left undone."""
        undone = explain(self.folder, sums, self.files)
        for name, reason in undone.items():
            self.failures.add(name, reason)
        expected, got = ({name: by[name] for name in by if name not in undone} for by in (sums, self.files))
        self.failures.lines += compare(expected, got)

    def check_layout(self) -> None:
        """Check that the manifest can be read, and that exactly the files it calls for exist."""
        with self.failures.reading(MANIFEST):
            text = (self.folder / MANIFEST).read_bytes()
            self.manifest = read_manifest(text)
            check_manifest(self.failures, self.manifest, json.loads(text))
            names = self.manifest.configurations
            splits = [*((name, TRAIN) for name in names), *((CLEAN, split) for split in self.manifest.splits)]
            if self.manifest.recipe_only:
                splits = []
                self.recipes = read_recipes(self.failures, self.manifest)
            shards = {split_path(*split): self._find_shards(*split) for split in splits}
            expected = {*_called_for(self.manifest), *(file for found in shards.values() for file in found)}
            expected.update(map(noise_path, unrepeatable(self.recipes.values())))
            for name in sorted(expected - self.files.keys()):
                self.failures.add(name, "is missing")
            for name in sorted(self.files.keys() - expected):
                self.failures.add(name, "is not part of a release")
            self.stored = {
                path: StoredSplit(
                    [self.folder / file for file in found],
                    self.manifest.shape,
                    self.manifest.classes,
                    self.manifest.column_names,
                )
                for path, found in shards.items()
            }

    def _find_shards(self, configuration: str, split: str) -> list[str]:
        found = find_shards(configuration, split, self.files)
        if not found or found != [shard_path(configuration, split, i, len(found)) for i in range(len(found))]:
            pattern = shard_pattern(configuration, split, SHARD_SUFFIX)
            self.failures.add(pattern, f"expected shards 0 to n-1 of n, got {found}")
        return found

    def check_figures(self) -> None:
        """Check that every figure is a PNG image of acceptable size."""
        for name in filter(is_figure, self.files):
            with self.failures.reading(name), _open_figure(self.folder / name) as image:
                if image.width * image.height > MAX_FIGURE_PIXELS:
                    raise ValueError(f"{image.width}×{image.height} is too large for a figure")
                image.load()

    def check_images(self, options: Options) -> None:
        """Decode every image, and check it against the manifest and the recipes; without images, check these alone."""
        if self.manifest.recipe_only:
            check_recipes(self.failures, self.manifest, self.recipes)
        else:
            self.images = ImageChecks(self.failures, self.manifest, self.stored, options).run()

    def check_croissant(self) -> None:
        """Check the machine-readable description."""
        check_croissant(self.failures, self.manifest, self.files)

    def check_card(self) -> None:
        """Check the card and the benchmark records."""
        check_records(self.failures, self.manifest)
        recipes = {name: self.folder / recipe_path(name) for name in self.manifest.configurations}
        found = {name: read_recipe(file.read_bytes()).shortcut for name, file in recipes.items()}
        shortcuts = {name: shortcut for name, shortcut in found.items() if shortcut is not None}
        check_card(self.failures, self.manifest, self.stored, shortcuts)


def _called_for(manifest: Manifest) -> set[str]:
    """Return the paths of the files that a release must have, without shards and sums."""
    names, results = manifest.configurations, manifest.results
    galleries = [] if manifest.recipe_only else map(gallery_path, names)
    return {
        CARD,
        CROISSANT,
        MANIFEST,
        *map(recipe_path, names),
        *galleries,
        *map(score_map_path, searched_objectives(manifest)),
        *results.figures,
        *([RESULTS] if results.records else []),
    }


def _open_figure(figure: Path) -> Image.Image:
    """Open a PNG image, reading only its header, so that the caller can check its size first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(figure, formats=("PNG",))
