"""An image-classification dataset in the Hub's layout, from the Hub or a folder of Parquet → its images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.codec import EncodedImage
from cifar10_s.errors import SourceError
from cifar10_s.image_files import stream_files
from cifar10_s.images import Images, LabeledImages
from cifar10_s.parquet import opened, read_column, read_stream
from cifar10_s.provenance import Provenance
from cifar10_s.stream import Stream


def reach_hub(name: str) -> set[str]:
    """Ask the Hub once for a dataset: the library's own way asks again and again for half a minute.

    Gives the names of its files; offline, where the Hub is not asked, none.

    Raises
    ------
    SourceError
        Where it does not answer, or has no such dataset.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return set()
    try:
        files = HfApi().dataset_info(name, timeout=10).siblings or []
    except Exception as error:  # what the connection raises depends on the library beneath
        raise SourceError(
            f"{name}: the Hub does not give it ({_one_line(error)}); check the name and the network, give a local path "
            "to cifar-10-python.tar.gz or a folder, or set HF_HUB_OFFLINE=1 if it is in the cache"
        ) from None
    return {file.rfilename for file in files}


def open_dataset(name: str, split: str, provenance: Provenance) -> Images | None:
    """Open one split, or give None where there is no such; ``name`` is a Hub name or a folder.

    Parquet files become a stream, and are read where they are; what is stored otherwise is read into memory.

    Raises
    ------
    SourceError
        Where it cannot be read, or has not one image column and one label column, full in every row.
    """
    import datasets
    from datasets.packaged_modules.parquet.parquet import Parquet
    from huggingface_hub import constants

    try:
        builder = datasets.load_dataset_builder(name)
    except Exception as error:  # the library lets through whatever a server, a file or a parser raises
        raise SourceError(f"{name}: cannot be loaded ({_one_line(error)}); {_advice(provenance)}") from None
    if builder.info.splits and split not in builder.info.splits:
        return None
    files = [str(file) for file in (builder.config.data_files or {}).get(split, ())]
    if not isinstance(builder, Parquet) or (constants.HF_HUB_OFFLINE and any("://" in file for file in files)):
        return read_dataset(name, split, provenance)
    if not files:
        return None
    return _open_parquet(files, name, split, builder.info.features, provenance)


def _open_parquet(files: Sequence[str], name: str, split: str, features: Any, provenance: Provenance) -> Stream:
    import datasets

    with opened(files[0]) as parquet:
        schema = parquet.schema_arrow
    try:
        features = features or datasets.Features.from_arrow_schema(schema)
    except Exception as error:  # the file's own words on its columns, of whatever form
        raise SourceError(f"{files[0]}: cannot be loaded ({_one_line(error)}); {_advice(provenance)}") from None
    image_column, label_column = _columns(features, name)
    column = read_column(files, label_column)
    if not len(column):
        raise SourceError(f"{name}: has no rows: expected at least one image")
    labels, class_names = _labels(column, features[label_column], name)
    return read_stream(files, f"{name}: {split}", image_column, labels, class_names, provenance)


def read_dataset(name: str, split: str, provenance: Provenance) -> LabeledImages | None:
    """Read one split into memory, or give None where there is no such; errors as for `open_dataset`.

    What the Hub gives stays in the cache of `datasets`.
    """
    import datasets

    try:
        loaded = datasets.load_dataset(name, split=split)
    except Exception as error:  # the library lets through whatever a server, a file or a parser raises
        if isinstance(error, ValueError) and "Unknown split" in str(error):
            return None
        raise SourceError(f"{name}: cannot be loaded ({_one_line(error)}); {_advice(provenance)}") from None
    image_column, label_column = _columns(loaded.features, name)
    loaded = loaded.cast_column(image_column, datasets.Image(decode=False))
    files = _embedded_files(loaded.data.column(image_column), name)
    labels, class_names = _labels(loaded.data.column(label_column), loaded.features[label_column], name)
    return stream_files(files, labels, class_names, provenance, f"{name}: {split}").load()


def _one_line(error: BaseException) -> str:
    """Say what went wrong at the root of an error, in short."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def _advice(provenance: Provenance) -> str:
    if provenance.kind == "parquet":
        return "expected Parquet files in the Hub's layout"
    return "check the name, or give a local path to cifar-10-python.tar.gz or a folder"


def _columns(features: Any, name: str) -> tuple[str, str]:
    """Find the one image column and the label column."""
    import datasets

    images = [column for column, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    labels = labels or [column for column in ("label", "labels") if column in features]
    if len(images) != 1 or len(labels) != 1:
        raise SourceError(
            f"{name}: expected one image column and one label column, got columns {', '.join(features)} "
            f"with image columns {images} and label columns {labels}"
        )
    return images[0], labels[0]


def _embedded_files(column: Any, name: str) -> list[EncodedImage]:
    files = [data for chunk in column.chunks for data in chunk.field("bytes").to_pylist()]
    if not files:
        raise SourceError(f"{name}: has no rows: expected at least one image")
    missing = next((i for i, data in enumerate(files) if data is None), None)
    if missing is not None:
        raise SourceError(f"{name}: row {missing} has no image: expected the image's bytes in every row")
    return files


def _labels(column: Any, feature: Any, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    import datasets

    if column.null_count:
        raise SourceError(f"{name}: {column.null_count} rows have no label: expected one in every row")
    if not pa.types.is_integer(column.type):
        raise SourceError(f"{name}: labels: expected whole numbers, got {column.type}")
    labels = column.to_numpy().astype(np.int64)
    if labels.min() < 0:
        raise SourceError(f"{name}: labels: expected whole numbers from 0, got {labels.min()}")
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(feature.names)
    else:
        # Labels without names: each number up to the largest is a class, and must occur.
        found = np.unique(labels)
        if len(found) != found[-1] + 1:
            raise SourceError(
                f"{name}: labels: expected every number from 0 to the largest ({found[-1]}), got {len(found)} of them"
            )
        names = tuple(str(label) for label in found)
    if labels.max() >= len(names):
        raise SourceError(f"{name}: labels: expected 0 to {len(names) - 1}, got {labels.max()}")
    if not all(isinstance(label, str) and label.isprintable() for label in names):
        raise SourceError(f"{name}: expected class names of printable characters, got {names!r:.200}")
    return labels, names
