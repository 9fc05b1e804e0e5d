"""Image-classification datasets on the Hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cifar10_s.data.cifar10 import LABELS_SHA256, compare_with_cifar10
from cifar10_s.data.codec import EncodedImage
from cifar10_s.data.images import Images, LabeledImages
from cifar10_s.data.provenance import HUB_NAME, Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.columns import (
    choose_columns,
    columns_of,
    other_label_columns,
    stored_features,
)
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.image_files import stream_files
from cifar10_s.data.sources.labelling import take_labels
from cifar10_s.data.sources.parquet import has_no_image, opened
from cifar10_s.data.sources.parquet_folder import open_files
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import FILE_SUFFIXES
from cifar10_s.data.sources.release_folder import refuse_release_files
from cifar10_s.data.sources.selection import convert
from cifar10_s.data.sources.split_names import listed
from cifar10_s.errors import ChecksumError, SourceError, one_line, root_cause


def is_hub_name(place: Place) -> bool:
    """Return whether a source can be the name of a dataset on the Hub, and is neither like a path nor a file here."""
    source = place.text
    looks_like_a_path = source.startswith((".", "/", "~")) or source.count("/") > 1
    return not (looks_like_a_path or not source.strip() or source.endswith(FILE_SUFFIXES) or place.path.is_file())


@dataclass(frozen=True)
class HubDataset:
    """One configuration of a dataset on the Hub, as its library sees it.

    Attributes
    ----------
    splits
        The Parquet files of each split, by URL; none of a split that has to be read into memory.
    features
        The declared features, by column; None if they are only in the files.
    notes
        What was decided about the configuration, in words.
    """

    splits: dict[str, list[str]]
    features: dict[str, Any] | None
    notes: tuple[str, ...] = ()


def find_hub_dataset(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of a dataset on the Hub; what claims to be CIFAR-10 is compared with its checksums when opened.

    Raises
    ------
    SourceError
        See `reach_hub` and `read_hub`; also if the dataset is a release.
    """
    name = place.text
    refuse_release_files(name, reach_hub(name, choices.revision))
    dataset = read_hub(name, choices)
    open_ = partial(_open_split, name=name, dataset=dataset, choices=choices, allow_unverified=allow_unverified)
    return Found(
        {split: partial(open_, split) for split in dataset.splits},
        {split: f"{name} ({split})" for split in dataset.splits},
        dataset.notes,
    )


def reach_hub(name: str, revision: str | None = None) -> set[str]:
    """Return the names of a dataset's files on the Hub; none if offline, when the Hub is not asked.

    The Hub is asked once: the library that loads datasets would retry for half a minute.

    Raises
    ------
    SourceError
        If the Hub does not answer, or has no such dataset.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return set()
    try:
        files = HfApi().dataset_info(name, revision=revision, timeout=10).siblings or []
    except Exception as error:  # what the connection raises depends on the HTTP library
        raise SourceError(
            f"{name}: cannot be fetched from the Hub ({one_line(root_cause(error))}); check the name and the "
            "network, give a local path to cifar-10-python.tar.gz or a folder, or set HF_HUB_OFFLINE=1 if it is in the "
            "cache"
        ) from None
    return {file.rfilename for file in files}


def read_hub(name: str, choices: Choices) -> HubDataset:
    """Return the configuration of a dataset that is to be read.

    Raises
    ------
    SourceError
        If it cannot be loaded, or there are several configurations and none is chosen.
    """
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet
    from huggingface_hub import constants

    try:
        builder = datasets.load_dataset_builder(name, choices.config, revision=choices.revision)
    except Exception as error:  # the library passes on whatever a server, a file or a parser raises
        configurations = _configurations(name, choices) if "onfig" in str(error) else []
        if len(configurations) > 1:
            raise SourceError(
                f"{name}: has several configurations ({listed(configurations)}); choose one with --source-config"
            ) from None
        raise _unloadable(name, error) from None
    files = {str(split): [str(file) for file in of] for split, of in (builder.config.data_files or {}).items()}
    in_memory = name == HUB_NAME or not isinstance(builder, Parquet)
    is_cached_only = constants.HF_HUB_OFFLINE and any("://" in file for of in files.values() for file in of)
    names = list(files) or [str(split) for split in builder.info.splits or ()]
    features = builder.info.features.to_dict() if builder.info.features else None
    notes: tuple[str, ...] = ()
    if choices.config is None and len(builder.builder_configs) > 1:
        others = listed(other for other in builder.builder_configs if other != builder.config.name)
        notes = (f"configuration {builder.config.name}, its default; --source-config takes {others}",)
    splits = {split: [] if in_memory or is_cached_only else files.get(split, []) for split in names}
    return HubDataset(splits, features, notes)


def _configurations(name: str, choices: Choices) -> list[str]:
    import datasets

    try:
        return list(datasets.get_dataset_config_names(name, revision=choices.revision))
    except Exception:  # what the first error says is enough
        return []


def _open_split(split: str, *, name: str, dataset: HubDataset, choices: Choices, allow_unverified: bool) -> Images:
    claims = name == HUB_NAME
    provenance = Provenance("hub", name, claims_cifar10=claims)
    if not claims:
        return _read(split, name, dataset, provenance, choices)
    # It is compared as it is, and converted afterwards.
    images = _read(split, name, dataset, provenance, replace(choices, resize=None, mode=None))
    images = _checked(images, split, name, allow_unverified=allow_unverified) if split in LABELS_SHA256 else images
    return convert(images, choices.conversion) if choices.conversion else images


def _checked(images: Images, split: str, name: str, *, allow_unverified: bool) -> Images:
    """Return the images with what was found equal to CIFAR-10."""
    failure = compare_with_cifar10(images, split)
    if failure is None:
        check = "labels of all images and pixels of the first 1,000 of every 10,000"
        return replace(images, provenance=replace(images.provenance, check=check))  # type: ignore[type-var]
    if allow_unverified:
        return images
    raise ChecksumError(
        f"{name}: the {split} split is not CIFAR-10's: {failure}; build from cifar-10-python.tar.gz, or pass "
        "--allow-unverified to use it as an unverified copy"
    )


def _read(split: str, name: str, dataset: HubDataset, provenance: Provenance, choices: Choices) -> Images:
    files = dataset.splits[split]
    if files:
        return _open_parquet(files, split, name, dataset, provenance, choices)
    return read_dataset(name, split, provenance, choices)


def _open_parquet(
    files: list[str], split: str, name: str, dataset: HubDataset, provenance: Provenance, choices: Choices
) -> Images:
    with opened(files[0]) as parquet:
        schema = parquet.schema_arrow
    features = dataset.features or stored_features(schema, files[0])
    return open_files(files, split, columns_of(schema, features), name, provenance, choices)


def read_dataset(name: str, split: str, provenance: Provenance, choices: Choices) -> LabeledImages:
    """Read one split into memory; files from the Hub stay in the cache of `datasets`.

    Raises
    ------
    SourceError
        If it cannot be read, or does not have one image column and one label column without missing values.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, choices.config, split=split, revision=choices.revision)
    except Exception as error:  # the library passes on whatever a server, a file or a parser raises
        raise _unloadable(name, error) from None
    columns = columns_of(loaded.data.schema, loaded.features.to_dict())
    image_column, label_column = choose_columns(columns, choices, name)
    loaded = loaded.cast_column(image_column, datasets.Image(decode=False))
    files = _embedded_files(loaded.data.column(image_column), name)
    values = {one: loaded.data.column(one) for one in (label_column, *other_label_columns(columns, label_column))}
    title, conversion = f"{name}: {split}", choices.conversion
    labels, class_names, others = take_labels(values, columns, label_column, title)
    images = stream_files(files, labels, class_names, provenance, title, conversion=conversion).load()
    return replace(images, other_labels=others)


def _unloadable(name: str, error: Exception) -> SourceError:
    advice = "check the name, or give a local path to cifar-10-python.tar.gz or a folder"
    return SourceError(f"{name}: cannot be loaded ({one_line(root_cause(error))}); {advice}")


def _embedded_files(column: Any, name: str) -> Sequence[EncodedImage]:
    files = [data for chunk in column.chunks for data in chunk.field("bytes").to_pylist()]
    if not files:
        raise SourceError(f"{name}: has no rows: expected at least one image")
    missing = next((i for i, data in enumerate(files) if data is None), None)
    if missing is not None:
        raise has_no_image(name, missing)
    return files
