"""Paths, patterns and column names of a release.

Everybody imports them from here. Only the names by which a release is refused as a source are defined below this room,
in `data.sources.release_folder`, and that of the checksums in `common.checksums`.

::

    README.md                              the card; its YAML lists the configurations
    data/test-00000-of-00001.parquet       one clean test split for all configurations
    data/<configuration>/train-*.parquet   columns img, label
    recipes/<configuration>.json           method, parameters, seed, and the pixels of each class
    figures/*.png                          galleries, score maps, plots of the results
    results/benchmark.jsonl                benchmark records on these images, if any
    noise/<method>.npz                     noise that cannot be made again, of a release without images only
    manifest.json                          source, digests, rows, metrics, libraries, seed, device
    croissant.json                         machine-readable description in the Croissant format
    SHA256SUMS                             digests of all other files
"""

import re
from collections.abc import Iterable
from pathlib import Path

from cifar10_s.common.checksums import SUMS
from cifar10_s.data.sources.release_folder import (
    CARD,
    CLEAN,
    CROISSANT,
    DATA,
    IMAGE_COLUMN,
    LABEL_COLUMN,
    MANIFEST,
    RECIPES,
)

__all__ = ["CARD", "CLEAN", "CROISSANT", "DATA", "IMAGE_COLUMN", "LABEL_COLUMN", "MANIFEST", "RECIPES", "SUMS"]

RESULTS = "results/benchmark.jsonl"
FIGURES, NOISE = "figures", "noise"
TRAIN, TEST = "train", "test"
SHARD_SUFFIX = ".parquet"


def recipe_path(configuration: str) -> str:
    """Return the path of a configuration's recipe, or for ``*`` the pattern of all recipes."""
    return f"{RECIPES}/{configuration}.json"


def noise_path(method: str) -> str:
    """Return the path of a method's noise, or for ``*`` the pattern of all noise."""
    return f"{NOISE}/{method}.npz"


def is_figure(path: str) -> bool:
    """Return whether a path is in the folder of figures."""
    return path.startswith(f"{FIGURES}/")


def gallery_path(configuration: str) -> str:
    """Return the path of a configuration's gallery."""
    return f"{FIGURES}/{configuration}.png"


def score_map_path(objective: str) -> str:
    """Return the path of the score map of an objective."""
    return f"{FIGURES}/scores-{objective}.png"


def results_figure_path(group: int | str, name: str) -> str:
    """Return the path of a plot of the results by its name, for group number ``group`` of protocol and source."""
    return f"{FIGURES}/results-{group}-{name}.png"


def is_results_figure(path: str) -> bool:
    """Return whether a path is that of a plot of the results."""
    return re.fullmatch(rf"{FIGURES}/results-[a-z0-9-]+\.png", path, re.ASCII) is not None


def split_path(configuration: str, split: str) -> str:
    """Return the prefix of the paths of a split's shards; only ``train`` is in the configuration's folder."""
    return f"{DATA}/{configuration}/{split}" if split == TRAIN else f"{DATA}/{split}"


def shard_path(configuration: str, split: str, number: int, count: int) -> str:
    """Return the path of shard ``number`` of ``count``, counted from 0."""
    return f"{split_path(configuration, split)}-{number:05d}-of-{count:05d}{SHARD_SUFFIX}"


def shard_pattern(configuration: str, split: str, suffix: str = "") -> str:
    """Return the glob pattern of a split's shards; in the card it has no suffix."""
    return f"{split_path(configuration, split)}-*{suffix}"


def is_shard(path: str) -> bool:
    """Return whether a path is that of a shard: a Parquet file."""
    return path.endswith(SHARD_SUFFIX)


def find_shards(configuration: str, split: str, files: Iterable[str]) -> list[str]:
    """Return the paths among ``files`` that are shards of a split, sorted."""
    pattern = re.compile(rf"{re.escape(split_path(configuration, split))}-\d{{5}}-of-\d{{5}}{re.escape(SHARD_SUFFIX)}")
    return sorted(file for file in files if pattern.fullmatch(file))


def stored_shards(folder: Path, configuration: str, split: str) -> list[Path]:
    """Return the files of a split's shards in a release's folder, sorted."""
    return sorted(folder.glob(shard_pattern(configuration, split, SHARD_SUFFIX)))


def split_expression(configuration: str) -> str:
    """Return a regular expression whose group is the split, for a shard's path and for the split's bare name."""
    return rf"^(?:{DATA}/)?(?:{configuration}/)?({TRAIN}|{TEST})(?:-.*{re.escape(SHARD_SUFFIX)})?$"
