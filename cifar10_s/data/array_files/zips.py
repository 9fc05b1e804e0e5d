"""Read untrusted zips in bounded memory."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar10_s.data.array_files.base import MAX_OVERHEAD_BYTES


@contextmanager
def open_zip(path: Path, methods: tuple[int, ...]) -> Iterator[zipfile.ZipFile]:
    """Open a zip whose members have different names and are compressed by one of the methods.

    LZMA, for example, allocates as much memory as a number in the file says.

    Raises
    ------
    zipfile.BadZipFile
        If it is not such a zip.
    """
    with _BoundedFile(path) as file, zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if len({member.filename for member in members}) < len(members):
            raise zipfile.BadZipFile("a name occurs twice")
        for member in members:
            if member.compress_type not in methods:
                raise zipfile.BadZipFile(f"expected a compression method of {methods}, got {member.compress_type}")
        yield archive


class _BoundedFile(io.FileIO):
    """A file that refuses to read more at once than the directory or a part of a member can take."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes, or to the end."""
        limit = MAX_OVERHEAD_BYTES + 1
        data = super().read(limit if size is None or size < 0 else min(size, limit))
        if len(data) > MAX_OVERHEAD_BYTES:
            raise zipfile.BadZipFile(f"its directory takes more than {MAX_OVERHEAD_BYTES} bytes")
        return data
