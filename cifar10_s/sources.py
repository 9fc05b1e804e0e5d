"""Sources: clean images from the Hub, the original archive, a folder, or the built-in sample."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from cifar10_s import archive
from cifar10_s.array_folder import CLASSES, is_array_folder, open_array_folder
from cifar10_s.checksums import MANIFEST, SUMS
from cifar10_s.distributed import RayMapper, distribute, start
from cifar10_s.errors import ChecksumError, SourceError, printable
from cifar10_s.hub import open_dataset, reach_hub, read_dataset
from cifar10_s.image_folder import open_image_folder
from cifar10_s.images import Images, LabeledImages, PixelDigest, to_uint8
from cifar10_s.provenance import Provenance

CIFAR10_ON_THE_HUB = "uoft-cs/cifar10"
SAMPLE = "sample"
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
# Every fifth digit is a test image: the sample is in order of writer, so both splits have all writers.
SAMPLE_TEST_EVERY = 5
# What a release has, and no other dataset.
RELEASE = (MANIFEST, SUMS, "recipes")

# What is known of the true CIFAR-10 in the Hub's order: the pixel digest (`PixelDigest`) of the first 1,000
# images of every 10,000, taken from originals, and the SHA-256 of all labels as little-endian int64.
KNOWN_EVERY, KNOWN_FIRST = 10_000, 1_000
KNOWN_PIXELS = {
    "train": "b17b911ad7ef7e27e8230e0fd4307f3c888933d67cf2a5e3f1620017137afc56",
    "test": "060410b2a521faf4a28590ccfdd74f8288a471416a24567f2877ed7ddc69d239",
}
KNOWN_LABELS = {
    "train": "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
    "test": "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
}


def load_source(
    source: str | Path = CIFAR10_ON_THE_HUB, *, split: str = "train", allow_unverified: bool = False
) -> LabeledImages:
    """Load one split of clean images into memory.

    Parameters
    ----------
    source
        A Hub dataset name; ``cifar-10-python.tar.gz`` or the folder it unpacks to; a folder of Parquet in
        the Hub's layout; a folder with one sub-folder of images a class (or ``train`` and ``test`` folders
        of such); a folder of NumPy arrays (`array_folder`); or ``sample``, scikit-learn's handwritten digits (8×8×1).
    split
        ``train`` or ``test``, or another that the source has.
    allow_unverified
        Take what claims to be CIFAR-10 though its checksum is another; it then says that it is unverified.

    Raises
    ------
    SourceError
        Where the source is not there, cannot be read, or has no such split.
    ChecksumError
        Where it claims to be CIFAR-10 and is not.
    """
    return open_source(source, split=split, allow_unverified=allow_unverified).load()


def open_source(
    source: str | Path = CIFAR10_ON_THE_HUB,
    *,
    split: str = "train",
    allow_unverified: bool = False,
    engine: str = "local",
    address: str | None = None,
) -> Images:
    """Open one split of clean images, of which no more is in memory than a task reads.

    The archive and the sample are small, and are read at once. A file that cannot be decoded is an error only when it
    is read.

    Parameters
    ----------
    source, split, allow_unverified
        See `load_source`, for the errors too.
    engine, address
        See `distributed.start`: with ``ray``, what is done to the images is done on a cluster.
    """
    mapper = start(engine, address)
    images = _open(_here(source, mapper), split, allow_unverified)
    if images is None:
        raise SourceError(f"{source}: has no split {split!r}; choose another split or source")
    return distribute(images, mapper)


def open_splits(
    source: str | Path = CIFAR10_ON_THE_HUB,
    *,
    allow_unverified: bool = False,
    engine: str = "local",
    address: str | None = None,
) -> dict[str, Images]:
    """Open ``train`` and, where the source has one, ``test``; arguments and errors as for `open_source`."""
    mapper = start(engine, address)
    source = _here(source, mapper)
    splits: dict[str, Images] = {"train": open_source(source, split="train", allow_unverified=allow_unverified)}
    test = _open(source, "test", allow_unverified)
    if test is not None:
        if test.class_names != splits["train"].class_names or test.shape[1:] != splits["train"].shape[1:]:
            raise SourceError(
                f"{source}: expected the same class names and image size in both splits, got {_form(splits['train'])} "
                f"in train and {_form(test)} in test; make them alike (arrays have their class names in {CLASSES})"
            )
        splits["test"] = test
    # What is checked in one split only is not checked.
    if any(images.provenance.check is None for images in splits.values()):
        splits = {split: _with_check(images, None) for split, images in splits.items()}
    return {split: distribute(images, mapper) for split, images in splits.items()}


def _here(source: str | Path, mapper: RayMapper | None) -> str:
    """Give a path as processes with another current folder read it, where there are such."""
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (see `_reader`)
    is_elsewhere = mapper is not None and str(source) != SAMPLE and path.exists()
    return str(path.resolve()) if is_elsewhere else str(source)


def _form(images: Images) -> str:
    names = printable(", ".join(images.class_names))
    return f"{len(images.class_names)} classes ({names:.80}) of {'×'.join(map(str, images.shape[1:]))}"


def load_splits(source: str | Path = CIFAR10_ON_THE_HUB, *, allow_unverified: bool = False) -> dict[str, LabeledImages]:
    """Load what `open_splits` opens into memory; arguments and errors as for `load_source`."""
    splits = open_splits(source, allow_unverified=allow_unverified)
    return {split: images.load() for split, images in splits.items()}


# A reader opens a split's images, or gives None where the source has no such split.
Reader = Callable[[str, bool], Images | None]


def _open(source: str, split: str, allow_unverified: bool) -> Images | None:
    try:
        return _reader(source)(split, allow_unverified)
    except OSError as error:
        raise SourceError(f"{source}: cannot be read ({error}); check the path and its permissions") from None


def _with_check(images: Images, check: str | None) -> Images:
    return replace(images, provenance=replace(images.provenance, check=check))  # type: ignore[type-var]


def _reader(source: str) -> Reader:
    """Choose how to read a source."""
    if source == SAMPLE:
        return _read_sample
    if not source.strip():
        raise SourceError("source: expected a path, a Hub dataset name, or 'sample', got nothing")
    # An unknown user's home stays as it is written, and is not there.
    path = Path(os.path.expanduser(source))  # noqa: PTH111
    if path.is_dir():
        return _folder_reader(path)
    if path.is_file():
        if source.endswith(ARCHIVE_SUFFIXES):
            return lambda split, allow: _read_archive(path, split, allow)
        raise SourceError(f"{source}: is a file: expected {' or '.join(ARCHIVE_SUFFIXES)}, or a folder")
    looks_like_a_path = source.startswith((".", "/", "~")) or source.count("/") > 1
    if looks_like_a_path or source.endswith(ARCHIVE_SUFFIXES):
        raise SourceError(f"{source}: is not there; give a path that exists, a Hub dataset name, or 'sample'")
    return lambda split, allow: _open_hub(source, split, allow)


def _folder_reader(path: Path) -> Reader:
    _refuse_release(path)
    for folder in (path, path / archive.FOLDER):
        if (folder / archive.META).is_file() or any((folder / name).is_file() for name in archive.BATCHES):
            return lambda split, allow: _read_archive(folder, split, allow)
    if next(path.rglob("*.parquet"), None):
        return lambda split, allow: open_dataset(str(path), split, Provenance("parquet", path.resolve().name))
    if is_array_folder(path):
        return lambda split, allow: open_array_folder(path, split)
    return lambda split, allow: open_image_folder(path, split)


def _refuse_release(path: Path) -> None:
    """Refuse a release and its data: read as one dataset, they are images that are poisoned already."""
    for folder in (path, path.resolve().parent):
        if all((folder / name).exists() for name in RELEASE):
            clean = folder / "data" / "clean"
            if clean.is_dir():
                raise _no_source(path, f"{clean}, its clean training images without the test split")
            raise _no_source(path)


def _no_source(release: str | Path, instead: str = "the images that it was built from") -> SourceError:
    return SourceError(f"{release}: is a release that `cifar10-s build` wrote: expected clean images: take {instead}")


def _read_archive(path: Path, split: str, allow_unverified: bool) -> LabeledImages | None:
    if split not in archive.SPLITS:
        return None
    pixels, labels, verified = archive.read_archive(path, split, allow_unverified=allow_unverified)
    check = "MD5 of the original archive's batches" if verified else None
    return LabeledImages(
        pixels,
        labels,
        archive.CLASS_NAMES,
        Provenance("archive", path.resolve().name, claims_cifar10=True, check=check),
    )


def _read_sample(split: str, allow_unverified: bool) -> LabeledImages | None:
    if split not in ("train", "test"):
        return None
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Levels 0-16 become 0-255: 16·255/16 is exact, the others are rounded to nearest.
    pixels = to_uint8(digits.images[..., None] * (255 / 16))
    is_test = np.arange(len(pixels)) % SAMPLE_TEST_EVERY == SAMPLE_TEST_EVERY - 1
    chosen = is_test if split == "test" else ~is_test
    return LabeledImages(
        pixels[chosen],
        digits.target[chosen].astype(np.int64),
        tuple(str(name) for name in digits.target_names),
        Provenance("sample", "scikit-learn's handwritten digits"),
    )


def _open_hub(name: str, split: str, allow_unverified: bool) -> Images | None:
    if {file.partition("/")[0] for file in reach_hub(name)}.issuperset(RELEASE):
        raise _no_source(name)
    claims = name == CIFAR10_ON_THE_HUB
    images = (read_dataset if claims else open_dataset)(name, split, Provenance("hub", name, claims_cifar10=claims))
    if images is None or not claims or split not in KNOWN_LABELS:
        return images
    failure = compare_with_cifar10(images, split)
    if failure is None:
        return _with_check(images, "labels of all images and pixels of the first 1,000 of every 10,000")
    if allow_unverified:
        return images
    raise ChecksumError(
        f"{name}: the {split} split is not CIFAR-10's: {failure}; build from cifar-10-python.tar.gz, or pass "
        "--allow-unverified to use it as an unverified copy"
    )


def compare_with_cifar10(images: Images, split: str) -> str | None:
    """Compare a whole split with what is known of CIFAR-10: None if equal, else what was expected and came."""
    if images.class_names != archive.CLASS_NAMES:
        return f"expected the classes {', '.join(archive.CLASS_NAMES)}, got {', '.join(images.class_names)}"
    labels = hashlib.sha256(images.labels.astype("<i8").tobytes()).hexdigest()
    if labels != KNOWN_LABELS[split]:
        return f"expected labels of SHA-256 {KNOWN_LABELS[split]}, got {labels}"
    known = images.take(np.flatnonzero(np.arange(len(images)) % KNOWN_EVERY < KNOWN_FIRST))
    digest = PixelDigest(known.shape, known.labels)
    digest.update(known.pixels)
    if digest.hexdigest() != KNOWN_PIXELS[split]:
        return (
            f"expected pixel digest {KNOWN_PIXELS[split]} of the first {KNOWN_FIRST} of every {KNOWN_EVERY} "
            f"images, got {digest.hexdigest()}"
        )
    return None
