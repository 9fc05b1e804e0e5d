"""Read the original CIFAR-100 archive, or the folder it unpacks to, without trusting its pickles."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.cifar10_archive import pixels_of_rows, plain_labels
from cifar10_s.data.sources.columns import CLASS, IMAGE, Column, choose_columns
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.labelling import take_labels
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import Layout
from cifar10_s.data.unpickling import load_plain
from cifar10_s.errors import SourceError

DATASET, SPLITS, META = "CIFAR-100", ("train", "test"), "meta"
# The columns are called as on the Hub; the archive calls the lists ``fine_labels`` and ``coarse_labels``.
LABEL_CLASSES = {"fine_label": 100, "coarse_label": 20}
# The training file takes 155,249,918 bytes.
MAX_BYTES = 1 << 28
LAYOUT = Layout(
    DATASET,
    "cifar-100-python.tar.gz",
    "cifar-100-python",
    {
        "train": "16019d7e3df5f24257cddd939b257f8d",
        "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        META: "7973b15100ade9c7d40fb424638fde48",
    },
    MAX_BYTES,
    2 * MAX_BYTES,
    ("file.txt~",),
    "eb9058c3a382ffc7106e4002c42a8d85",
)


def find_cifar100(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of CIFAR-100 as pickles; what opens them raises the errors of `Layout.read`.

    Raises
    ------
    SourceError
        If there is anything else beside its files, or it is not chosen which labels to take.
    """
    LAYOUT.check_others(place)
    chosen = choose_label(choices, place.text)
    open_ = partial(_open_split, place, chosen, allow_unverified=allow_unverified)
    return Found({split: partial(open_, split) for split in SPLITS}, dict.fromkeys(SPLITS, place.text))


def choose_label(choices: Choices, name: str) -> str:
    """Return which of the two labels is taken; errors as for `columns.choose_columns`."""
    columns = {"img": Column(IMAGE), **{label: Column(CLASS) for label in LABEL_CLASSES}}
    return choose_columns(columns, choices, name)[1]


def labelled(
    pixels: NDArray[np.uint8],
    labels: Mapping[str, NDArray[np.int64]],
    names: Mapping[str, tuple[str, ...]],
    chosen: str,
    provenance: Provenance,
) -> LabeledImages:
    """Return images with the chosen labels; the others are passed on beside them.

    Raises
    ------
    SourceError
        If there is none, or a label is out of range.
    """
    name = provenance.name
    if not len(pixels):
        raise SourceError(f"{name}: has no rows: expected at least one image")
    columns = {label: Column(CLASS, names[label]) for label in LABEL_CLASSES}
    values = {label: pa.chunked_array([pa.array(labels[label])]) for label in LABEL_CLASSES}
    taken, class_names, others = take_labels(values, columns, chosen, name)
    return LabeledImages(pixels, taken, class_names, provenance, others)


def checked_names(listed: Any, label: str, name: str) -> tuple[str, ...]:
    """Return the names of the classes of a kind of label.

    Raises
    ------
    SourceError
        If they are not as many texts as there are classes.
    """
    texts = [text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in listed]
    if len(texts) != LABEL_CLASSES[label] or not all(isinstance(text, str) and text for text in texts):
        raise SourceError(f"{name}: expected the {LABEL_CLASSES[label]} names of {label}, got {len(texts)}")
    return tuple(texts)


def _open_split(place: Place, chosen: str, split: str, *, allow_unverified: bool) -> LabeledImages:
    files, verified = LAYOUT.read(place.path, (split, META), allow_unverified=allow_unverified)
    batch, meta = (_by_text(data, f"{place.path}: {name}") for name, data in files.items())
    title = f"{place.path}: {split}"
    pixels = pixels_of_rows(batch.get("data"), title)
    labels = {
        label: plain_labels(batch.get(f"{label}s"), len(pixels), count, f"{title}: {label}s")
        for label, count in LABEL_CLASSES.items()
    }
    names = {label: _names(meta, label, place.path) for label in LABEL_CLASSES}
    check = f"MD5 of the files of {DATASET}'s original archive" if verified else None
    return labelled(pixels, labels, names, chosen, Provenance("cifar-100", place.name, check=check))


def _by_text(data: bytes, name: str) -> dict[str, Any]:
    """Return a pickled dictionary; Python 2 wrote its keys as bytes."""
    found = load_plain(data, name)
    if not isinstance(found, dict):
        raise SourceError(f"{name}: expected a dictionary, got {type(found).__name__}")
    return {key.decode("latin1") if isinstance(key, bytes) else str(key): value for key, value in found.items()}


def _names(meta: Mapping[str, Any], label: str, path: Path) -> tuple[str, ...]:
    listed = meta.get(f"{label}_names")
    return checked_names(listed if isinstance(listed, list) else [], label, f"{path}: {META}")
