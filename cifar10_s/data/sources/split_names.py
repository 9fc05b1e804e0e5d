"""The names of splits, the same in every format and in any case, and what each is used for."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from posixpath import dirname

from cifar10_s.data.sources.choices import NONE, Choices
from cifar10_s.errors import SourceError, printable

TRAIN, TEST, VALIDATION = "train", "test", "validation"
# The words of the Hub's library.
WORDS = {
    TRAIN: ("train", "training"),
    TEST: ("test", "testing", "eval", "evaluation"),
    VALIDATION: ("val", "valid", "validation", "dev"),
}
ROLES = {word: role for role, words in WORDS.items() for word in words}
# How a file of a split is called, such as train-00000-of-00001 (formerly with a hash); otherwise a word tells.
SHARD = re.compile(r"(?P<split>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})(-[0-9a-f]{16})?")
BETWEEN_WORDS = re.compile(r"[-._ \d]+")


def role(name: str) -> str | None:
    """Return what a split of a name is for, ``train``, ``test`` or ``validation``; None if the name does not tell."""
    return ROLES.get(name.lower())


def split_of_file(stem: str) -> str | None:
    """Return the split that the name of a file tells, without its suffix; None if it tells none.

    Examples
    --------
    >>> split_of_file("fold1-00000-of-00002"), split_of_file("cifar10_Train.v2"), split_of_file("0000")
    ('fold1', 'Train', None)
    """
    shard = SHARD.fullmatch(stem)
    if shard:
        return shard["split"]
    words = [word for word in BETWEEN_WORDS.split(stem) if role(word)]
    return words[0] if len({role(word) for word in words}) == 1 else None


def splits_of_paths(paths: Sequence[str], source: str) -> list[str] | None:
    """Return the split of each path that a folder in it tells; None if folders tell none, as those of classes.

    Parameters
    ----------
    paths
        Paths of files, from the top of the source.
    source
        How errors call it.

    Raises
    ------
    SourceError
        If the folders of some tell training and test images, and those of others nothing.

    Examples
    --------
    >>> splits_of_paths(["images/train2017/1.png", "images/val2017/1.png"], "pets")
    ['train', 'val']
    >>> splits_of_paths(["train/1.png", "car/1.png"], "vehicles") is None
    True
    """
    told = {folder: next(filter(None, map(split_of_file, folder.split("/"))), None) for folder in map(dirname, paths)}
    unknown = [folder for folder, split in told.items() if split is None]
    if not unknown:
        return [str(told[dirname(path)]) for path in paths]
    if len({role(split) for split in told.values() if split}) > 1:
        names = listed(sorted(set(filter(None, told.values()))))
        where = f"folder {printable(unknown[0])}" if unknown[0] else "top"
        raise SourceError(
            f"{source}: its {where} tells no split, but other folders do ({names}); move its images to one of them, or "
            "elsewhere"
        )
    return None


def untold(path: str | Path, told: Iterable[str]) -> SourceError:
    """Return the error of a file whose name tells no split, beside others whose names tell these."""
    return SourceError(
        f"{path}: its name tells no split, but others' do ({listed(sorted(told))}); rename it, or move it elsewhere"
    )


def check_shards(files: Sequence[str], name: str) -> None:
    """Refuse a split of whose numbered files some are missing.

    Raises
    ------
    SourceError
        If they are, or are not of one split.
    """
    shards = [shard for file in files if (shard := SHARD.fullmatch(file.rpartition("/")[2].partition(".")[0]))]
    totals = {int(shard["total"]) for shard in shards}
    numbers = {int(shard["number"]) for shard in shards}
    if shards and (len(totals) > 1 or len(numbers) != len(shards)):
        raise SourceError(f"{name}: expected the files of one split, got {listed(files)}; keep those that belong to it")
    missing = [number for total in totals for number in range(min(total, 1 << 16)) if number not in numbers]
    if missing:
        raise SourceError(
            f"{name}: {len(missing)} of {min(totals)} files are missing, the first is number {missing[0]:05}; "
            "get them again"
        )


def train_split(names: Iterable[str], choices: Choices, source: str) -> str:
    """Return the name of the training split.

    Raises
    ------
    SourceError
        If there is none, or more than one; the line lists the splits and names the option.
    """
    names = list(names)
    if choices.train_split is not None:
        return named(names, choices.train_split, "--train-split", source)
    found = [name for name in names if role(name) == TRAIN]
    if len(found) != 1:
        has = f"several splits for training ({listed(found)})" if found else f"no training split, but {listed(names)}"
        raise SourceError(f"{source}: has {has}; name one with --train-split")
    return found[0]


def test_splits(names: Iterable[str], choices: Choices, source: str, train: str) -> list[str]:
    """Return the names of the splits to test on: the first that has labels is to be taken.

    Raises
    ------
    SourceError
        If there is more than one of a kind; the line lists them and names the option.
    """
    names = [name for name in names if name != train]
    if choices.test_split == NONE:
        return []
    if choices.test_split is not None:
        return [named(names, choices.test_split, "--test-split", source)]
    chosen: list[str] = []
    for wanted in (TEST, VALIDATION):
        found = [name for name in names if role(name) == wanted]
        if len(found) > 1:
            if chosen:
                break
            raise SourceError(
                f"{source}: has several splits to test on ({listed(found)}); name one with --test-split, or {NONE}"
            )
        chosen += found
    return chosen


def named(names: Sequence[str], wanted: str, option: str, source: str) -> str:
    """Find a split by its name, in any case.

    Raises
    ------
    SourceError
        If there is no such split.
    """
    found = [name for name in names if name == wanted] or [name for name in names if name.lower() == wanted.lower()]
    if len(found) != 1:
        raise SourceError(f"{source}: {option}: expected one of {listed(names)}, got {wanted!r}")
    return found[0]


def listed(names: Iterable[str]) -> str:
    """Join at most ten untrusted names for a message."""
    names = [printable(name)[:80] for name in names]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"
