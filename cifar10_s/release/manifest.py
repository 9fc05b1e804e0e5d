"""Read and write the manifest of a release, ``manifest.json``, as typed records."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from cifar10_s.common import typed_json
from cifar10_s.data.images import OtherLabels, values_sha256
from cifar10_s.data.provenance import Provenance
from cifar10_s.release.attribution import NO_ATTRIBUTION, Attribution
from cifar10_s.release.layout import TEST
from cifar10_s.release.metrics.perceptibility import Visibility
from cifar10_s.release.metrics.separability import Separability
from cifar10_s.release.own_method import OwnMethod

FORMAT = 1
# A name that the Hub accepts for a dataset, without its namespace; to be matched in ASCII.
DATASET_NAME = r"[A-Za-z0-9][\w.-]{0,95}"
# To be matched in ASCII.
VERSION = r"(0|[1-9]\d{0,8})(\.(0|[1-9]\d{0,8})){2}"

Count = Annotated[int, Meta(ge=0)]
Sha256 = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# A name that is safe as a part of a path.
PlainName = Annotated[str, Meta(pattern=r"(?a)\A\w[\w-]*\Z")]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The clean images that a release was built from.

    Attributes
    ----------
    kind, name, claims_cifar10, check, title, is_cifar10
        See `Provenance`.
    pixels_sha256
        Pixel digest of each split.
    choices, splits, left_out
        See `Provenance`; left out of the file if empty.
    """

    kind: str
    name: str
    claims_cifar10: bool
    check: str | None
    title: str
    is_cifar10: bool
    pixels_sha256: Mapping[str, Sha256]
    choices: Mapping[PlainName, str | int] = field(default_factory=dict)
    splits: Mapping[PlainName, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, provenance: Provenance, pixels_sha256: Mapping[str, str]) -> "Source":
        """Return the source of images with this provenance."""
        return cls(
            kind=provenance.kind,
            name=provenance.name,
            claims_cifar10=provenance.claims_cifar10,
            check=provenance.check,
            title=provenance.title,
            is_cifar10=provenance.is_cifar10,
            pixels_sha256=pixels_sha256,
            choices=provenance.choices,
            splits=provenance.splits,
            left_out=provenance.left_out,
        )

    @property
    def taken(self) -> str:
        """What was chosen of the source, in sentences that begin with a space; empty if it was taken as it is."""
        chosen = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.choices.items())
        splits = ", ".join(f"{split}: {name}" for split, name in self.splits.items())
        parts = {"Chosen of it": chosen, "Its names of the splits": splits, "Not taken": ", ".join(self.left_out)}
        return "".join(f" {what}: {text}." for what, text in parts.items() if text)

    @property
    def provenance(self) -> Provenance:
        """Provenance of the images, without what follows from it."""
        return Provenance(
            self.kind, self.name, self.claims_cifar10, self.check, self.choices, self.splits, self.left_out
        )


@dataclass(frozen=True, kw_only=True)
class OtherColumn:
    """Labels of another kind, in a column of their own.

    Attributes
    ----------
    names
        Their names, in order; None if they have none.
    values_sha256
        SHA-256 of the values of each split, as little-endian int64.
    """

    names: tuple[str, ...] | None
    values_sha256: Mapping[str, Sha256]

    @classmethod
    def of(cls, splits: Mapping[str, OtherLabels]) -> "OtherColumn":
        """Return the column of labels that all splits have."""
        names = next(iter(splits.values())).names
        return cls(names=names, values_sha256={split: values_sha256(labels.values) for split, labels in splits.items()})


@dataclass(frozen=True, kw_only=True)
class SplitEntry:
    """A clean split that all configurations share: its number of images and their pixel digest."""

    rows: Count
    pixels_sha256: Sha256


@dataclass(frozen=True, kw_only=True)
class ConfigurationEntry:
    """The training images of a configuration.

    Attributes
    ----------
    summary, budget
        See `Recipe`.
    rows, pixels_sha256
        Number of images, and their pixel digest.
    perceptibility
        How visible the perturbations are.
    separability
        How well they predict the class; None if no image is perturbed or there are too few images.
    """

    summary: str
    budget: str | None
    rows: Count
    pixels_sha256: Sha256
    perceptibility: Visibility
    separability: Separability | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Benchmark results in the release: number of records, and paths of their figures."""

    records: Count
    figures: tuple[str, ...]


# Fields of `Source` that are only written if they are set.
OPTIONAL = frozenset({"choices", "splits", "left_out"})
NO_RESULTS = Results(records=0, figures=())


@dataclass(frozen=True, kw_only=True)
class Description:
    """The part of a manifest that is known before the release is built.

    Attributes
    ----------
    format
        Version of the manifest's format: `FORMAT`.
    name, version, date, title
        Of the dataset.
    source
        The clean images.
    classes
        Names of the K classes, in order of label.
    shape
        (H, W, C) of every image.
    seed
        Seed of methods and controls.
    default
        Name of the default configuration.
    objectives
        Objectives of the search.
    columns
        Labels of other kinds, by the name of their column; left out of the file if there are none.
    recipe_only
        Whether the release has recipes and digests, and no images; left out of the file if it has images.
    own_methods
        Methods outside this package, by name; left out of the file if there are none.
    attribution
        What its makers say of it; left out of the file if they say nothing.
    """

    format: int
    name: str
    version: str
    date: str
    title: str
    source: Source
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    seed: int
    default: str
    objectives: tuple[str, ...]
    columns: Mapping[PlainName, OtherColumn] = field(default_factory=dict)
    recipe_only: bool = False
    own_methods: Mapping[PlainName, OwnMethod] = field(default_factory=dict)
    attribution: Attribution = NO_ATTRIBUTION


@dataclass(frozen=True, kw_only=True)
class Manifest(Description):
    """The contents of ``manifest.json``, with the fields in the order of the file.

    Attributes
    ----------
    device
        Device it was built on.
    libraries
        Versions of the libraries it was built with.
    splits
        The clean splits other than ``train``, by name.
    configurations
        The training images of each configuration, by name.
    results
        Benchmark results on them.
    """

    device: str
    libraries: Mapping[str, str]
    splits: Mapping[PlainName, SplitEntry]
    configurations: Mapping[PlainName, ConfigurationEntry]
    results: Results

    @property
    def pixels(self) -> dict[str, str]:
        """Pixel digest of the training images of each configuration."""
        return {name: entry.pixels_sha256 for name, entry in self.configurations.items()}

    @property
    def column_names(self) -> dict[str, tuple[str, ...] | None]:
        """Names of the labels of each other column."""
        return {name: column.names for name, column in self.columns.items()}

    @property
    def test_pixels(self) -> str | None:
        """Pixel digest of the test images, if there are any."""
        return self.splits[TEST].pixels_sha256 if TEST in self.splits else None

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as a JSON object, without optional fields that are not set."""
        data = asdict(self)
        data["attribution"] = self.attribution.to_dict()
        for name in ("columns", "recipe_only", "own_methods", "attribution"):
            if not data[name]:
                del data[name]
        data["source"] = {name: value for name, value in data["source"].items() if name not in OPTIONAL or value}
        return data

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return typed_json.dump(self.to_dict())


def read_manifest(text: bytes) -> Manifest:
    """Read a manifest; unknown fields, as of newer versions, are ignored.

    Parameters
    ----------
    text
        Bytes of a ``manifest.json``, untrusted.

    Raises
    ------
    ValueError
        If it is not JSON, or a field is missing or of another type; the message names the field.
    """
    return typed_json.read(text, Manifest)
