"""The `datasets` builder: one `BuilderConfig` a configuration; writes Arrow or Parquet."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.codec import encode
from cifar10_s.compose import Composition, check_time, compose
from cifar10_s.images import Images, Rows, part_size
from cifar10_s.memory import Memory, memory_limit
from cifar10_s.parallel import progress_bar
from cifar10_s.recipes import DATASET_VERSION, RECIPES, Recipe, select
from cifar10_s.sources import CIFAR10_ON_THE_HUB, open_splits

IMAGE_COLUMN, LABEL_COLUMN = "img", "label"
# A row group's statistics hold two whole images: it should hold thousands.
ROW_GROUP_BYTES = 8 << 20


class OnePixelShortcutBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Make one configuration from clean images.

    Parameters
    ----------
    recipe
        What to make.
    splits
        The clean images: ``train``, which the recipe changes, and others, which stay as they are.
    seed, device, memory
        See `compose.compose`.
    row_group_bytes
        How many bytes of images a Parquet row group holds at least; a shard is no smaller.
    **options
        Those of `datasets.DatasetBuilder`: ``cache_dir`` …
    """

    VERSION = datasets.Version(DATASET_VERSION)
    # Rows of a Parquet row group at most; `_generate_tables` makes smaller ones.
    DEFAULT_WRITER_BATCH_SIZE = 1 << 20
    BUILDER_CONFIGS = [  # noqa: RUF012 (the library's interface)
        datasets.BuilderConfig(name=recipe.name, version=DATASET_VERSION, description=recipe.summary)
        for recipe in RECIPES.values()
    ]

    def __init__(
        self,
        *,
        recipe: Recipe,
        splits: Mapping[str, Images],
        seed: int = 0,
        device: str = "auto",
        memory: Memory = None,
        row_group_bytes: int = ROW_GROUP_BYTES,
        **options: Any,
    ) -> None:
        self.recipe, self.row_group_bytes = recipe, row_group_bytes
        self.clean, self.seed, self.device, self.memory = dict(splits), seed, device, memory
        # The cache of the library is keyed by this hash: all that the result depends on.
        identity = [image.digest() for image in splits.values()]
        identity += [*splits, str(seed), repr(recipe.settings()), DATASET_VERSION]
        super().__init__(
            dataset_name="cifar10-s",
            config_name=recipe.name,
            hash=hashlib.sha256("\0".join(identity).encode()).hexdigest()[:16],
            **options,
        )

    def is_cached(self) -> bool:
        """Tell whether this very configuration was written before."""
        return Path(self.cache_dir, datasets.config.DATASET_INFO_FILENAME).is_file()

    @cached_property
    def composition(self) -> Composition:
        """The configuration's training images and their shortcut, made when first asked for."""
        return compose(self.recipe, self.clean["train"], seed=self.seed, device=self.device, memory=self.memory)

    def _info(self) -> datasets.DatasetInfo:
        names = list(self.clean["train"].class_names)
        return datasets.DatasetInfo(
            description=self.config.description,
            features=datasets.Features(
                {IMAGE_COLUMN: datasets.Image(), LABEL_COLUMN: datasets.ClassLabel(names=names)}
            ),
        )

    def _split_generators(self, dl_manager: object) -> list[datasets.SplitGenerator]:
        return [datasets.SplitGenerator(name=split, gen_kwargs={"split": split}) for split in self.clean]

    def _generate_tables(self, split: str) -> Iterator[tuple[Any, pa.Table]]:
        images = self.composition.images if split == "train" else self.clean[split]
        schema, step = self.info.features.arrow_schema, part_size(images.shape[1:])
        start = 0
        with progress_bar(f"encode {self.config.name} {split}", len(images)) as bar:
            for key, files in enumerate(_gather(images.map(_encode), step, self.row_group_bytes)):
                column = pa.StructArray.from_arrays(
                    [pa.array(files, pa.binary()), pa.nulls(len(files), pa.string())],
                    fields=list(schema.field(IMAGE_COLUMN).type),
                )
                labels = pa.array(images.labels[start : start + len(files)])
                yield (0, key), pa.Table.from_arrays([column, labels], schema=schema)
                start += len(files)
                bar.update(len(files))


def _encode(rows: Rows, pixels: NDArray[np.uint8]) -> list[bytes]:
    return encode(pixels)


def _gather(parts: Iterable[list[bytes]], step: int, size: int) -> Iterator[list[bytes]]:
    """Join consecutive files, ``step`` by ``step``, to lists of at least so many bytes, but for the last.

    They are the same whatever parts the files come in: the parts depend on where the images are.
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
    source: str | Path = CIFAR10_ON_THE_HUB,
    seed: int = 0,
    device: str = "auto",
    budget: str = "full",
    yes: bool = False,
    allow_unverified: bool = False,
    cache_dir: str | Path | None = None,
) -> datasets.DatasetDict:
    """Make a configuration as a `datasets.DatasetDict`; made once, then read from the cache.

    Parameters
    ----------
    configuration
        A name of `recipes.RECIPES`.
    source, allow_unverified
        See `sources.load_source`.
    seed, device
        See `compose.compose`.
    budget
        ``full``, or ``small`` for recipes reduced for a CPU, where a method needs a network.
    yes
        Make it though that takes hours.
    cache_dir
        Where to keep what was made; by default the `datasets` library's own cache.

    Raises
    ------
    UsageError
        For an unknown configuration or budget, or work that takes hours.
    SourceError
        Where the source cannot be read.
    """
    recipe = next(recipe for recipe in select([configuration], budget=budget) if recipe.name == configuration)
    splits = open_splits(source, allow_unverified=allow_unverified)
    builder = OnePixelShortcutBuilder(
        splits={split: images.kept(memory_limit()) for split, images in splits.items()},
        seed=seed,
        device=device,
        recipe=recipe,
        cache_dir=None if cache_dir is None else str(cache_dir),
    )
    if not builder.is_cached():
        # Made before the library writes: what goes wrong in it then keeps its own error.
        if not yes:
            check_time([recipe], builder.clean["train"], seed=seed, device=device)
        _ = builder.composition
    builder.download_and_prepare()
    return builder.as_dataset()
