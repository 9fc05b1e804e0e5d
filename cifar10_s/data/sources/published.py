"""Files of datasets as their publishers packed them: read from the archive or from the folder it unpacks to.

Nothing is unpacked, so no file can be written outside a folder, and nothing larger than the original is read.
"""

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from cifar10_s.common.transfers import check_fetched
from cifar10_s.data.sources.place import Folder, Place
from cifar10_s.errors import ChecksumError, SourceError

ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")
# What the names of sources that are files end in.
FILE_SUFFIXES = (*ARCHIVE_SUFFIXES, ".zip", ".npz", ".mat")
GZIP_SIGNATURE = b"\x1f\x8b"
# What a broken tar, or the compressed stream around it, raises.
TAR_ERRORS = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, LookupError, OverflowError)
# So many members tell which dataset an archive holds.
FIRST_MEMBERS = 4
# Before it is known what an archive holds, its headers may take so much; a file between two of them is read too.
MAX_HEAD_BYTES = 1 << 29


@dataclass(frozen=True)
class Layout:
    """How a dataset is packed.

    Attributes
    ----------
    dataset, archive, folder
        The names of the dataset, of its archive, and of the archive's only folder.
    md5
        The publisher's checksum of each file; None if only that of the archive is known.
    archive_md5
        The publisher's checksum of the archive.
    max_bytes, max_total_bytes
        Nothing longer is read: about twice the longest file, and more than the whole archive.
    companions
        Patterns of the other files in the folder.
    """

    dataset: str
    archive: str
    folder: str
    md5: Mapping[str, str | None]
    max_bytes: int
    max_total_bytes: int
    companions: tuple[str, ...] = ()
    archive_md5: str | None = None

    def matches(self, place: Place) -> bool:
        """Return whether a source is the archive, or the folder it unpacks to, or one that holds that folder."""
        return self.unpacked(place.path) is not None or self.folder in first_folders(place)

    def unpacked(self, path: Path) -> Path | None:
        """Return the folder of the files: the given one, or the archive's own folder in it; None if neither."""
        for folder in (path, path / self.folder):
            is_named = folder.name == self.folder or path.resolve().name == self.folder
            if any((folder / name).is_file() for name in self.md5) and (is_named or self.is_telling):
                return folder
        return None

    @property
    def is_telling(self) -> bool:
        """Whether the names of the files tell the dataset, whatever their folder is called."""
        return all("batch" in name for name in self.md5)

    def check_others(self, place: Place) -> None:
        """Refuse what is neither a file of the dataset nor comes with it, in its folder and in that above it.

        Raises
        ------
        SourceError
            If there is anything else.
        """
        path = self.unpacked(place.path)
        if path is not None:
            self._check_others(place.folder, path)

    def _check_others(self, root: Folder, files: Path) -> None:
        is_above = root.path != files
        stem = self.archive.removesuffix(".tar.gz")
        known = (f"{self.folder}*", f"{stem}*") if is_above else (*self.md5, *self.companions)
        others = [*root.others(*known), *(one.path for one in root.folders if not is_above or one.name != files.name)]
        for other in others:
            raise SourceError(
                f"{other}: expected only the batches of {self.dataset} below {root.path}; move it elsewhere, or name "
                "the source that you mean"
            )
        if is_above:
            self._check_others(next(one for one in root.folders if one.name == files.name), files)

    def read(self, path: Path, names: tuple[str, ...], *, allow_unverified: bool) -> tuple[dict[str, bytes], bool]:
        """Read some files of the archive, or of the folder it unpacks to.

        Returns
        -------
        files, verified
            The contents by name; whether they have the publisher's checksums.

        Raises
        ------
        SourceError
            If one is missing, or longer than the original.
        ChecksumError
            If one is not the original, unless ``allow_unverified``.
        """
        folder = self.unpacked(path)
        files = self._from_folder(folder, names) if folder else self._from_tar(path, names)
        return files, self._is_verified(path, files, allow_unverified=allow_unverified)

    def _is_verified(self, path: Path, files: Mapping[str, bytes], *, allow_unverified: bool) -> bool:
        advice = f"download {self.archive} again, or pass --allow-unverified to use it as an unverified copy"
        for name, data in files.items():
            expected, digest = self.md5[name], hashlib.md5(data, usedforsecurity=False).hexdigest()
            if expected in (None, digest):
                continue
            if allow_unverified:
                return False
            raise ChecksumError(
                f"{path}: {name} is not {self.dataset}'s: expected MD5 {expected}, got {digest}; {advice}"
            )
        if None not in (self.md5[name] for name in files):
            return True
        of_archive = None if path.is_dir() else file_md5(path)
        if of_archive != self.archive_md5 and not allow_unverified:
            got = f"got {of_archive}; {advice}"
            if of_archive is None:
                got = f"got a folder; give {self.archive} itself, or pass --allow-unverified to use an unverified copy"
            raise ChecksumError(f"{path}: is not {self.dataset}'s: expected MD5 {self.archive_md5}, {got}")
        return of_archive == self.archive_md5

    def _from_folder(self, path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
        missing = [name for name in names if not (path / name).is_file()]
        if missing:
            raise SourceError(
                f"{path}: {', '.join(missing)} is missing: expected {', '.join(names)}; unpack the archive again"
            )
        large = [name for name in names if (path / name).stat().st_size > self.max_bytes]
        if large:
            raise SourceError(
                f"{path}: {', '.join(large)} is larger than {self.max_bytes} bytes, which no {self.dataset} batch is"
            )
        return {name: (path / name).read_bytes() for name in names}

    def _from_tar(self, path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
        files = {}
        with opened_tar(path, self.max_bytes, self.max_total_bytes, f"it holds more than {self.dataset} does") as tar:
            for member in tar:
                self._check_member(member, path)
                name = PurePosixPath(member.name).name
                if name in names:
                    content = tar.extractfile(member)
                    files[name] = content.read() if content else b""
        missing = [name for name in names if name not in files]
        if missing:
            raise SourceError(f"{path}: holds no {', '.join(missing)}: expected {self.folder}/{', '.join(names)}")
        return {name: files[name] for name in names}

    def _check_member(self, member: tarfile.TarInfo, path: Path) -> None:
        """Refuse members that the original archive does not have."""
        parts = PurePosixPath(member.name).parts
        if not (member.isfile() or member.isdir()):
            raise SourceError(
                f"{path}: member {member.name} is a link or a device: expected plain files only; do not use this "
                "archive"
            )
        if parts[:1] != (self.folder,) or ".." in parts or len(parts) > 2:
            raise SourceError(f"{path}: member {member.name} is outside {self.folder}/; do not use this archive")
        if member.size > self.max_bytes:
            raise SourceError(
                f"{path}: member {member.name} is {member.size} bytes, more than any {self.dataset} batch "
                f"({self.max_bytes} at most)"
            )


def file_md5(path: Path) -> str:
    """Return the MD5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def is_known(path: Path, md5: Mapping[str, str]) -> bool:
    """Return whether a file is the one that was published under its name, by MD5 sums by name."""
    return path.name in md5 and file_md5(path) == md5[path.name]


@contextmanager
def opened_tar(path: Path, max_bytes: int, max_total_bytes: int, too_much: str) -> Iterator[tarfile.TarFile]:
    """Open a tar, compressed by gzip or not, in bounded memory; read it to its end, if nothing fails before.

    Parameters
    ----------
    path
        The file.
    max_bytes, max_total_bytes
        The most to be read at once, and in all.
    too_much
        What the error says if it holds more.

    Raises
    ------
    SourceError
        If it cannot be read to its end.
    """
    check_fetched(path)
    try:
        with path.open("rb") as file:
            is_compressed = file.peek(2)[:2] == GZIP_SIGNATURE
            stream: Any = gzip.GzipFile(fileobj=file) if is_compressed else file
            stream = _BoundedReader(stream, max_bytes, max_total_bytes, too_much)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                yield tar
            # The checksum of the compressed stream comes after the last member.
            while is_compressed and stream.read(1 << 20):
                pass
    except TAR_ERRORS as error:
        raise SourceError(f"{path}: cannot be read to its end ({error}); download it again") from None


class _BoundedReader:
    """A stream that refuses to be read further than it should go."""

    def __init__(self, stream: Any, max_bytes: int, max_total_bytes: int, too_much: str) -> None:
        self._stream, self._limits, self._too_much = stream, (max_bytes, max_total_bytes), too_much
        self.tell, self.seek = stream.tell, stream.seek

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        most, most_in_all = self._limits
        if not 0 <= size <= most or self.tell() > most_in_all:
            raise tarfile.ReadError(self._too_much)
        data: bytes = self._stream.read(size)
        return data


def is_tar(place: Place) -> bool:
    """Return whether a source is a file with the suffix of a tar."""
    return place.text.lower().endswith(ARCHIVE_SUFFIXES) and place.path.is_file()


def first_folders(place: Place) -> frozenset[str]:
    """Return the names at the top of a tar's first members; none if it is not a tar, or cannot be read."""
    if not is_tar(place):
        return frozenset()
    status = place.path.stat()
    return _first_folders(place.path.resolve(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _first_folders(path: Path, modified: int, size: int) -> frozenset[str]:
    """Read them once, although several formats ask: a large file may come between them."""
    names: set[str] = set()
    with suppress(*TAR_ERRORS), _open_head(path) as tar:
        for member in islice(iter(tar.next, None), FIRST_MEMBERS):
            names.update(PurePosixPath(member.name).parts[:1])
    return frozenset(names)


@contextmanager
def _open_head(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar, which may be compressed, so that no more than the headers of its first members are read."""
    with path.open("rb") as file:
        stream: Any = gzip.GzipFile(fileobj=file) if file.peek(2)[:2] == GZIP_SIGNATURE else file
        bounded: Any = _BoundedReader(stream, 1 << 20, MAX_HEAD_BYTES, "its headers are too far apart")
        with tarfile.open(fileobj=bounded, mode="r:") as tar:
            yield tar
