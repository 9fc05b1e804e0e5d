"""Write a configuration as Arrow or Parquet: a `datasets` builder with one `BuilderConfig` per configuration."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.common.options import Options
from cifar10_s.common.progress import progress_bar
from cifar10_s.data.codec import encode
from cifar10_s.data.images import Images, OtherLabels, Rows, part_size, values_sha256
from cifar10_s.data.provenance import HUB_NAME
from cifar10_s.data.sources.choices import NO_CHOICES, Choices
from cifar10_s.data.sources.splits import open_splits
from cifar10_s.release.compose import Composition, check_fit, check_time, compose
from cifar10_s.release.layout import IMAGE_COLUMN, LABEL_COLUMN, TRAIN
from cifar10_s.release.metrics.survey import Survey, Surveyed, Surveyor
from cifar10_s.release.recipes import CONFIGURATIONS, DATASET_VERSION, Recipe, find_recipe

# The statistics of a row group repeat two whole images, so a group should hold thousands.
ROW_GROUP_BYTES = 8 << 20


class OnePixelShortcutBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Build one configuration from clean images.

    Parameters
    ----------
    recipe
        The configuration's recipe.
    splits
        The clean images: ``train``, to which the recipe is applied, and others, which are written unchanged.
    options
        Seed, device and memory.
    row_group_bytes
        Minimum bytes of images per Parquet row group, and so per shard.
    perturbed
        See `compose`.
    survey
        Gets the training images while they are encoded.
    **arguments
        Passed to `datasets.DatasetBuilder`, such as ``cache_dir``.
    """

    VERSION = datasets.Version(DATASET_VERSION)
    # Upper bound on the rows of a Parquet row group; `_generate_tables` yields smaller ones.
    DEFAULT_WRITER_BATCH_SIZE = 1 << 20
    BUILDER_CONFIGS = [  # noqa: RUF012 (the library's interface)
        datasets.BuilderConfig(name=recipe.name, version=DATASET_VERSION, description=recipe.summary)
        for recipe in CONFIGURATIONS.values()
    ]

    def __init__(
        self,
        *,
        recipe: Recipe,
        splits: Mapping[str, Images],
        options: Options,
        row_group_bytes: int = ROW_GROUP_BYTES,
        perturbed: Images | None = None,
        survey: Survey | None = None,
        **arguments: Any,
    ) -> None:
        self.recipe, self.clean, self.options = recipe, dict(splits), options
        self.row_group_bytes, self.perturbed, self.survey = row_group_bytes, perturbed, survey
        # The key of the library's cache: everything that the result depends on.
        identity = [text for image in splits.values() for text in (image.digest(), *image.class_names)]
        identity += [
            f"{name} {labels.names} {values_sha256(labels.values)}"
            for image in splits.values()
            for name, labels in image.other_labels.items()
        ]
        identity += [*splits, str(options.seed), repr(recipe.settings()), DATASET_VERSION]
        if recipe.name not in self.builder_configs:
            self.BUILDER_CONFIGS = []  # a user's own, for which the library then makes one
        super().__init__(
            dataset_name="cifar10-s",
            config_name=recipe.name,
            hash=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16],
            **arguments,
        )

    def is_cached(self) -> bool:
        """Return whether the cache holds this configuration, built with these settings."""
        return Path(self.cache_dir, datasets.config.DATASET_INFO_FILENAME).is_file()

    def download_and_prepare(self, *arguments: Any, **options: Any) -> None:
        """See `datasets.DatasetBuilder`; its own progress bars would repeat those of this package."""
        shown = not datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()
        try:
            super().download_and_prepare(*arguments, **options)
        finally:
            if shown:
                datasets.enable_progress_bars()

    @cached_property
    def composition(self) -> Composition:
        """The configuration's training images and their shortcut, computed on first access."""
        return compose(self.recipe, self.clean[TRAIN], self.options, self.perturbed)

    def _info(self) -> datasets.DatasetInfo:
        names = list(self.clean[TRAIN].class_names)
        return datasets.DatasetInfo(
            description=self.config.description or self.recipe.summary,
            features=datasets.Features(
                {
                    IMAGE_COLUMN: datasets.Image(),
                    LABEL_COLUMN: datasets.ClassLabel(names=names),
                    **{name: _feature(of) for name, of in self.clean[TRAIN].other_labels.items()},
                }
            ),
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in self.clean]

    def _generate_tables(self, split: str) -> Iterator[tuple[Any, pa.Table]]:
        images = self.composition.images if split == TRAIN else self.clean[split]
        schema, step = self.info.features.arrow_schema, part_size(images.shape[1:])
        start = 0
        with progress_bar(f"encode {split}", len(images)) as bar:
            for key, files in enumerate(_gather(self._encoded(split, images), step, self.row_group_bytes)):
                column = pa.StructArray.from_arrays(
                    [pa.array(files, pa.binary()), pa.nulls(len(files), pa.string())],
                    fields=list(schema.field(IMAGE_COLUMN).type),
                )
                rows = slice(start, start + len(files))
                others = [pa.array(of.values[rows]) for of in images.other_labels.values()]
                labels = pa.array(images.labels[rows])
                yield (0, key), pa.Table.from_arrays([column, labels, *others], schema=schema)
                start += len(files)
                bar.update(len(files))

    def _encoded(self, split: str, images: Images) -> Iterator[list[bytes]]:
        """Yield the images' files, part by part."""
        if split != TRAIN or self.survey is None:
            yield from images.map_batches(_encode)
            return
        for files, part in images.map_pairs(self.clean[split], partial(_encode_and_measure, self.survey.surveyor)):
            self.survey.add(part)
            yield files


def _feature(labels: OtherLabels) -> Any:
    return datasets.Value("int64") if labels.names is None else datasets.ClassLabel(names=list(labels.names))


def _encode(rows: Rows, pixels: NDArray[np.uint8]) -> list[bytes]:
    return encode(pixels)


def _encode_and_measure(
    surveyor: Surveyor, rows: Rows, before: NDArray[np.uint8], after: NDArray[np.uint8]
) -> tuple[list[bytes], Surveyed]:
    return encode(after), surveyor(rows, before, after)


def _gather(parts: Iterable[list[bytes]], step: int, size: int) -> Iterator[list[bytes]]:
    """Yield consecutive files, ``step`` at a time, in lists of at least ``size`` bytes; the last may be smaller.

    The lists do not depend on how the files are divided into ``parts``, which depends on where the images are stored.
    """
    files = chain.from_iterable(parts)
    gathered: list[bytes] = []
    while part := list(islice(files, step)):
        gathered += part
        if sum(map(len, gathered)) >= size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def load(
    configuration: str,
    *,
    source: str | Path = HUB_NAME,
    choices: Choices = NO_CHOICES,
    seed: int = 0,
    device: str = "auto",
    budget: str = "full",
    yes: bool = False,
    allow_unverified: bool = False,
    cache_dir: str | Path | None = None,
) -> datasets.DatasetDict:
    """Load a configuration as a `datasets.DatasetDict`; it is built once, then read from the cache.

    Parameters
    ----------
    configuration
        A name in `CONFIGURATIONS`, or your own method (see `select`).
    source, choices, allow_unverified
        See `load_images`.
    seed, device
        See `Options.resolve`.
    budget
        ``full``, or ``small`` for recipes reduced to what a CPU can do; it matters to methods that train a network.
    yes
        Build even if that takes hours.
    cache_dir
        The cache folder; by default that of the `datasets` library.

    Raises
    ------
    UsageError
        If the configuration or the budget is unknown, or the build takes hours and ``yes`` is false.
    SourceError
        If the source cannot be read.

    Examples
    --------
    >>> import cifar10_s
    >>> dataset = cifar10_s.load("ops", source="sample")
    >>> dataset["train"].num_rows, dataset["test"].num_rows
    (1438, 359)
    """
    options = Options.resolve(seed=seed, device=device)
    recipe = find_recipe(configuration, budget=budget)
    splits = open_splits(source, choices=choices, allow_unverified=allow_unverified)
    builder = OnePixelShortcutBuilder(
        splits={split: images.load_if_fits(options.memory) for split, images in splits.items()},
        options=options,
        recipe=recipe,
        cache_dir=None if cache_dir is None else str(cache_dir),
    )
    if not builder.is_cached():
        # Computed before the library writes, which would replace any error by its own.
        check_fit(recipe, builder.clean[TRAIN])
        if not yes:
            check_time([recipe], builder.clean[TRAIN], options)
        _ = builder.composition
    builder.download_and_prepare()
    return builder.as_dataset()
