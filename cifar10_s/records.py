"""Records: what was measured, one line of JSON a run, keyed by the hash of the run's settings."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cifar10_s.errors import SourceError, UsageError

logger = logging.getLogger(__name__)

# Where a release keeps the records of what was measured on it.
RELEASED = "results/benchmark.jsonl"
FIELDS = ("id", "settings", "status", "results", "environment")


def run_id(settings: Mapping[str, Any]) -> str:
    """Give the id of a run: 16 hexadecimal digits of the SHA-256 of its sorted settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Records:
    """An append-only file of records, which several processes can share.

    Parameters
    ----------
    path
        A file of JSON Lines; it is made when the first record comes.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._told = False

    def check_writable(self) -> None:
        """Refuse a place where no record could be written, before hours are spent on one.

        Raises
        ------
        UsageError
            Where the path is a folder, or is not to be written; the folder that it is in is made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Permissions do not tell it all: none can make a file in /proc.
            with tempfile.TemporaryFile(dir=self.path.parent):
                pass
            if self.path.exists():
                self.path.open("ab").close()
        except OSError as error:
            raise UsageError(
                f"{self.path}: records cannot be written there ({error.strerror}): expected the name of a file in a "
                "folder that can be written to"
            ) from None

    def read(self) -> list[dict[str, Any]]:
        """Give all records; a last line that a killed process left unfinished is none, and is reported.

        Raises
        ------
        SourceError
            Where a line is no record.
        """
        if not self.path.is_file():
            return []
        *lines, last = self.path.read_bytes().split(b"\n")
        if self._is_record(last):
            lines.append(last)
        elif last:
            self._tell_cut()
        return [self._parse(number, line) for number, line in enumerate(lines, 1) if line]

    def _is_record(self, line: bytes) -> bool:
        """Tell whether a last line without an end is whole all the same, as editors leave it."""
        try:
            return bool(self._parse(0, line))
        except SourceError:
            return False

    def _parse(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            record = json.loads(line)
            if sorted(record) == sorted(FIELDS) and record["id"] == run_id(record["settings"]):
                return dict(record)
            reason = f"expected the fields {', '.join(FIELDS)} and the id of its settings"
        except (ValueError, TypeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
        raise SourceError(f"{self.path}, line {number}: is no record ({reason}): mend or remove the line")

    def _tell_cut(self) -> None:
        """Report a last line that is cut, once."""
        if not self._told:
            logger.warning(
                "%s: the last line was cut short, as by a kill: it is no record, and goes when the next is added",
                self.path,
            )
        self._told = True

    def done(self) -> set[str]:
        """Give the ids of the runs that ended, well or not."""
        return {record["id"] for record in self.read()}

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record; it is on the disk when this returns."""
        line = json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock("append")), self.path.open("a+b") as file:
            whole = _whole(file)
            file.seek(whole)
            last = file.read()
            if self._is_record(last):
                file.write(b"\n")
            elif last:
                self._tell_cut()
                file.truncate(whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def claimed(self, identity: str) -> Iterator[bool]:
        """Claim a run while inside; false where another process is at it. A killed process claims nothing."""
        try:
            with FileLock(self._lock(identity), blocking=False):
                yield True
        except Timeout:
            yield False

    def _lock(self, name: str) -> Path:
        locks = self.path.with_suffix(".locks")
        locks.mkdir(parents=True, exist_ok=True)
        return locks / f"{name}.lock"


def _whole(file: Any) -> int:
    """Give where the last whole line of an open file ends."""
    end: int = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return int(start + newline + 1)
        end = start
    return 0
