"""Zips, read without taking more memory than what they hold can need."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar10_s.array_files.array_file import MAX_AROUND


@contextmanager
def open_zip(path: Path, methods: tuple[int, ...]) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose members have names of their own and are compressed by one of these methods.

    Of the others, LZMA takes as much memory as the file tells it to.

    Raises
    ------
    zipfile.BadZipFile
        Where it is not such a zip.
    """
    with _BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise zipfile.BadZipFile("it has the same name twice")
        for member in members:
            if member.compress_type not in methods:
                raise zipfile.BadZipFile(f"compression method {member.compress_type} where {methods} are expected")
        yield archive


class _BoundedFile(io.FileIO):
    """A file that gives no more at once than a zip's directory, or a piece of a member, can need."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes, or to the end."""
        wanted = MAX_AROUND + 1 if size is None or size < 0 else size
        data = super().read(min(wanted, MAX_AROUND + 1))
        if len(data) > MAX_AROUND:
            raise zipfile.BadZipFile(f"its directory takes more than {MAX_AROUND} bytes")
        return data
