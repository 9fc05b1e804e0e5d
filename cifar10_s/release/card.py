"""Render the dataset card, the README.md on the Hub, from its template and the manifest."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from cifar10_s.common.machine import show_size
from cifar10_s.release.datasheet import PAPER, About, keeper
from cifar10_s.release.layout import (
    IMAGE_COLUMN,
    LABEL_COLUMN,
    MANIFEST,
    RESULTS,
    TRAIN,
    gallery_path,
    score_map_path,
    shard_pattern,
    split_path,
)
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.recipe_table import recipes_in
from cifar10_s.release.recipes import SMALL
from cifar10_s.release.shards import StoredSplit
from cifar10_s.shortcut.shortcut import JOINT, Shortcut
from cifar10_s.shortcut.survival import measure_survival

SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)

# The section that is made from benchmark records; the rest of a card is made from manifest, recipes and files.
RESULTS_SECTION = re.compile(r"^(<!-- results: begin -->\n).*?^(<!-- results: end -->\n)", re.DOTALL | re.MULTILINE)


# Without images, all that loads is the manifest, under a name that says so.
RECIPE_ONLY = "recipe-only"


@dataclass(frozen=True)
class CardSection:
    """Benchmark results of one protocol.

    Attributes
    ----------
    protocol
        Parameters of the protocol, by name.
    networks
        Networks that were trained.
    tables
        Tables in Markdown.
    figures
        Titles of the figures, by path in the release.
    """

    protocol: Mapping[str, Any]
    networks: tuple[str, ...]
    tables: tuple[str, ...]
    figures: Mapping[str, str]


@dataclass(frozen=True)
class SplitSize:
    """Size of a split: number of images, bytes of images and labels, bytes of the Parquet files."""

    num_examples: int
    num_bytes: int
    file_bytes: int


def render(
    manifest: Manifest,
    sizes: Mapping[str, Mapping[str, SplitSize]],
    shortcuts: Mapping[str, Shortcut],
    measurements: Sequence[CardSection] = (),
) -> str:
    """Return the text of a release's card.

    Parameters
    ----------
    manifest
        Manifest of the release.
    sizes
        Size of each split of each configuration; empty for a release without images.
    shortcuts
        Shortcuts of the configurations that have one.
    measurements
        Benchmark results on the release; shown if the manifest has records.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, not HTML)
    )  # fmt: skip
    environment.filters["plain"] = _plain
    has_methods = any(recipe.method for recipe in recipes_in(manifest).values())
    reduced = [name for name, entry in manifest.configurations.items() if entry.budget == SMALL]
    template, about = environment.from_string(_template()), About.of(manifest)
    metadata = yaml.safe_dump(_metadata(manifest, about, sizes), sort_keys=False, allow_unicode=True, width=110)
    return template.render(
        metadata=metadata,
        manifest=manifest,
        shortcuts={name: shortcut.to_dict() for name, shortcut in shortcuts.items()},
        survivals={name: measure_survival(shortcut, manifest.shape[:2]) for name, shortcut in shortcuts.items()},
        marks=lambda name, label: shortcuts[name].marks(label),
        joint_objectives=JOINT,
        has_methods=has_methods,
        has_one_pixel=any(shortcut.positions.shape[1] == 1 for shortcut in shortcuts.values()),
        reduced=reduced,
        measurements=measurements,
        about=about,
        keeper=keeper(manifest),
        paper=PAPER,
        records=RESULTS,
        size=lambda name: show_size(sum(of.file_bytes for of in sizes[name].values())) if sizes else "—",
        gallery_path=gallery_path,
        score_map_path=score_map_path,
    )


def split_sizes(manifest: Manifest, stored: Mapping[str, StoredSplit]) -> dict[str, dict[str, SplitSize]]:
    """Return the sizes of each configuration's splits; all configurations share the clean ones."""
    sizes = {
        path: SplitSize(len(shards), shards.num_bytes, sum(file.stat().st_size for file in shards.files))
        for path, shards in stored.items()
    }
    return {
        name: {split: sizes[split_path(name, split)] for split in (TRAIN, *manifest.splits)}
        for name in manifest.configurations
    }


def without_results(card: str) -> str:
    """Return a card with its section of results emptied, if it has one."""
    return RESULTS_SECTION.sub(r"\1\2", card, count=1)


def _plain(text: str) -> str:
    """Escape an untrusted name for Markdown and HTML."""
    return re.sub(r"[^\w\s.,:;()'“”-]", lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


def _template() -> str:
    """Return the text of ``dataset_card.md``, which is in the installed package or at the top of the repository."""
    package = Path(__file__).parents[1]
    found = next(path for path in (package / "dataset_card.md", package.parent / "dataset_card.md") if path.is_file())
    return found.read_text(encoding="utf-8")


def _metadata(manifest: Manifest, about: About, sizes: Mapping[str, Mapping[str, SplitSize]]) -> dict[str, Any]:
    """Return the card's YAML metadata, by which the Hub and `datasets` find the files."""
    is_cifar10 = manifest.source.is_cifar10
    tests = sum(split.rows for split in manifest.splits.values())
    total = tests + max(entry.rows for entry in manifest.configurations.values())
    return {
        "pretty_name": manifest.title,
        "license": manifest.attribution.licence or "unknown",
        "annotations_creators": ["crowdsourced" if is_cifar10 else "other"],
        "language_creators": ["found"],
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZE_CATEGORIES if total < limit), "n>100M")],
        **({"source_datasets": ["extended|cifar10"]} if is_cifar10 else {}),
        "tags": list(about.keywords),
        **(_without_images() if manifest.recipe_only else _with_images(manifest, sizes)),
    }


def _with_images(manifest: Manifest, sizes: Mapping[str, Mapping[str, SplitSize]]) -> dict[str, Any]:
    return {
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": shard_pattern(name, split)} for split in splits],
                **({"default": True} if name == manifest.default else {}),
            }
            for name, splits in sizes.items()
        ],
        "dataset_info": [_dataset_info(name, splits, manifest) for name, splits in sizes.items()],
    }


def _without_images() -> dict[str, Any]:
    """Return what keeps the Hub and `datasets` from taking recipes and figures for the data."""
    return {"viewer": False, "configs": [{"config_name": RECIPE_ONLY, "data_files": MANIFEST}]}


def _dataset_info(name: str, splits: Mapping[str, SplitSize], manifest: Manifest) -> dict[str, Any]:
    return {
        "config_name": name,
        "features": [
            {"name": IMAGE_COLUMN, "dtype": "image"},
            {"name": LABEL_COLUMN, "dtype": _label_type(manifest.classes)},
            *({"name": column, "dtype": _label_type(names)} for column, names in manifest.column_names.items()),
        ],
        "splits": [
            {"name": split, "num_bytes": size.num_bytes, "num_examples": size.num_examples}
            for split, size in splits.items()
        ],
        "download_size": sum(size.file_bytes for size in splits.values()),
        "dataset_size": sum(size.num_bytes for size in splits.values()),
    }


def _label_type(names: Sequence[str] | None) -> Any:
    if names is None:
        return "int64"
    return {"class_label": {"names": {str(i): label for i, label in enumerate(names)}}}
