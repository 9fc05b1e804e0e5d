"""The files in a zip or tar: listed without unpacking, and read one by one in bounded memory."""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.threads import chunks
from cifar10_s.common.transfers import check_fetched
from cifar10_s.data.codec import Shape, decode, is_unlike
from cifar10_s.data.conversion import Conversion
from cifar10_s.data.images import part_size
from cifar10_s.data.sources.place import MAX_DEPTH, Folder, is_ignored
from cifar10_s.data.sources.published import ARCHIVE_SUFFIXES, GZIP_SIGNATURE, opened_tar
from cifar10_s.data.sources.release_folder import refuse_release_files
from cifar10_s.errors import SourceError, one_line, printable

ZIP_SUFFIX = ".zip"
SUFFIXES = (*ARCHIVE_SUFFIXES, ZIP_SUFFIX)
# `ZipInfo.create_system` of FAT and NTFS.
WINDOWS = 0
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError)
ENCRYPTED = 1
# No image file is larger; a zip's directory says how large a file is, and what unpacks to more is refused.
MAX_FILE_BYTES = 1 << 28
# The files of a compressed tar, which can only be read from its start, are kept in memory.
MAX_KEPT_BYTES = 1 << 31
MAX_TAR_BYTES = 1 << 50


@dataclass(frozen=True)
class Member:
    """A file in an archive: its bytes, or where they are in a tar; neither if it is read from a zip by its name."""

    name: str
    size: int
    offset: int | None = None
    content: bytes | None = None
    is_folder: bool = False
    # The name by which a zip finds it, if it is another.
    stored_name: str | None = None


@dataclass(frozen=True)
class Listing:
    """What is in an archive: files by their names, in their order, and the names of folders that it lists as such."""

    files: Mapping[str, Member]
    folders: frozenset[str]


def list_members(path: Path) -> Listing:
    """Return what is in a zip or tar; what file managers leave there is ignored.

    Raises
    ------
    SourceError
        If it cannot be read, holds a release, a link, a device, or a file whose name leads out of it, has one name
        twice or a file that is too large.
    """
    listing = _zip_members(path) if path.name.lower().endswith(ZIP_SUFFIX) else _tar_members(path)
    found, folders = dict[str, Member](), set[str]()
    for member in listing:
        name = _checked_name(member.name, path)
        if not (name or member.is_folder):
            raise SourceError(f"{path}: holds a file without a name; pack it again")
        if name in found:
            raise SourceError(f"{path}: holds {printable(name)!r:.200} twice; pack it again")
        if any(map(is_ignored, PurePosixPath(name).parts)):
            continue
        if member.is_folder:
            folders.add(name)
        else:
            found[name] = member
    refuse_release_files(str(path), found)
    return Listing(found, frozenset(folders - {""}))


def _checked_name(name: str, path: Path) -> str:
    """Return the path of a member; nothing is ever unpacked, but what leads elsewhere is not part of a dataset."""
    parts = PurePosixPath(name).parts
    if "\\" in name:
        raise SourceError(f"{path}: member {printable(name)!r:.200} has a backslash in its name; pack it again")
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise SourceError(f"{path}: member {printable(name)!r:.200} leads out of the archive; do not use this archive")
    if len(parts) > MAX_DEPTH:
        raise SourceError(f"{path}: member {printable(name)!r:.200} is nested deeper than {MAX_DEPTH} folders")
    return "/".join(parts)


def _check_size(size: int, name: str, path: Path) -> None:
    if size > MAX_FILE_BYTES:
        raise SourceError(
            f"{path}: member {printable(name)!r:.200} takes {size} bytes, more than an image does ({MAX_FILE_BYTES} "
            "at most); remove it"
        )


def _zip_members(path: Path) -> Iterator[Member]:
    check_fetched(path)
    for info in _opened_zip(path).infolist():
        # Some programs of Windows separate folders so.
        name = info.filename.replace("\\", "/") if info.create_system == WINDOWS else info.filename
        if name.endswith("/"):
            yield Member(name, 0, is_folder=True)
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise SourceError(f"{path}: member {printable(info.filename)!r:.200} is a link: expected plain files only")
        if info.flag_bits & ENCRYPTED or info.compress_type not in METHODS:
            raise SourceError(
                f"{path}: member {printable(info.filename)!r:.200} is encrypted, or compressed by another method than "
                "deflate; pack it again"
            )
        _check_size(info.file_size, info.filename, path)
        yield Member(name, info.file_size, stored_name=info.filename)


@lru_cache(maxsize=8)
def _opened(path: Path, modified: int) -> zipfile.ZipFile:
    """Open a zip once; its parts are read from several threads.

    A zip can say that its names are in UTF-8. Those of macOS are, but do not say so; others may be in any encoding.
    """
    return zipfile.ZipFile(path, metadata_encoding="utf-8")


def _opened_zip(path: Path) -> zipfile.ZipFile:
    try:
        return _opened(path, path.stat().st_mtime_ns)
    except UnicodeDecodeError:
        raise SourceError(
            f"{path}: expected names of files in UTF-8, got an encoding that it does not state; unpack it, and give "
            "the folder, or pack it again with UTF-8 names"
        ) from None
    except ZIP_ERRORS as error:
        raise SourceError(f"{path}: cannot be read as a zip ({one_line(error)}); get it again") from None


def _tar_members(path: Path) -> Iterator[Member]:
    """Yield the files of a tar; those of a compressed one with their contents."""
    with path.open("rb") as file:
        is_compressed = file.read(2) == GZIP_SIGNATURE
    kept = 0
    limit = 2 * MAX_KEPT_BYTES if is_compressed else MAX_TAR_BYTES
    with opened_tar(path, MAX_FILE_BYTES, limit, "it holds more than fits into memory; decompress it first") as tar:
        for info in tar:
            if info.isdir():
                yield Member(info.name, 0, is_folder=True)
                continue
            if not info.isfile() or info.issparse():
                raise SourceError(
                    f"{path}: member {printable(info.name)!r:.200} is a link, a sparse file or a device: expected "
                    "plain files only; unpack it, and give the folder"
                )
            _check_size(info.size, info.name, path)
            content = _kept_content(tar, info) if is_compressed else None
            kept += len(content or b"")
            if kept > MAX_KEPT_BYTES:
                raise SourceError(
                    f"{path}: its files take more than {MAX_KEPT_BYTES} bytes of memory, as they are compressed as "
                    "one; decompress it first (gunzip): then they are read one by one"
                )
            yield Member(info.name, info.size, info.offset_data, content)
            tar.members.clear()  # type: ignore[attr-defined] # which would otherwise be kept
        _check_end(tar, path)


def _check_end(tar: tarfile.TarFile, path: Path) -> None:
    """Refuse a tar that ends without a block of zeros, as if cut between two files, and one that another follows."""
    file: Any = tar.fileobj
    file.seek(tar.offset)
    if len(file.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise EOFError("it is cut off after a file")
    while block := file.read(tarfile.RECORDSIZE):
        if block.strip(b"\0"):
            raise SourceError(f"{path}: holds several tars, one after the other; give each its own file")


def _kept_content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    content = file.read() if file else b""
    if len(content) != info.size:
        raise EOFError(f"{info.name} is cut off")
    return content


def as_folder(path: Path, listing: Listing) -> Folder:
    """Return what is in an archive as a folder of its path.

    Raises
    ------
    SourceError
        If a name is that of a file and of a folder.
    """
    top: dict[str, Any] = {}
    for name in listing.files:
        folder, _, file = name.rpartition("/")
        if _entries(path, top, folder).setdefault(file, None) is not None:
            raise SourceError(f"{path}: {printable(name)!r:.200} is a file and a folder; pack it again")
    for name in sorted(listing.folders):
        # A hidden folder without files is passed over on disk, too.
        if not name.rpartition("/")[2].startswith("."):
            _entries(path, top, name)
    return _folder(path, top)


def _entries(path: Path, top: dict[str, Any], folder: str) -> dict[str, Any]:
    """Return the entries of a folder below ``top``, which is made if it is not there."""
    at = top
    for part in folder.split("/") if folder else ():
        below = at.setdefault(part, {})
        if below is None:
            raise SourceError(f"{path}: {printable(folder)!r:.200} is inside a file; pack it again")
        at = below
    return at


def _folder(path: Path, entries: dict[str, Any]) -> Folder:
    files = sorted(name for name, below in entries.items() if below is None)
    folders = tuple(_folder(path / name, below) for name, below in sorted(entries.items()) if below is not None)
    return Folder(path, tuple(files), folders)


def read_member(path: Path, member: Member) -> bytes:
    """Return the contents of a file in an archive.

    Raises
    ------
    SourceError
        If it cannot be read, or is shorter than it was.
    """
    if member.content is not None:
        return member.content
    try:
        if member.offset is None:
            with _opened_zip(path).open(member.stored_name or member.name) as file:
                # With a number the library unpacks no more than that; at the end it compares checksums.
                data = file.read(member.size + 1)
        else:
            with path.open("rb") as tar:
                tar.seek(member.offset)
                data = tar.read(member.size)
    except (*ZIP_ERRORS, KeyError) as error:
        raise SourceError(
            f"{path}/{printable(member.name)}: cannot be read ({one_line(error)}); get it again"
        ) from None
    if len(data) != member.size:
        raise SourceError(f"{path}/{printable(member.name)}: is cut off: expected {member.size} bytes; get it again")
    return data


@dataclass(frozen=True)
class MemberBlock:
    """Images in an archive."""

    archive: Path
    members: tuple[Member, ...]
    shape: Shape
    conversion: Conversion

    def __len__(self) -> int:
        return len(self.members)

    def read(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
        """See `stream.Block.read`."""
        for part in chunks(len(rows), part_size(self.shape)):
            members = [self.members[row] for row in rows[part]]
            files = [read_member(self.archive, member) for member in members]
            yield from decode(files, self.shape, self._names(members).__getitem__, self.conversion)

    def count_unlike(self, rows: NDArray[np.int64]) -> int:
        """See `stream.ComparableBlock.count_unlike`."""
        files = (read_member(self.archive, self.members[row]) for row in rows)
        return sum(is_unlike(file, self.shape, str(self.archive), self.conversion) for file in files)

    def _names(self, members: list[Member]) -> list[str]:
        return [member_name(self.archive, member) for member in members]


def member_name(archive: Path, member: Member) -> str:
    """Return how errors call a file in an archive."""
    return f"{archive}/{printable(member.name)}"


def member_blocks(
    archive: Path, members: tuple[Member, ...], shape: Shape, conversion: Conversion
) -> Iterator[MemberBlock]:
    """Yield blocks of the images in an archive, as many in each as are decoded at a time."""
    for part in chunks(len(members), part_size(shape)):
        yield MemberBlock(archive, members[part], shape, conversion)
