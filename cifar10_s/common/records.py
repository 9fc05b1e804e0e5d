"""Append-only records of runs, one line of JSON each, identified by the hash of the run's settings."""

import errno
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cifar10_s.common.files import expand
from cifar10_s.errors import SourceError, UsageError, one_line

logger = logging.getLogger(__name__)

RECORD_FIELDS = ("id", "settings", "status", "results", "environment")
# How the line of a record begins: what a killed process leaves of one begins so too, or is a part of this.
START = b'{"id": "'


def run_id(settings: Mapping[str, Any]) -> str:
    """Return the id of a run: 16 hexadecimal digits of the SHA-256 of its sorted settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse_line(line: bytes) -> dict[str, Any]:
    """Parse a line as a record, and compare its id with its settings.

    Raises
    ------
    ValueError
        If the line is not a record; the message is one printable line.
    """
    try:
        record = json.loads(line)
        # Python reads NaN, 1e999 and half a character, which no record can hold.
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
        if sorted(record) == sorted(RECORD_FIELDS) and record["id"] == run_id(record["settings"]):
            return dict(record)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(one_line(error)) from None
    raise ValueError(f"expected the fields {', '.join(RECORD_FIELDS)} and the id of its settings")


class Records:
    """An append-only file of records, which several processes may share.

    Parameters
    ----------
    path
        A file of JSON Lines; the first record creates it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = expand(path)
        self._has_warned = False

    def check_writable(self) -> None:
        """Check that the file can be written, before hours are spent on a run; create its folder if needed.

        Raises
        ------
        UsageError
            If the path is a folder or cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Permissions are not enough: nobody can create a file in /proc.
            with tempfile.TemporaryFile(dir=self.path.parent):
                pass
            if self.path.exists() and not self.path.is_file() and not self.path.is_dir():
                raise OSError(errno.EINVAL, "it is a device, pipe or socket")  # opening it could last for ever
            if self.path.exists():
                self.path.open("ab").close()
        except OSError as error:
            raise UsageError(
                f"{self.path}: records cannot be written there ({error.strerror}): expected the name of a file in a "
                "folder that can be written to"
            ) from None

    def read(self) -> list[dict[str, Any]]:
        """Return all records; a truncated last line, which a killed process leaves, is skipped with a warning.

        Raises
        ------
        SourceError
            If any other line is not a record.
        """
        if not self.path.is_file():
            return []
        *lines, last = self.path.read_bytes().split(b"\n")
        if self._is_whole(last):
            lines.append(last)
        elif last:
            self._warn_truncated()
        return [self._parse(number, line) for number, line in enumerate(lines, 1) if line]

    def _is_whole(self, last: bytes) -> bool:
        """Return whether a last line is a whole record, and not cut off; some editors leave out its line break.

        Raises
        ------
        SourceError
            If it is neither: what this class did not write is kept.
        """
        try:
            return bool(last and parse_line(last))
        except ValueError as error:
            reason = str(error)
        is_cut = last.startswith(START) or START.startswith(last)
        with suppress(ValueError):
            json.loads(last)
            is_cut = False
        if not is_cut:
            raise SourceError(f"{self.path}: its last line is not a record ({reason}): correct or remove it")
        return False

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            return parse_line(line)
        except ValueError as error:
            reason = str(error)
        raise SourceError(f"{self.path}, line {number}: is not a record ({reason}): correct or remove the line")

    def _warn_truncated(self) -> None:
        """Warn once of a truncated last line."""
        if not self._has_warned:
            logger.warning(
                "%s: the last line is truncated, as by a kill: it is skipped, and removed when a record is added",
                self.path,
            )
        self._has_warned = True

    def done(self) -> set[str]:
        """Return the ids of the recorded runs, done or failed."""
        return {record["id"] for record in self.read()}

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record; it is on the disk when this returns."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock("append")), self.path.open("a+b") as file:
            end = _end_of_lines(file)
            file.seek(end)
            last = file.read()
            if self._is_whole(last):
                file.write(b"\n")
            elif last:
                self._warn_truncated()
                file.truncate(end)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def claimed(self, identity: str) -> Iterator[bool]:
        """Claim a run within the context; yield False if another process holds it. The claims of a killed one end."""
        try:
            with FileLock(self._lock(identity), blocking=False):
                yield True
        except Timeout:
            yield False

    def _lock(self, name: str) -> Path:
        # Not that of another file: only the usual suffix is replaced.
        locks = self.path.with_name(self.path.name.removesuffix(".jsonl") + ".locks")
        locks.mkdir(parents=True, exist_ok=True)
        return locks / f"{name}.lock"


def _end_of_lines(file: Any) -> int:
    """Return the position after the last line break of an open file."""
    end: int = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return int(start + newline + 1)
        end = start
    return 0
