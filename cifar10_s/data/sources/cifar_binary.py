"""Read the binary versions of CIFAR-10 and CIFAR-100: records of one or two labels and 3,072 bytes of pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cifar10_s.data.cifar10 import CLASS_NAMES
from cifar10_s.data.images import LabeledImages
from cifar10_s.data.provenance import Provenance
from cifar10_s.data.sources.choices import Choices
from cifar10_s.data.sources.cifar10_archive import MAX_BATCH_BYTES, pixels_of_rows
from cifar10_s.data.sources.cifar100_archive import LABEL_CLASSES, MAX_BYTES, checked_names, choose_label, labelled
from cifar10_s.data.sources.found import Found
from cifar10_s.data.sources.place import Place
from cifar10_s.data.sources.published import Layout
from cifar10_s.errors import SourceError

PIXEL_BYTES = 3072
BATCHES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAME_FILES = {label: f"{label}_names.txt" for label in LABEL_CLASSES}
CIFAR10 = Layout(
    "CIFAR-10",
    "cifar-10-binary.tar.gz",
    "cifar-10-batches-bin",
    dict.fromkeys((*BATCHES["train"], *BATCHES["test"])),
    MAX_BATCH_BYTES,
    8 * MAX_BATCH_BYTES,
    ("batches.meta.txt", "readme.html"),
    "c32a1d4ab5d03f1284b67883e8d87530",
)
CIFAR100 = Layout(
    "CIFAR-100",
    "cifar-100-binary.tar.gz",
    "cifar-100-binary",
    dict.fromkeys(("train.bin", "test.bin", *NAME_FILES.values())),
    MAX_BYTES,
    2 * MAX_BYTES,
    (),
    "03b5dce01913d631647c71ecec9e9cb8",
)


def find_cifar10_binary(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of CIFAR-10's binary version; what opens them raises the errors of `Layout.read`.

    Raises
    ------
    SourceError
        If there is anything else beside the batches.
    """
    CIFAR10.check_others(place)
    open_ = partial(_open_cifar10, place, allow_unverified=allow_unverified)
    return Found({split: partial(open_, split) for split in BATCHES}, dict.fromkeys(BATCHES, place.text))


def find_cifar100_binary(place: Place, choices: Choices, *, allow_unverified: bool) -> Found:
    """Find the splits of CIFAR-100's binary version; errors as for `cifar100_archive.find_cifar100`."""
    CIFAR100.check_others(place)
    open_ = partial(_open_cifar100, place, choose_label(choices, place.text), allow_unverified=allow_unverified)
    return Found({split: partial(open_, split) for split in BATCHES}, dict.fromkeys(BATCHES, place.text))


def _check(layout: Layout, verified: bool) -> str | None:
    return f"MD5 of {layout.archive}" if verified else None


def _open_cifar10(place: Place, split: str, *, allow_unverified: bool) -> LabeledImages:
    files, verified = CIFAR10.read(place.path, BATCHES[split], allow_unverified=allow_unverified)
    batches = [_records(data, {"label": 10}, f"{place.path}: {name}") for name, data in files.items()]
    pixels = np.concatenate([batch.pixels for batch in batches])
    labels = np.concatenate([batch.labels["label"] for batch in batches])
    provenance = Provenance("cifar-10-binary", place.name, claims_cifar10=True, check=_check(CIFAR10, verified))
    return LabeledImages(pixels, labels, CLASS_NAMES, provenance)


def _open_cifar100(place: Place, chosen: str, split: str, *, allow_unverified: bool) -> LabeledImages:
    wanted = (f"{split}.bin", *NAME_FILES.values())
    files, verified = CIFAR100.read(place.path, wanted, allow_unverified=allow_unverified)
    # The coarse label comes first.
    kinds = {label: LABEL_CLASSES[label] for label in ("coarse_label", "fine_label")}
    records = _records(files[wanted[0]], kinds, f"{place.path}: {wanted[0]}")
    names = {
        label: checked_names(files[file].split(), label, f"{place.path}: {file}") for label, file in NAME_FILES.items()
    }
    provenance = Provenance("cifar-100-binary", place.name, check=_check(CIFAR100, verified))
    return labelled(records.pixels, records.labels, names, chosen, provenance)


@dataclass(frozen=True, eq=False)
class _Records:
    """Pixels, (N, 32, 32, 3), and the labels of each kind, (N,)."""

    pixels: NDArray[np.uint8]
    labels: Mapping[str, NDArray[np.int64]]


def _records(data: bytes, kinds: Mapping[str, int], name: str) -> _Records:
    """Parse records: a byte for each kind of label, then the planes of the pixels."""
    size = len(kinds) + PIXEL_BYTES
    if not data or len(data) % size:
        raise SourceError(f"{name}: expected records of {size} bytes, got {len(data)} bytes; download it again")
    rows = np.frombuffer(data, np.uint8).reshape(-1, size)
    labels = {}
    for column, (kind, count) in enumerate(kinds.items()):
        labels[kind] = rows[:, column].astype(np.int64)
        for row in np.flatnonzero(labels[kind] >= count)[:1]:
            raise SourceError(f"{name}: record {row}: {kind}: expected 0 to {count - 1}, got {labels[kind][row]}")
    return _Records(pixels_of_rows(rows[:, len(kinds) :], name), labels)
