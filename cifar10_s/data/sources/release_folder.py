"""Recognise a release by its files, and refuse it as a source, since most of its images are perturbed."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from cifar10_s.common.checksums import SUMS
from cifar10_s.errors import SourceError, UsageError

MANIFEST, RECIPES, DATA, CLEAN = "manifest.json", "recipes", "data", "clean"
# Every release has these, and no other dataset has all of them.
RELEASE_MARKERS = frozenset({MANIFEST, SUMS, RECIPES})
CARD, CROISSANT = "README.md", "croissant.json"
# The columns of a release are called as those of CIFAR-10 on the Hub, so that code for CIFAR-10 works with it.
IMAGE_COLUMN, LABEL_COLUMN = "img", "label"
# A release that lost some of its files still says what it is: in its manifest, or in the tags of its card.
MANIFEST_FIELDS = frozenset({"configurations", "source", "objectives"})
# Cards of earlier versions have only the second.
CARD_TAGS = (b"\n- cifar10-s\n", b"\n- one-pixel-shortcut\n")
# What is read of a file to see whether it is a release's.
MAX_BYTES = 1 << 24


class Refusal:
    """Refuse releases above, at and below a source; only the clean training images of one are a source.

    Parameters
    ----------
    source
        The path that a user gave.
    """

    def __init__(self, source: Path) -> None:
        self._source = source
        self._clean: set[Path] = set()

    def check_above(self, path: Path) -> None:
        """Refuse a path inside a release, unless it is in its folder of clean images.

        Raises
        ------
        SourceError
            If it is such a path.
        """
        resolved = Path(os.path.realpath(path))
        for folder in resolved.parents:
            if is_release(folder) and not resolved.is_relative_to(folder / DATA / CLEAN):
                raise self._refusal(folder, path)

    def check(self, folder: Path, files: Iterable[str], folders: Iterable[str]) -> None:
        """Refuse a folder with these files and folders if it is a release; errors as for `check_above`."""
        names = {*files, *folders}
        if names & {MANIFEST, SUMS, CARD} and is_release(folder):
            raise self._refusal(folder, folder)

    def check_links(self, folder: Path, links: Iterable[str]) -> None:
        """Refuse a folder if links in it lead into a release; errors as for `check_above`."""
        for name in links:
            path = folder / name
            parent = Path(os.path.realpath(path)).parent
            if parent not in self._clean:
                self.check_above(path)
                self._clean.add(parent)

    def _refusal(self, release: Path, path: Path) -> SourceError:
        where = self._source if path == self._source else path
        inside = "" if os.path.realpath(path) == os.path.realpath(release) else "a part of "
        clean = release / DATA / CLEAN
        instead = "the images that it was built from"
        if clean.is_dir():
            instead = f"{clean}, its clean training images without the test split"
        if path != self._source:
            instead = f"the images without it, or {instead}"
        return _refuse(where, instead, inside)


def check_outside_releases(path: Path) -> None:
    """Refuse a path to write to that is inside a release, which would no longer verify.

    Raises
    ------
    UsageError
        If it is.
    """
    for folder in path.resolve().parents:
        if is_release(folder):
            raise UsageError(f"{path}: expected a path outside the release {folder}, which would no longer verify")


def is_release(folder: Path) -> bool:
    """Return whether a folder is a release, or one that lost some of its files."""
    if all((folder / name).exists() for name in RELEASE_MARKERS):
        return True
    return _is_manifest(folder / MANIFEST) or _is_card(folder / CARD)


def _is_manifest(path: Path) -> bool:
    try:
        data = json.loads(_start(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(data, dict) and data.keys() >= MANIFEST_FIELDS


def _is_card(path: Path) -> bool:
    try:
        front, found, _ = _start(path).removeprefix(b"---\n").partition(b"\n---\n")
    except OSError:
        return False
    return bool(found) and any(tag in front for tag in CARD_TAGS) and b"config_name: clean\n" in front


def _start(path: Path) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        return file.read(MAX_BYTES)


def refuse_release_files(name: str, files: Iterable[str]) -> None:
    """Refuse a dataset on the Hub if its files hold those of a release, in any folder.

    Raises
    ------
    SourceError
        If they do.
    """
    found: dict[str, set[str]] = {}
    for file in files:
        parts = file.split("/")
        for depth, part in enumerate(parts):
            if part in RELEASE_MARKERS:
                found.setdefault("/".join(parts[:depth]), set()).add(part)
    if any(markers == RELEASE_MARKERS for markers in found.values()):
        raise _refuse(name, "the images that it was built from")


def _refuse(release: str | Path, instead: str, inside: str = "") -> SourceError:
    return SourceError(
        f"{release}: is {inside}a release that `cifar10-s build` wrote: expected clean images: take {instead}"
    )
