"""Write, read and compare the checksums of a folder's files; `sha256sum -c SHA256SUMS` checks them too."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from cifar10_s.common.threads import thread_map

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def git_blob_id(data: bytes) -> str:
    """Return the SHA-1 by which git, and so the Hub, identifies the content of a small file, 40 hexadecimal digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def list_files(folder: Path) -> tuple[list[str], list[str]]:
    """Return a folder's plain files, and its links, devices and empty folders, as two sorted lists of POSIX paths."""
    plain: list[str] = []
    other: list[str] = []
    for parent, folders, files in os.walk(folder):
        if not folders and not files and Path(parent) != folder:
            other.append(Path(parent).relative_to(folder).as_posix())
        for name in files + [name for name in folders if (Path(parent) / name).is_symlink()]:
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            (plain if path.is_file() and not path.is_symlink() else other).append(relative)
    return sorted(plain), sorted(other)


def hash_folder(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder except ``SHA256SUMS``, by sorted path."""
    return hash_files(folder, list_files(folder)[0])


def hash_files(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of some files of a folder, but never of ``SHA256SUMS``, by sorted path."""
    names = sorted(name for name in names if name != SUMS)
    return dict(zip(names, thread_map(lambda name: hash_file(folder / name), names), strict=True))


def write_sums(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write ``SHA256SUMS`` for every other file of a folder; ``known`` digests are not computed again."""
    hashes = {**known, **hash_files(folder, set(list_files(folder)[0]).difference(known))}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(hashes.items())]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS``.

    Raises
    ------
    ValueError
        If a line is not a digest, two spaces and a path, or a path occurs twice.
    """
    # As `sha256sum` does; `str.splitlines` would also split at other line breaks.
    *lines, rest = (folder / SUMS).read_bytes().decode().split("\n")
    if rest:
        raise ValueError("expected a line break at the end, got none")
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise ValueError(f"line {number}: expected a digest, two spaces and a path that occurs once")
        sums[match[2]] = match[1]
    return sums


def compare(expected: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    """Return how files differ from their listed digests, one line per file."""
    return [
        *(f"{name}: is missing" for name in sorted(expected.keys() - got.keys())),
        *(f"{name}: is not listed in {SUMS}" for name in sorted(got.keys() - expected.keys())),
        *(
            f"{name}: expected SHA-256 {expected[name]}, got {got[name]}"
            for name in sorted(expected.keys() & got.keys())
            if expected[name] != got[name]
        ),
    ]
