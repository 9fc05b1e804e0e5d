"""Load or open splits of clean images, from any source of the table (`registry.SOURCES`)."""

import logging
import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from cifar10_s.common.files import expand_home
from cifar10_s.data.cluster import Cluster, distribute
from cifar10_s.data.images import Images, LabeledImages
from cifar10_s.data.provenance import HUB_NAME
from cifar10_s.data.sources.array_folder import CLASS_NAMES_FILE
from cifar10_s.data.sources.choices import NO_CHOICES, NONE, Choices
from cifar10_s.data.sources.found import Found, UnlabelledError
from cifar10_s.data.sources.registry import Source, find_source
from cifar10_s.data.sources.release_folder import IMAGE_COLUMN, LABEL_COLUMN
from cifar10_s.data.sources.sample import SAMPLE
from cifar10_s.data.sources.selection import chosen_classes, convert, rename, select
from cifar10_s.data.sources.split_names import TEST, TRAIN, VALIDATION, listed, role, test_splits, train_split
from cifar10_s.errors import SourceError, printable

# Columns of a release, and of its description, are called so; others have names that are safe everywhere.
RESERVED_COLUMNS = IMAGE_COLUMN, LABEL_COLUMN, "split"
COLUMN_NAME = r"(?a)\w[\w-]*"
logger = logging.getLogger(__name__)


def load_images(
    source: str | Path = HUB_NAME,
    *,
    split: str = "train",
    choices: Choices = NO_CHOICES,
    allow_unverified: bool = False,
) -> LabeledImages:
    """Load one split of clean images into memory.

    Parameters
    ----------
    source
        A Hub dataset name; ``cifar-10-python.tar.gz`` or the folder it unpacks to; a folder of Parquet files in
        the Hub's layout; a folder with one sub-folder of images per class (or folders of such, one per split); a
        folder of NumPy arrays (`array_folder`); another form of ``docs/your-images.md``, such as a zip of images or
        CIFAR-100's archive; or ``sample``, scikit-learn's handwritten digits (8×8×1).
    split
        ``train`` or ``test``, or another that the source has, by its own name.
    choices
        What to take, if the source offers more than one thing.
    allow_unverified
        Accept a source that claims to be CIFAR-10 or CIFAR-100 but has other checksums; its provenance then says so.

    Raises
    ------
    SourceError
        If the source is missing, cannot be read, or has no such split; if it offers several things and none is
        chosen; and if it is or holds a release.
    ChecksumError
        If the source claims to be CIFAR-10 or CIFAR-100 and is not, unless ``allow_unverified``.

    Examples
    --------
    >>> import cifar10_s
    >>> images = cifar10_s.load_images("sample", split="test")
    >>> images.pixels.shape, images.pixels.dtype
    ((359, 8, 8, 1), dtype('uint8'))
    """
    return open_images(source, split=split, choices=choices, allow_unverified=allow_unverified).load()


def open_images(
    source: str | Path = HUB_NAME,
    *,
    split: str = "train",
    choices: Choices = NO_CHOICES,
    allow_unverified: bool = False,
    engine: str = "local",
    address: str | None = None,
) -> Images:
    """Open one split of clean images; only what is being read is in memory.

    The archive and the sample are small, and are read immediately. A file that cannot be decoded raises only when it
    is read. What is taken as what is logged.

    Parameters
    ----------
    source, split, choices, allow_unverified
        See `load_images`, for the errors too.
    engine, address
        See `Cluster.of`: with ``ray``, the images are read and processed on a cluster.

    Examples
    --------
    >>> import cifar10_s
    >>> cifar10_s.open_images("sample").shape
    (1438, 8, 8, 1)
    """
    cluster = Cluster.of(engine, address)
    opening = _Opening.of(_for_workers(source, cluster), choices, allow_unverified=allow_unverified)
    if split == TRAIN:
        opened = {split: opening.train()}
    elif split == TEST:
        opened = opening.test(choices.train_split or TRAIN)
    else:
        opened = opening.other(split)
    if split not in opened:
        raise SourceError(f"{source}: has no split {split!r}; choose another split or source")
    return distribute(opening.finish(opened, all_known=False)[split], cluster)


def open_splits(
    source: str | Path = HUB_NAME,
    *,
    choices: Choices = NO_CHOICES,
    allow_unverified: bool = False,
    cluster: Cluster | None = None,
) -> dict[str, Images]:
    """Open ``train`` and, if the source has one, ``test``; arguments and errors as for `open_images`."""
    opening = _Opening.of(_for_workers(source, cluster), choices, allow_unverified=allow_unverified)
    opened = {TRAIN: opening.train()}
    opened |= opening.test(opened[TRAIN][0])
    splits = opening.finish(opened, all_known=True)
    # If only one split is verified, the source is not.
    if any(images.provenance.check is None for images in splits.values()):
        splits = {split: _from(images, check=None) for split, images in splits.items()}
    return {split: distribute(images, cluster) for split, images in splits.items()}


@dataclass(frozen=True)
class _Opening:
    """A source whose splits are being opened; an opened split comes with the source's name of it."""

    source: str
    kind: Source
    found: Found
    choices: Choices

    @classmethod
    def of(cls, source: str, choices: Choices, *, allow_unverified: bool) -> "_Opening":
        """Find a source; errors as for `find_source`."""
        return cls(source, *find_source(source, choices, allow_unverified=allow_unverified), choices)

    def train(self) -> tuple[str, Images]:
        """Open the training split."""
        name = train_split(self.found.splits, self.choices, self.source)
        try:
            return name, self._open(name)
        except UnlabelledError as error:
            message = str(error)
            advice = "" if "--" in message else "; name a split that has labels with --train-split, or give others"
            raise SourceError(f"{message}{advice}") from None

    def test(self, train: str) -> dict[str, tuple[str, Images]]:
        """Open the test split, if there is one; without labels, the validation split stands in for it."""
        unlabelled = None
        for name in test_splits(self.found.splits, self.choices, self.source, train):
            try:
                return {TEST: (name, self._open(name))}
            except UnlabelledError as error:
                unlabelled = unlabelled or error
        if unlabelled is not None:
            raise SourceError(
                f"{unlabelled}; leave the test split out with --test-split {NONE}, or name another"
            ) from None
        return {}

    def other(self, split: str) -> dict[str, tuple[str, Images]]:
        """Open a split that is neither, by its name or by what it is for; nothing if there is no such split."""
        names = [name for name in self.found.splits if name == split]
        names = names or [name for name in self.found.splits if role(name) and role(name) == role(split)]
        return {split: (names[0], self._open(names[0]))} if names else {}

    def _open(self, name: str) -> Images:
        try:
            images = self.found.splits[name]()
        except OSError as error:
            raise SourceError(f"{self.source}: cannot be read ({error}); check the path and its permissions") from None
        conversion = self.choices.conversion
        return convert(images, conversion) if conversion and not self.kind.decodes else images

    def finish(self, opened: dict[str, tuple[str, Images]], *, all_known: bool) -> dict[str, Images]:
        """Return the splits with alike classes, and of these what is chosen; say what was taken as what.

        Parameters
        ----------
        opened
            The splits.
        all_known
            Whether what was not opened is left out, rather than not asked for.
        """
        splits = self._alike({split: images for split, (_, images) in opened.items()})
        splits = self._with_shared_labels(splits)
        names = next(iter(splits.values())).class_names
        for name, count in Counter(normalize("NFC", name) for name in names).items():
            if count > 1:
                spelled = ", in different Unicode normalisations" if names.count(name) < count else ""
                raise SourceError(
                    f"{self.source}: {count} classes are called {printable(name)!r}{spelled}: give each its own name, "
                    "or make them one class"
                )
        if self.choices.classes is not None or self.choices.limit is not None:
            labels = None
            if self.choices.classes is not None:
                labels = chosen_classes(names, self.choices.classes, self.source)
            splits = {split: select(images, labels, self.choices.limit) for split, images in splits.items()}
        own = {split: name for split, (name, _) in opened.items()}
        left_out = tuple(name for name in self.found.splits if name not in own.values()) if all_known else ()
        self._say(splits, own, left_out)
        renamed = {split: name for split, name in own.items() if name.lower() != split}
        return {
            split: _from(images, choices=self.choices.given(), splits=renamed, left_out=left_out)
            for split, images in splits.items()
        }

    def _alike(self, splits: dict[str, Images]) -> dict[str, Images]:
        """Return the splits with the class names of the training split."""
        if splits.keys() != {TRAIN, TEST}:
            return splits
        train, test = splits[TRAIN], splits[TEST]
        ours, theirs = (Counter(normalize("NFC", name) for name in one.class_names) for one in (train, test))
        if test.class_names != train.class_names and theirs <= ours:
            test = rename(test, train.class_names)
        if test.class_names != train.class_names or test.shape[1:] != train.shape[1:]:
            options = ""
            if test.shape[1:] != train.shape[1:] and test.class_names == train.class_names:
                options = "take them with --resize and --mode, or "
            raise SourceError(
                f"{self.source}: expected the same class names and image size in both splits, got "
                f"{_describe(train)} in train and {_describe(test)} in test; {options}make them alike (arrays have "
                f"their class names in {CLASS_NAMES_FILE}), or leave the test split out with --test-split {NONE}"
            )
        return {TRAIN: train, TEST: test}

    def _with_shared_labels(self, splits: dict[str, Images]) -> dict[str, Images]:
        """Return the splits with the other labels that all of them have, under a name that a release can have."""
        named = [{(name, of.names) for name, of in images.other_labels.items()} for images in splits.values()]
        shared = {name for name, _ in set.intersection(*named)}
        kept = [
            name
            for name in next(iter(splits.values())).other_labels
            if name in shared and name not in RESERVED_COLUMNS and re.fullmatch(COLUMN_NAME, name)
        ]
        for name in sorted({name for split in named for name, _ in split} - {*kept}):
            reason = "not all splits have it alike, or a release cannot have a column of its name"
            logger.info("%s: column %s is left out: %s", self.source, printable(name), reason)
        return {
            split: replace(images, other_labels={name: images.other_labels[name] for name in kept})  # type: ignore[type-var]
            for split, images in splits.items()
        }

    def _say(self, splits: dict[str, Images], own: dict[str, str], left_out: tuple[str, ...]) -> None:
        """Log what is taken as what."""
        parts = [f"{split}: {_count(images)} from {self._place(own[split])}" for split, images in splits.items()]
        if own.get(TEST) and role(own[TEST]) == VALIDATION and self.choices.test_split is None:
            parts[-1] += f" ({own[TEST]}, as there is no test split with labels)"
        if left_out:
            parts.append(f"not taken: {listed(left_out)}")
        logger.info("%s", printable("; ".join((*parts, *self.found.notes))))

    def _place(self, name: str) -> str:
        return self.found.places.get(name, f"{self.source}: {name}")


def _count(images: Images) -> str:
    classes = len(images.class_names)
    return f"{_plural(len(images), 'image', 'images')} of {_plural(classes, 'class', 'classes')}"


def _plural(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _from(images: Images, **fields: Any) -> Images:
    return replace(images, provenance=replace(images.provenance, **fields))  # type: ignore[type-var]


def _for_workers(source: str | Path, cluster: Cluster | None) -> str:
    """Return a local path as an absolute one if a cluster reads it: its workers have other current folders."""
    path = Path(expand_home(source))
    is_elsewhere = cluster is not None and str(source) != SAMPLE and path.exists()
    return str(path.resolve()) if is_elsewhere else str(source)


def _describe(images: Images) -> str:
    names = printable(", ".join(images.class_names))
    return f"{len(images.class_names)} classes ({names:.80}) of {'×'.join(map(str, images.shape[1:]))}"


def load_splits(
    source: str | Path = HUB_NAME, *, choices: Choices = NO_CHOICES, allow_unverified: bool = False
) -> dict[str, LabeledImages]:
    """Load what `open_splits` opens into memory; arguments and errors as for `load_images`."""
    splits = open_splits(source, choices=choices, allow_unverified=allow_unverified)
    return {split: images.load() for split, images in splits.items()}
