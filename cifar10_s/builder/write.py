"""Write the files of a release from clean images and recipes."""

import importlib.metadata
import logging
import platform
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from cifar10_s.builder.card_results import write_results
from cifar10_s.builder.dataset_builder import ROW_GROUP_BYTES, OnePixelShortcutBuilder
from cifar10_s.common import typed_json
from cifar10_s.common.checksums import hash_folder, write_sums
from cifar10_s.common.options import Options
from cifar10_s.common.progress import step
from cifar10_s.data.images import Images
from cifar10_s.release import card, croissant
from cifar10_s.release.attribution import NO_ATTRIBUTION, Attribution
from cifar10_s.release.compose import Composition, compose, drawn, perturb
from cifar10_s.release.layout import (
    CARD,
    CLEAN,
    CROISSANT,
    FIGURES,
    MANIFEST,
    RECIPES,
    SHARD_SUFFIX,
    TRAIN,
    gallery_path,
    noise_path,
    recipe_path,
    score_map_path,
    shard_path,
)
from cifar10_s.release.manifest import (
    FORMAT,
    NO_RESULTS,
    ConfigurationEntry,
    Description,
    Manifest,
    OtherColumn,
    Results,
    Source,
    SplitEntry,
)
from cifar10_s.release.metrics.separability import Separability
from cifar10_s.release.metrics.survey import Survey
from cifar10_s.release.recipe_record import RecipeRecord
from cifar10_s.release.recipe_table import declare
from cifar10_s.release.recipes import DATASET_DATE, DATASET_VERSION, Recipe, default_of
from cifar10_s.release.shards import StoredSplit
from cifar10_s.release.stored_noise import write_noise
from cifar10_s.report import figures
from cifar10_s.report.report import Report
from cifar10_s.shortcut.objectives import SEARCHED
from cifar10_s.shortcut.pixel_search import best_colors
from cifar10_s.shortcut.shortcut import Shortcut

logger = logging.getLogger(__name__)

LIBRARIES = ("datasets", "imagecodecs", "numba", "numpy", "pillow", "pyarrow", "scikit-learn", "torch")


def describe(
    splits: Mapping[str, Images],
    recipes: Sequence[Recipe],
    *,
    name: str,
    seed: int,
    version: str = DATASET_VERSION,
    attribution: Attribution = NO_ATTRIBUTION,
    recipe_only: bool = False,
) -> Description:
    """Return the part of the manifest that is known before the release is built."""
    train = splits[TRAIN]
    height, width, channels = train.shape[1:]
    objectives = tuple(name for name in SEARCHED if any(recipe.objective == name for recipe in recipes))
    return Description(
        format=FORMAT,
        name=name,
        version=version,
        date=date_of(version),
        title=attribution.title or train.provenance.release_title(shortcut=bool(objectives)),
        source=Source.of(train.provenance, {split: images.digest() for split, images in splits.items()}),
        classes=train.class_names,
        shape=(height, width, channels),
        seed=seed,
        default=default_of(recipe.name for recipe in recipes),
        objectives=objectives,
        columns={
            column: OtherColumn.of({split: images.other_labels[column] for split, images in splits.items()})
            for column in train.other_labels
        },
        recipe_only=recipe_only,
        own_methods=declare(recipes, train.shape[1:]),
        attribution=attribution,
    )


def date_of(version: str) -> str:
    """Return the date of a version that is built now: today's (UTC), unless it is `DATASET_VERSION`."""
    return DATASET_DATE if version == DATASET_VERSION else datetime.now(UTC).date().isoformat()


def write_release(
    folder: Path,
    splits: Mapping[str, Images],
    recipes: Sequence[Recipe],
    options: Options,
    description: Description,
    *,
    max_shard_bytes: int,
    report: Report | None = None,
    device: str | None = None,
) -> None:
    """Write a release into an empty folder.

    Parameters
    ----------
    folder
        The folder.
    splits
        Clean images: ``train``, and ``test`` if the source has it.
    recipes
        The configurations, including ``clean``.
    options
        Seed, device and memory.
    description
        What `describe` returns for these images and recipes. If it says ``recipe_only``, recipes, digests and card are
        written, and no images; also the noise that is not repeatable.
    max_shard_bytes
        Maximum size of a Parquet shard in bytes.
    report
        Benchmark results; those on this release's own images are included.
    device
        The device that the noise was made on, if not that of the options.

    Raises
    ------
    UsageError
        If there are results to draw and matplotlib is not installed.
    """
    (folder / RECIPES).mkdir()
    (folder / FIGURES).mkdir()
    written = _write_configurations(
        folder, splits, recipes, options, max_shard_bytes=max_shard_bytes, recipe_only=description.recipe_only
    )
    shortcuts = {name: found.shortcut for name, found in written.items() if found.shortcut is not None}
    sizes = {} if description.recipe_only else {name: found.sizes for name, found in written.items()}
    # The test split is stored once, with `clean`, but the card lists it under every configuration.
    for by_split in sizes.values():
        for split in sizes[CLEAN].keys() - {TRAIN}:
            by_split[split] = sizes[CLEAN][split]
    manifest = Manifest(
        **vars(description),
        device=device or options.device,
        libraries=_versions(),
        splits={split: _split_entry(images) for split, images in splits.items() if split != TRAIN},
        configurations={name: found.entry for name, found in written.items()},
        results=NO_RESULTS,
    )
    write_metadata(folder, manifest, sizes, shortcuts, report)


def write_metadata(
    folder: Path,
    manifest: Manifest,
    sizes: Mapping[str, Mapping[str, card.SplitSize]],
    shortcuts: Mapping[str, Shortcut],
    report: Report | None,
) -> None:
    """Write the results, manifest, Croissant, card and sums of a release, whose other files are there.

    Parameters
    ----------
    folder
        The release's folder.
    manifest
        Its manifest, but for the results.
    sizes, shortcuts
        See `card.render`.
    report
        Benchmark results; those on this release's own images are included.
    """
    results, measurements = _write_results(folder, manifest, report)
    manifest = replace(manifest, results=results)
    # A release is files: without images and search, there may be no figure.
    if not any((folder / FIGURES).iterdir()):
        (folder / FIGURES).rmdir()
    _write(folder / MANIFEST, manifest.to_json())
    hashes = hash_folder(folder)
    _write(folder / CROISSANT, typed_json.dump(croissant.describe(manifest, hashes)))
    _write(folder / CARD, card.render(manifest, sizes, shortcuts, measurements))
    write_sums(folder, hashes)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{library: importlib.metadata.version(library) for library in LIBRARIES},
    }


def _write_results(folder: Path, manifest: Manifest, report: Report | None) -> tuple[Results, list[card.CardSection]]:
    """Write the results on these images; return the manifest's summary of them and the sections of the card."""
    if report is None:
        return NO_RESULTS, []
    report = report.measured_on(manifest.pixels, manifest.test_pixels)
    if not report.records:
        logger.warning("no record was measured on these images: the release has no results")
        return NO_RESULTS, []
    measurements = write_results(folder, report)
    figures = tuple(path for measurement in measurements for path in measurement.figures)
    return Results(records=len(report.records), figures=figures), measurements


def _split_entry(images: Images) -> SplitEntry:
    return SplitEntry(rows=len(images), pixels_sha256=images.digest())


@dataclass(frozen=True)
class _Written:
    """The facts about a written configuration for manifest and card; holds no images."""

    unseparated: ConfigurationEntry
    separability: Future[Separability | None]
    shortcut: Shortcut | None
    sizes: dict[str, card.SplitSize]

    @property
    def entry(self) -> ConfigurationEntry:
        """The configuration's entry in the manifest, as soon as its separability is measured."""
        return replace(self.unseparated, separability=self.separability.result())


def _unseparated(recipe: Recipe, survey: Survey) -> ConfigurationEntry:
    return ConfigurationEntry(
        summary=recipe.summary,
        budget=recipe.budget,
        rows=survey.rows,
        pixels_sha256=survey.digest(),
        perceptibility=survey.perceptibility.summary(),
        separability=None,
    )


def _write_configurations(
    folder: Path,
    splits: Mapping[str, Images],
    recipes: Sequence[Recipe],
    options: Options,
    *,
    max_shard_bytes: int,
    recipe_only: bool,
) -> dict[str, _Written]:
    """Write the files of all configurations, and return what is known of each, in the order of the recipes."""
    train, method, perturbed = splits[TRAIN], None, splits[TRAIN]
    written: dict[str, _Written] = {}
    # One core fits the classifier to what has been written, while the others go on.
    with ThreadPoolExecutor(1) as executor:
        for number, recipe in enumerate(_by_method(recipes), 1):
            with step(number, len(recipes), recipe.name):
                if recipe.method != method:
                    method, perturbed = recipe.method, perturb(recipe, train, options)
                survey, sizes = Survey(train), dict[str, card.SplitSize]()
                if recipe_only:
                    composition = _survey(recipe, train, perturbed, survey, options)
                    _write_noise(folder, recipe, train, options)
                else:
                    composition, sizes = _write_images(
                        folder, splits, recipe, perturbed, survey, options, max_shard_bytes=max_shard_bytes
                    )
                    draw_gallery(folder, train, composition)
                _write_recipe(folder, composition, train, options)
            fit = executor.submit(survey.separability)
            written[recipe.name] = _Written(_unseparated(recipe, survey), fit, composition.shortcut, sizes)
    return {recipe.name: written[recipe.name] for recipe in recipes}


def _by_method(recipes: Sequence[Recipe]) -> list[Recipe]:
    """Return recipes with those of one method together, so that its noise is made once."""
    # Compared, not hashed: the fields of a user's own method may be lists.
    methods = [recipe.method for recipe in recipes]
    return sorted(recipes, key=lambda recipe: methods.index(recipe.method))


def _survey(recipe: Recipe, clean: Images, perturbed: Images, survey: Survey, options: Options) -> Composition:
    """Measure the images of a configuration that are not written."""
    composition = compose(recipe, clean, options, perturbed)
    for part in composition.images.map_pairs(clean, survey.surveyor, desc="measure"):
        survey.add(part)
    return composition


def _write_images(
    folder: Path,
    splits: Mapping[str, Images],
    recipe: Recipe,
    perturbed: Images,
    survey: Survey,
    options: Options,
    *,
    max_shard_bytes: int,
) -> tuple[Composition, dict[str, card.SplitSize]]:
    """Write a configuration's Parquet files; splits other than ``train`` are written with ``clean`` only."""
    wanted = splits if recipe.name == CLEAN else {TRAIN: splits[TRAIN]}
    scratch = folder / ".scratch"
    builder = OnePixelShortcutBuilder(
        recipe=recipe,
        splits=wanted,
        options=options,
        row_group_bytes=min(ROW_GROUP_BYTES, max_shard_bytes),
        perturbed=perturbed,
        survey=survey,
        cache_dir=str(scratch),
    )
    # Computed before the library writes, which would replace any error by its own.
    composition = builder.composition
    builder.download_and_prepare(str(scratch / "out"), file_format="parquet", max_shard_size=max_shard_bytes)
    sizes = {}
    for split in wanted:
        shards = sorted((scratch / "out").glob(f"*-{split}*{SHARD_SUFFIX}"))
        files = [folder / shard_path(recipe.name, split, number, len(shards)) for number in range(len(shards))]
        for shard, file in zip(shards, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            shard.rename(file)
        others = {name: labels.names for name, labels in wanted[split].other_labels.items()}
        stored = StoredSplit(files, wanted[split].shape[1:], wanted[split].class_names, others)
        file_bytes = sum(file.stat().st_size for file in files)
        sizes[split] = card.SplitSize(len(stored), stored.num_bytes, file_bytes)
    shutil.rmtree(scratch)
    return composition, sizes


def _write_recipe(folder: Path, composition: Composition, clean: Images, options: Options) -> None:
    """Write the record of a configuration's recipe, and the map of its objective's scores."""
    recipe = composition.recipe
    record = RecipeRecord.of(recipe, options.seed, composition.shortcut, drawn(recipe, clean, options))
    _write(folder / recipe_path(recipe.name), record.to_json())
    draw_scores(folder, clean, composition, options)


def _write_noise(folder: Path, recipe: Recipe, clean: Images, options: Options) -> None:
    """Write the noise of a recipe if it is not repeatable, once for all configurations of its method."""
    method = recipe.method
    if method is not None and not method.repeatable and not (folder / noise_path(method.name)).exists():
        write_noise(folder, method, method.noise_levels(clean, options))


def draw_gallery(folder: Path, clean: Images, composition: Composition) -> None:
    """Draw the gallery of a configuration."""
    name = composition.recipe.name
    figures.gallery(clean, composition.images, name, composition.shortcut).save(folder / gallery_path(name))


def draw_scores(folder: Path, clean: Images, composition: Composition, options: Options) -> None:
    """Draw the map of the scores of a configuration's objective, if it has one and there is none yet."""
    recipe, shortcut = composition.recipe, composition.shortcut
    if shortcut is None or recipe.objective not in SEARCHED:
        return
    # One map per objective, that of its first recipe, which has the fewest pixels.
    target = folder / score_map_path(recipe.objective)
    if not target.exists():
        on_cpu = replace(options, device="cpu")
        maps, _ = best_colors(clean, on_cpu, objective=recipe.objective, classes=figures.MAX_CLASSES)
        figures.score_map(maps, shortcut).save(target)
