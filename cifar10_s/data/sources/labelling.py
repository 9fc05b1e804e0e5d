"""Choose one of several kinds of labels, as a column of a table is chosen."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.data.images import OtherLabels
from cifar10_s.data.sources.columns import (
    NUMBER,
    OTHER,
    TEXT,
    Column,
    Columns,
    other_label_columns,
    other_labels,
    read_labels,
)

# At most as many digits as fit into 64 bits. What begins with 0, such as 007, is a name; 2.0 is how pandas writes 2 in
# a column in which a value was missing.
WHOLE_NUMBER = re.compile(r"(?a)-?(0|[1-9]\d{0,17})(\.0+)?")
Labelling = tuple[NDArray[Any], tuple[str, ...], dict[str, OtherLabels]]


def take_labels(values: Mapping[str, Any], columns: Columns, chosen: str, name: str) -> Labelling:
    """Return the labels, (N,) int64, the class names, and the labels of other kinds.

    Parameters
    ----------
    values
        The columns of labels as chunked Arrow arrays, by name.
    columns
        What each column is.
    chosen
        The column of the labels.
    name
        How errors call the split.

    Raises
    ------
    UnlabelledError, SourceError
        See `columns.read_labels`.
    """
    labels, class_names = read_labels(values[chosen], columns[chosen], name)
    others = {other: values[other] for other in other_label_columns(columns, chosen) if other in values}
    return labels, class_names, other_labels(others, columns)


def as_columns(values: Mapping[str, Sequence[Any]]) -> tuple[dict[str, Any], dict[str, Column]]:
    """Return columns of plain values as chunked Arrow arrays, and what each is; an empty text is a missing value.

    A column of whole numbers, also such written as texts, has numbers; one of other texts has texts.
    """
    arrays, columns = {}, {}
    for name, listed in values.items():
        plain = [None if value == "" else _whole(value) for value in listed]
        given = [value for value in plain if value is not None]
        if all(isinstance(value, str) and WHOLE_NUMBER.fullmatch(value) for value in given):
            plain = [None if value is None else int(value.partition(".")[0]) for value in plain]
            given = [value for value in plain if value is not None]
        if all(type(value) is int and abs(value) < 1 << 63 for value in given):
            arrays[name], columns[name] = pa.chunked_array([pa.array(plain, pa.int64())]), Column(NUMBER)
        elif all(isinstance(value, str) for value in given):
            # A lone surrogate, which JSON can have, is not text in UTF-8; different ones stay different.
            texts = [None if value is None else value.encode("utf-8", "backslashreplace").decode() for value in plain]
            arrays[name], columns[name] = pa.chunked_array([pa.array(texts, pa.string())]), Column(TEXT)
        else:
            arrays[name], columns[name] = pa.chunked_array([pa.nulls(len(plain))]), Column(OTHER)
    return arrays, columns


def _whole(value: Any) -> Any:
    """Return a whole number that JSON has as a fraction, such as 2.0, as such; other values as they are."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value
