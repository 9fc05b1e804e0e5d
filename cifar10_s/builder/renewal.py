"""Rewrite the texts, figures and results of a release; its images and recipes stay unchanged."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from cifar10_s.builder.order import one_line_errors
from cifar10_s.builder.pipeline import check_claims, check_name, check_version, read_report
from cifar10_s.builder.write import date_of, draw_gallery, draw_scores, write_metadata
from cifar10_s.common.checksums import compare, hash_files, read_sums
from cifar10_s.common.files import expand, link
from cifar10_s.common.machine import Memory
from cifar10_s.common.options import Options
from cifar10_s.common.staging import Staging
from cifar10_s.data.stream import Stream
from cifar10_s.errors import SourceError, UsageError, VerificationError, one_line, printable, unknown
from cifar10_s.release.attribution import read_attribution
from cifar10_s.release.card import split_sizes
from cifar10_s.release.compose import Composition
from cifar10_s.release.layout import (
    CARD,
    CLEAN,
    CROISSANT,
    DATA,
    FIGURES,
    MANIFEST,
    NOISE,
    RECIPES,
    RESULTS,
    SUMS,
    TRAIN,
    is_shard,
    recipe_path,
    split_path,
    stored_shards,
)
from cifar10_s.release.manifest import NO_RESULTS, ConfigurationEntry, Manifest
from cifar10_s.release.reader import Release
from cifar10_s.release.recipe_record import read_recipe
from cifar10_s.release.recipe_table import recipes_in
from cifar10_s.release.recipes import Recipe, default_of
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.verification.verifier import Verified, verify_folder
from cifar10_s.shortcut.shortcut import Shortcut

# What downloads and file managers leave beside a release.
LEFT_BEHIND = {".cache", ".gitattributes", ".DS_Store"}


def renew(
    folder: str | Path,
    *,
    dataset_version: str | None = None,
    name: str | None = None,
    about: str | Path | None = None,
    records: Iterable[str | Path] | None = None,
    memory: Memory = None,
) -> Verified:
    """Rewrite card, manifest, Croissant, figures and results of a release, verify it, and put it in place.

    No image is encoded again: the Parquet files and recipes keep their bytes. Whatever is None stays unchanged.

    Parameters
    ----------
    folder
        A folder that `build` wrote, also an earlier version of it.
    dataset_version, name, about
        See `build`.
    records
        Files that `bench` wrote, instead of the results that are there.
    memory
        The memory to use at most; see `Options.resolve`.

    Raises
    ------
    UsageError
        If a name or version is malformed, ``about`` has unknown fields or claims what the images do not allow, or the
        release has no ``clean``, or no images.
    SourceError
        If the folder is not a release, or a file of records cannot be read.
    BuildError
        If the disk is full or read-only, or another process is building it; the folder is unchanged.
    VerificationError
        If an image or a recipe has changed since the release was built, or the renewed release does not verify; the
        folder is unchanged.

    Examples
    --------
    >>> import cifar10_s
    >>> cifar10_s.renew("digits-s", dataset_version="1.0.1").manifest.version
    '1.0.1'
    """
    options = Options.resolve(device="cpu", memory=memory)
    given = expand(folder)
    if not given.is_dir():
        raise SourceError(f"{folder}: is not a folder; expected a release that `cifar10-s build` wrote")
    release = Release(given)
    release.select([CLEAN])
    before = release.manifest
    if before.recipe_only:
        raise UsageError(f"{folder}: has no images, only recipes; build it again with `build --recipe-only`")
    manifest = _changed(before, dataset_version=dataset_version, name=name, about=about)
    recipes = {name: _recipe(given, recipe, before.configurations[name]) for name, recipe in recipes_in(before).items()}
    manifest = replace(
        manifest,
        configurations={
            name: replace(entry, summary=recipes[name][0].summary) for name, entry in before.configurations.items()
        },
    )
    if records is None:
        records = [given / RESULTS] if before.results.records else []
    report = read_report(records)
    output = given.resolve()
    _check_others(output)
    if records and report is not None and not report.measured_on(manifest.pixels, manifest.test_pixels).records:
        raise UsageError(f"records: none of the {len(report.records)} was measured on the images of {folder}")
    staging = Staging(output)
    with one_line_errors(output):
        staging.recover()
        with staging.held() as new:
            stored = _carry_over(output, new, manifest)
            shortcuts = _draw_all(new, recipes, stored, options)
            write_metadata(new, manifest, split_sizes(manifest, stored), shortcuts, report)
            verified = verify_folder(new, options)
            staging.replace()
    return replace(verified, folder=given)


def _check_others(output: Path) -> None:
    """Refuse a folder that holds more than a release, such as a repository: renewing it would remove that."""
    parts = {MANIFEST, SUMS, CARD, CROISSANT, DATA, RECIPES, FIGURES, NOISE, RESULTS.partition("/")[0]}
    others = sorted(path.name for path in output.iterdir() if path.name not in parts | LEFT_BEHIND)
    if others:
        names = printable(", ".join(others))[:200]
        raise UsageError(f"{output}: holds other than a release, which would be removed: {names}; move it first")


def _changed(
    manifest: Manifest, *, dataset_version: str | None, name: str | None, about: str | Path | None
) -> Manifest:
    """Return a manifest with what is given, and with the title and default of this version of the package."""
    version = manifest.version if dataset_version is None else check_version(dataset_version)
    name = manifest.name if name is None else name
    check_name(name)
    attribution = manifest.attribution if about is None else read_attribution(about)
    provenance = manifest.source.provenance
    check_claims(attribution, provenance)
    known = recipes_in(manifest)
    for configuration in manifest.configurations:
        if configuration not in known:
            raise unknown("configuration", configuration, known)
    return replace(
        manifest,
        name=name,
        version=version,
        date=manifest.date if version == manifest.version else date_of(version),
        title=attribution.title or provenance.release_title(shortcut=bool(manifest.objectives)),
        default=default_of(manifest.configurations),
        attribution=attribution,
        results=NO_RESULTS,
    )


def _recipe(folder: Path, recipe: Recipe, entry: ConfigurationEntry) -> tuple[Recipe, Shortcut | None]:
    """Return the recipe of a configuration, and its shortcut, as recorded."""
    path = recipe_path(recipe.name)
    try:
        record = read_recipe((folder / path).read_bytes())
        return record.built(recipe, entry.budget), record.shortcut
    except (OSError, ValueError) as error:
        raise VerificationError([f"{path}: cannot be read ({one_line(error)})"]) from None


def _carry_over(old: Path, new: Path, manifest: Manifest) -> dict[str, StoredSplit]:
    """Link images and recipes into the new folder, checked by their sums; return the splits by `layout.split_path`."""
    splits = [(name, TRAIN) for name in manifest.configurations] + [(CLEAN, split) for split in manifest.splits]
    shards = {split_path(*split): [_relative(old, file) for file in stored_shards(old, *split)] for split in splits}
    if absent := [f"{path}: has no files" for path, found in shards.items() if not found]:
        raise VerificationError(absent)
    files = [file for found in shards.values() for file in found] + [*map(recipe_path, manifest.configurations)]
    _check_sums(old, [MANIFEST, *files])
    for file in files:
        (new / file).parent.mkdir(parents=True, exist_ok=True)
        link(old / file, new / file)
    return {
        path: StoredSplit([new / file for file in found], manifest.shape, manifest.classes, manifest.column_names)
        for path, found in shards.items()
    }


def _relative(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix()


def _check_sums(folder: Path, files: list[str]) -> None:
    """Check that files are those that the release was built with, before they get new sums."""
    try:
        sums = read_sums(folder)
        hashes = hash_files(folder, files)
    except (OSError, ValueError) as error:
        raise VerificationError(
            [f"{folder}: {SUMS}, or a file that it lists, cannot be read ({one_line(error)})"]
        ) from None
    if failures := compare({name: sums[name] for name in sums if name in files or is_shard(name)}, hashes):
        raise VerificationError(failures)


def _draw_all(
    folder: Path,
    recipes: Mapping[str, tuple[Recipe, Shortcut | None]],
    stored: Mapping[str, StoredSplit],
    options: Options,
) -> dict[str, Shortcut]:
    """Draw galleries and score maps, and return the shortcut of each configuration that has one."""
    (folder / FIGURES).mkdir()
    shortcuts: dict[str, Shortcut] = {}

    def images(name: str) -> Stream:
        return stored[split_path(name, TRAIN)].stream()

    # Score maps need all clean images; galleries need a few of each configuration.
    clean = images(CLEAN).load_if_fits(options.memory)
    for name, (recipe, shortcut) in recipes.items():
        composition = Composition(recipe, images(name), shortcut)
        draw_gallery(folder, clean, composition)
        draw_scores(folder, clean, composition, options)
        if shortcut is not None:
            shortcuts[name] = shortcut
    return shortcuts
