"""Checksums of a folder's files: write, read, compare. `sha256sum -c SHA256SUMS` checks them too."""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from cifar10_s.parallel import thread_map

SUMS = "SHA256SUMS"
MANIFEST = "manifest.json"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_bytes(data: bytes) -> str:
    """Give the SHA-256 of bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def git_blob_id(data: bytes) -> str:
    """Give the SHA-1 by which git, and so the Hub, names a small file's bytes, 40 hexadecimal digits."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def list_files(folder: Path) -> tuple[list[str], list[str]]:
    """List a folder's plain files, and what no release has: links, devices, empty folders. Sorted paths with ``/``."""
    plain: list[str] = []
    other: list[str] = []
    for where, folders, files in os.walk(folder):
        if not folders and not files and Path(where) != folder:
            other.append(Path(where).relative_to(folder).as_posix())
        for name in files + [name for name in folders if (Path(where) / name).is_symlink()]:
            path = Path(where) / name
            relative = path.relative_to(folder).as_posix()
            (plain if path.is_file() and not path.is_symlink() else other).append(relative)
    return sorted(plain), sorted(other)


def hash_folder(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of each file of a folder except ``SHA256SUMS``, by sorted path."""
    names = [name for name in list_files(folder)[0] if name != SUMS]
    return dict(zip(names, thread_map(lambda name: hash_file(folder / name), names), strict=True))


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every other file of a folder."""
    lines = [f"{digest}  {name}\n" for name, digest in hash_folder(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def read_sums(folder: Path) -> dict[str, str]:
    """Read ``SHA256SUMS``.

    Raises
    ------
    ValueError
        Where a line is not a digest, two blanks and a path, or a path comes twice.
    """
    # Lines end as `sha256sum` ends them, and not at whatever else Python takes for a line's end.
    *lines, rest = (folder / SUMS).read_bytes().decode().split("\n")
    if rest:
        raise ValueError("the last line does not end")
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise ValueError(f"line {number} is not a digest and a path of its own")
        sums[match[2]] = match[1]
    return sums


def compare(expected: Mapping[str, str], got: Mapping[str, str]) -> list[str]:
    """Tell how files differ from their listed digests, a line a file; nothing where they do not."""
    return [
        *(f"{name}: is missing" for name in sorted(expected.keys() - got.keys())),
        *(f"{name}: is not listed in {SUMS}" for name in sorted(got.keys() - expected.keys())),
        *(
            f"{name}: expected SHA-256 {expected[name]}, got {got[name]}"
            for name in sorted(expected.keys() & got.keys())
            if expected[name] != got[name]
        ),
    ]
