"""The dataset card: the template and a release's facts → the Hub's README.md."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from cifar10_s.about import KEYWORDS, MAINTAINERS, PAPER, About
from cifar10_s.recipes import RECIPES
from cifar10_s.records import RELEASED

SIZE_CATEGORIES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)


@dataclass(frozen=True)
class Measurement:
    """What was measured by one protocol.

    Attributes
    ----------
    protocol
        Its numbers, by name.
    networks
        The networks that were trained.
    tables
        In Markdown.
    figures
        The title of each, by its path in the release.
    """

    protocol: Mapping[str, Any]
    networks: tuple[str, ...]
    tables: tuple[str, ...]
    figures: Mapping[str, str]


@dataclass(frozen=True)
class SplitSize:
    """What the card says of one split: images, bytes of images and labels, bytes of the Parquet files."""

    num_examples: int
    num_bytes: int
    file_bytes: int


def render(
    manifest: Mapping[str, Any],
    sizes: Mapping[str, Mapping[str, SplitSize]],
    shortcuts: Mapping[str, Any],
    measurements: Sequence[Measurement] = (),
) -> str:
    """Write the card of a release.

    Parameters
    ----------
    manifest
        As in ``manifest.json``.
    sizes
        For each configuration the size of each split.
    shortcuts
        For each configuration with a shortcut, `Shortcut.to_dict`.
    measurements
        What the benchmark measured on the release.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, not HTML)
    )  # fmt: skip
    environment.filters["plain"] = _plain
    has_methods = any(RECIPES[name].method for name in manifest["configurations"])
    reduced = [name for name, entry in manifest["configurations"].items() if entry["budget"] == "small"]
    template = environment.from_string(_template())
    metadata = yaml.safe_dump(_metadata(manifest, sizes), sort_keys=False, allow_unicode=True, width=110)
    return template.render(
        metadata=metadata,
        manifest=manifest,
        shortcuts=shortcuts,
        has_methods=has_methods,
        reduced=reduced,
        measurements=measurements,
        about=About.of(manifest["source"]),
        maintainers=MAINTAINERS,
        paper=PAPER,
        records=RELEASED,
    )


def _plain(text: str) -> str:
    """Keep a name that somebody else chose from being read as Markdown or HTML."""
    return re.sub(r"[^\w\s.,:;()'“”-]", lambda match: f"&#{ord(match[0])};", " ".join(text.split()))


def _template() -> str:
    """Read ``dataset_card.md``: in an installed package beside this file, in the repository one folder up."""
    here = Path(__file__).parent
    found = next(path for path in (here / "dataset_card.md", here.parent / "dataset_card.md") if path.is_file())
    return found.read_text(encoding="utf-8")


def _metadata(manifest: Mapping[str, Any], sizes: Mapping[str, Mapping[str, SplitSize]]) -> dict[str, Any]:
    """Give the YAML of the card, which tells the Hub and `datasets` what the files are."""
    is_cifar10 = manifest["source"]["is_cifar10"]
    total = max(sum(split.num_examples for split in splits.values()) for splits in sizes.values())
    return {
        "pretty_name": manifest["title"],
        "license": "unknown",
        "annotations_creators": ["crowdsourced" if is_cifar10 else "other"],
        "language_creators": ["found"],
        "task_categories": ["image-classification"],
        "size_categories": [next((name for limit, name in SIZE_CATEGORIES if total < limit), "n>100M")],
        "source_datasets": ["extended|cifar10" if is_cifar10 else "original"],
        "tags": list(KEYWORDS),
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": data_files(name, split)} for split in splits],
                **({"default": True} if name == manifest["default"] else {}),
            }
            for name, splits in sizes.items()
        ],
        "dataset_info": [_dataset_info(name, splits, manifest["classes"]) for name, splits in sizes.items()],
    }


def data_files(configuration: str, split: str) -> str:
    """Give the pattern of a split's files; the test split is one for all configurations."""
    return f"data/{configuration}/{split}-*" if split == "train" else f"data/{split}-*"


def _dataset_info(name: str, splits: Mapping[str, SplitSize], classes: list[str]) -> dict[str, Any]:
    return {
        "config_name": name,
        "features": [
            {"name": "img", "dtype": "image"},
            {
                "name": "label",
                "dtype": {"class_label": {"names": {str(i): label for i, label in enumerate(classes)}}},
            },
        ],
        "splits": [
            {"name": split, "num_bytes": size.num_bytes, "num_examples": size.num_examples}
            for split, size in splits.items()
        ],
        "download_size": sum(size.file_bytes for size in splits.values()),
        "dataset_size": sum(size.num_bytes for size in splits.values()),
    }
