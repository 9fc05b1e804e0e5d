"""The card of a dataset on the Hub, a README.md: the configurations, features and rows that its metadata declares."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from cifar10_s.data.sources.place import Folder
from cifar10_s.data.sources.release_folder import CARD
from cifar10_s.data.sources.split_names import TRAIN
from cifar10_s.errors import SourceError

# The name of a configuration that a card does not name.
DEFAULT = "default"
MAX_CARD_BYTES = 1 << 20
# A pattern with more wildcards could take for ever to match.
MAX_WILDCARDS = 4
WILDCARDS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


@dataclass(frozen=True)
class Declared:
    """A configuration that a card lists, with the patterns of each split's files, from the dataset's folder."""

    name: str
    patterns: Mapping[str, Sequence[str]]
    is_default: bool

    def files(self, split: str, present: Iterable[str]) -> list[str]:
        """Return the files of a split among those that are there."""
        return [file for file in present if any(_matches(pattern, file) for pattern in self.patterns[split])]


@dataclass(frozen=True)
class DatasetCard:
    """What a card declares; it is untrusted.

    Attributes
    ----------
    metadata
        The object in its YAML; empty without a card.
    """

    metadata: Mapping[str, Any]

    @classmethod
    def of(cls, root: Folder) -> "DatasetCard":
        """Read the card of a dataset's folder, if it has one.

        Raises
        ------
        SourceError
            If its metadata is not YAML.
        """
        return cls(_metadata(root) if CARD in root.files else {})

    @cached_property
    def configurations(self) -> list[Declared]:
        """The configurations that it lists with files."""
        return [
            Declared(_name(entry), _patterns(entry), entry.get("default") is True)
            for entry in _objects(self.metadata.get("configs"))
            if entry.get("data_files")
        ]

    @cached_property
    def features(self) -> dict[str, dict[str, Any]]:
        """The features of each configuration, in the form of `columns.columns_of`."""
        return {
            _name(info): {str(one.get("name")): _feature(one.get("dtype")) for one in _objects(info["features"])}
            for info in _objects(self.metadata.get("dataset_info"))
            if isinstance(info.get("features"), list)
        }

    def rows(self, name: str) -> dict[str, int]:
        """Return the number of rows of each split of a configuration, as far as they are declared."""
        infos = [info for info in _objects(self.metadata.get("dataset_info")) if _name(info) == name]
        splits = [split for info in infos for split in _objects(info.get("splits"))]
        counts = {str(split.get("name")): split.get("num_examples") for split in splits}
        return {split: count for split, count in counts.items() if isinstance(count, int)}


def _metadata(root: Folder) -> Mapping[str, Any]:
    import yaml

    path = root.path / CARD
    with path.open("rb") as file:
        text = file.read(MAX_CARD_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    front, found, _ = text.removeprefix("---\n").partition("\n---")
    if not (text.startswith("---\n") and found):
        return {}
    try:
        metadata = yaml.safe_load(front)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SourceError(f"{path}: its metadata is not YAML ({type(error).__name__}); correct or remove it") from None
    return metadata if isinstance(metadata, dict) else {}


def _objects(found: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or the one that stands in its place; nothing else."""
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("config_name", DEFAULT))


def _patterns(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the patterns of each split, from any of the forms that a card may have."""
    folder, files = str(entry.get("data_dir") or ""), entry["data_files"]
    if isinstance(files, dict):
        splits = list(files.items())
    elif isinstance(files, list) and all(isinstance(one, dict) for one in files):
        splits = [(one.get("split", TRAIN), one.get("path", ())) for one in files]
    else:
        splits = [(TRAIN, files)]
    return {
        str(split): [_join(folder, str(one)) for one in (paths if isinstance(paths, list) else [paths])]
        for split, paths in splits
    }


def _join(folder: str, pattern: str) -> str:
    return str(PurePosixPath(folder, pattern)) if folder else pattern


def _matches(pattern: str, file: str) -> bool:
    """Return whether a path matches a pattern, whose ``*`` stops at a slash and whose ``**`` does not."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern.removeprefix("./"))
    if len(parts) // 2 > MAX_WILDCARDS:
        return False
    expression = "".join(WILDCARDS.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(expression, file) is not None


def _feature(dtype: Any) -> dict[str, Any]:
    if dtype == "image":
        return {"_type": "Image"}
    label = dtype.get("class_label") if isinstance(dtype, dict) else None
    if not isinstance(label, dict):
        return {"_type": "Value"}
    names = label.get("names")
    return {"_type": "ClassLabel", "names": _by_number(names) if isinstance(names, dict) else names}


def _by_number(names: Mapping[Any, Any]) -> list[Any]:
    """Return names in the order of their labels, which a card may list in another, such as 0, 1, 10, 2."""
    try:
        return [names[label] for label in sorted(names, key=int)]
    except (ValueError, TypeError):
        return list(names.values())
