"""Which columns of a table have the images and the labels, and the labels as numbers with class names."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.data.images import OtherLabels
from cifar10_s.data.sources.choices import Choices, option
from cifar10_s.data.sources.found import UnlabelledError
from cifar10_s.data.sources.parquet import is_binary, is_text
from cifar10_s.data.sources.split_names import listed
from cifar10_s.data.whole_numbers import to_numpy
from cifar10_s.errors import SourceError

IMAGE, BYTES, CLASS, NUMBER, TEXT, OTHER = "image", "bytes", "class", "number", "text", "other"
# Names of columns with labels; the second kind only counts if there is no column of the first.
LABEL_NAMES = (re.compile(r"(.*[_ -])?labels?", re.IGNORECASE), re.compile(r"(.*[_ -])?(class|target|category|y)"))
NO_LABEL = -1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Column:
    """A column: what kind of values it has, and the names of its classes, if they have names."""

    kind: str
    names: tuple[str, ...] | None = None


Columns = Mapping[str, Column]


def columns_of(schema: Any, features: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns of an Arrow schema, with what the features of the Hub's library say of them.

    Parameters
    ----------
    schema
        The schema of a Parquet file.
    features
        By name, as ``Features.to_dict`` writes them; may be empty, and is untrusted.
    """
    return {field.name: _column(field.type, features.get(field.name)) for field in schema}


def stored_features(schema: Any, name: str) -> dict[str, Any]:
    """Return the features that the Hub's library stored in a schema; empty if there are none.

    Raises
    ------
    SourceError
        If they are not JSON of the expected form.
    """
    stored = (schema.metadata or {}).get(b"huggingface")
    if stored is None:
        return {}
    try:
        features = json.loads(stored)["info"]["features"]
        return {str(column): feature for column, feature in features.items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(
            f"{name}: cannot be loaded: its metadata has no features of the Hub's form ({type(error).__name__}); "
            "get it again"
        ) from None


def stored_names(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return the class names of each column that has some, as features say them."""
    objects = {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    return {name: feature["names"] for name, feature in objects.items() if feature.get("names") is not None}


def _column(kind: Any, feature: Any) -> Column:
    declared = feature.get("_type") if isinstance(feature, dict) else None
    is_file = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    if is_file and (declared == "Image" or (declared is None and is_binary(kind.field("bytes").type))):
        return Column(IMAGE)
    if is_binary(kind):
        return Column(IMAGE if declared == "Image" else BYTES)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if declared == "ClassLabel":
        names = feature.get("names")
        return Column(CLASS, tuple(names) if isinstance(names, list) else None)
    if pa.types.is_integer(kind):
        return Column(NUMBER)
    return Column(TEXT if is_text(kind) else OTHER)


def choose_columns(columns: Columns, choices: Choices, name: str) -> tuple[str, str]:
    """Return the names of the image column and the label column.

    Raises
    ------
    SourceError
        If a column that was chosen is not there, or there is none or more than one to choose from; the line lists
        them and names the option.
    """
    images = [column for column, of in columns.items() if of.kind == IMAGE]
    images = images or [column for column, of in columns.items() if of.kind == BYTES]
    return (
        _one("image_column", choices.image_column, images, columns, name),
        _one("label_column", choices.label_column, _label_columns(columns), columns, name),
    )


def _label_columns(columns: Columns) -> list[str]:
    """Return the columns that may have the labels: none is passed over for another."""
    for pattern in LABEL_NAMES:
        found = [column for column, of in columns.items() if of.kind == CLASS or pattern.fullmatch(column)]
        if found:
            return found
    return []


def other_label_columns(columns: Columns, chosen: str) -> list[str]:
    """Return the columns of labels besides the chosen one that are whole numbers, with or without names."""
    return [name for name in _label_columns(columns) if name != chosen and columns[name].kind in (CLASS, NUMBER)]


def _one(choice: str, chosen: str | None, candidates: list[str], columns: Columns, name: str) -> str:
    what = choice.replace("_", " ")
    failure = UnlabelledError if choice == "label_column" and not candidates else SourceError
    if chosen is not None:
        if chosen not in columns:
            raise SourceError(f"{name}: {option(choice)}: expected one of {listed(columns)}, got {chosen!r}")
        return chosen
    if choice == "image_column" and not candidates:
        raise SourceError(
            f"{name}: expected a column of image files, got the columns {listed(columns)}; lists of pixels, base64 and "
            "paths are not read: write image files, or NAME.pixels.npy and NAME.labels.npy in a folder"
        )
    if len(candidates) != 1:
        found = f"several ({listed(candidates)})" if candidates else "none that is known as such"
        raise failure(
            f"{name}: expected one {what}, got {found} among the columns {listed(columns)}; "
            f"choose one with {option(choice)}"
        )
    return candidates[0]


def other_labels(values: Mapping[str, Any], columns: Columns) -> dict[str, OtherLabels]:
    """Return columns of labels that are passed on; such with missing values, or without printable names, are not."""
    found = {}
    for name, column in values.items():
        names = columns[name].names
        is_plain = all(isinstance(text, str) and text.isprintable() for text in (name, *(names or ())))
        if is_plain and not column.null_count and pa.types.is_integer(column.type):
            found[name] = OtherLabels(to_numpy(column), names)
    return found


def read_labels(column: Any, of: Column, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels of a column, (N,) int64, and the class names.

    Numbers without names are named by themselves, whether they start at 0 or not; texts are the names of their classes,
    which are sorted, as folders are.

    Raises
    ------
    UnlabelledError
        If every label is missing, or -1.
    SourceError
        If some are missing, are neither whole numbers nor texts, or are out of range.
    """
    if of.kind == OTHER and pa.types.is_null(column.type):
        raise SourceError(
            f"{name}: labels: expected whole numbers or texts, got others, such as true or 1.0, or both; write them "
            "all as texts"
        )
    if column.null_count:
        raise _unlabelled(column.null_count, len(column), name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text(column.type):
        return _named_by_texts(column.to_pylist(), name)
    if not pa.types.is_integer(column.type):
        raise SourceError(
            f"{name}: labels: expected whole numbers or texts, got {column.type}; save them as one of these"
        )
    labels = to_numpy(column)
    if (labels == NO_LABEL).all():
        raise UnlabelledError(f"{name}: has no labels: all of them are {NO_LABEL}")
    if labels.min() < 0:
        raise SourceError(
            f"{name}: labels: expected whole numbers from 0, got {labels.min()} in {(labels < 0).sum()} rows; remove "
            "the rows without a label, or give them one"
        )
    if of.names is None:
        return named_by_numbers(labels, name)
    if labels.max() >= len(of.names):
        raise SourceError(f"{name}: labels: expected 0 to {len(of.names) - 1}, got {labels.max()}")
    return labels, _checked(of.names, name)


def _named_by_texts(values: list[str], name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    empty = sum(not text.strip() for text in values)
    if empty:
        raise _unlabelled(empty, len(values), name)
    texts = sorted(set(values))
    place = {text: label for label, text in enumerate(texts)}
    return np.array([place[text] for text in values], np.int64), _checked(tuple(texts), name)


def named_by_numbers(labels: NDArray[np.int64], name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the labels counted from 0, without gaps, and their numbers as names."""
    found = np.unique(labels)
    if found[-1] >= len(found):
        labels = np.searchsorted(found, labels)
        logger.info(
            "%s: labels are numbers from %s to %s, not 0 to %s: the classes are named by them",
            name, found[0], found[-1], len(found) - 1,
        )  # fmt: skip
    return labels, tuple(map(str, found.tolist()))


def _unlabelled(count: int, rows: int, name: str) -> SourceError:
    """Return the error of rows whose labels are missing, which an empty text is, as in a table of texts."""
    if count == rows:
        return UnlabelledError(f"{name}: has no labels: all of them are missing")
    return SourceError(f"{name}: {count} rows have no label: expected one in every row")


def _checked(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    is_printable: Callable[[object], bool] = lambda label: isinstance(label, str) and label.isprintable()  # noqa: E731
    if not all(map(is_printable, names)):
        raise SourceError(f"{name}: expected class names of printable characters, got {names!r:.200}")
    return names
