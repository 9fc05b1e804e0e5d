"""Where a source is, and every file below it, except what file managers and version control leave there."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path

from cifar10_s.common.files import expand_home
from cifar10_s.data.sources.release_folder import CROISSANT, Refusal
from cifar10_s.errors import SourceError

# Files and folders that are not part of a dataset, wherever they are. The list is in docs/your-images.md.
IGNORED = (
    ".DS_Store", "._*", ".AppleDouble", ".Spotlight-V100", ".Trashes", ".fseventsd", "__MACOSX", "Icon\r",
    "Thumbs.db", "ehthumbs.db", "desktop.ini", "$RECYCLE.BIN", "System Volume Information",
    "@eaDir", ".directory", ".Trash-*", ".nfs*", "lost+found", ".ipynb_checkpoints",
    ".git*", ".dvc*", ".cache",
)  # fmt: skip
LOWER_IGNORED = ("desktop.ini", "ehthumbs.db", "lost+found", "thumbs.db")
# Files that describe a dataset: they may stand beside its splits and classes, but not among the images of a class.
COMPANIONS = (
    "README*", "LICENSE*", "LICENCE*", "CITATION*", "CHANGELOG*", "NOTICE*", "dataset_info.json", "dataset_infos.json",
    "dataset_dict.json", "state.json", CROISSANT, "config.json",
)  # fmt: skip
IMAGE_SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
    ".pnm",
}  # fmt: skip
# Deeper than any dataset; a link to a folder above itself ends here.
MAX_DEPTH = 16


@dataclass(frozen=True)
class Folder:
    """A folder as it was listed: its files and folders, each sorted by name, without what is `IGNORED`."""

    path: Path
    files: tuple[str, ...]
    folders: tuple["Folder", ...]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def walk(self) -> Iterator["Folder"]:
        """Yield this folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.walk()

    def has_suffix(self, suffix: str) -> bool:
        """Return whether a file below this folder ends so, in any case."""
        return any(file.lower().endswith(suffix) for folder in self.walk() for file in folder.files)

    def others(self, *expected: str) -> list[Path]:
        """Return the files of this folder, not of those below it, that match no expected pattern and no companion."""

        def is_other(file: str) -> bool:
            patterns = expected if is_image(file) else (*expected, *COMPANIONS)
            return not any(fnmatch(file.lower(), pattern.lower()) for pattern in patterns)

        return [self.path / file for file in self.files if is_other(file)]


@dataclass(frozen=True)
class Place:
    """What a user names as a source: a text that may be a path, with ``~`` expanded, and its name in error messages."""

    text: str

    @classmethod
    def of(cls, source: str | Path) -> "Place":
        """Return the place that a source names."""
        return cls(expand_home(source))

    @property
    def path(self) -> Path:
        """The text as a path."""
        return Path(self.text)

    @cached_property
    def is_folder(self) -> bool:
        """Whether there is a folder of this name."""
        return bool(self.text.strip()) and self.path.is_dir()

    @cached_property
    def name(self) -> str:
        """The last part of the path, for provenance; what is not UTF-8 in it is a question mark."""
        return self.path.resolve().name.encode("utf-8", "replace").decode()

    @cached_property
    def folder(self) -> Folder:
        """The folder and all that is below it.

        Raises
        ------
        SourceError
            If it is or holds a release or a part of one, or is nested deeper than `MAX_DEPTH`.
        OSError
            If it cannot be listed.
        """
        refusal = Refusal(self.path)
        refusal.check_above(self.path)
        return _list(self.path, refusal, 0)


def is_image(name: str) -> bool:
    """Return whether a file has the suffix of an image."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and f".{suffix.lower()}" in IMAGE_SUFFIXES


def is_ignored(name: str) -> bool:
    """Return whether a file or folder of a name is not part of a dataset."""
    return _may_be_ignored(name) and any(fnmatch(name.lower(), pattern.lower()) for pattern in IGNORED)


def _list(path: Path, refusal: Refusal, depth: int) -> Folder:
    if depth > MAX_DEPTH:
        raise SourceError(f"{path!s:.200}: is nested deeper than {MAX_DEPTH} folders; give a folder further down")
    files: list[str] = []
    folders: list[str] = []
    links: list[str] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if is_ignored(entry.name):
                continue
            if entry.is_symlink():
                links.append(entry.name)
            if _is_folder(entry):
                folders.append(entry.name)
            elif _is_special(entry):
                raise SourceError(
                    f"{path / entry.name}: is a device, pipe or socket: expected files and folders; remove it"
                )
            else:
                files.append(entry.name)
    files.sort()
    folders.sort()
    refusal.check(path, files, folders)
    refusal.check_links(path, links)
    below = (_list(path / name, refusal, depth + 1) for name in folders)
    kept = (folder for folder in below if not folder.name.startswith(".") or _has_files(folder))
    return Folder(path, tuple(files), tuple(kept))


def _may_be_ignored(name: str) -> bool:
    """Return False for the names of most images, quickly."""
    return not ("a" <= name[0] <= "z" or "0" <= name[0] <= "9") or name in LOWER_IGNORED


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself: it is named when it is read.
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Return whether reading it could last forever; a link that leads nowhere is a file that cannot be read."""
    try:
        return not entry.is_file() and not (entry.is_symlink() and not Path(entry.path).exists())
    except OSError:
        return False


def _has_files(folder: Folder) -> bool:
    return any(below.files for below in folder.walk())
