"""Records that somebody else hands in: an untrusted file of JSON Lines, first the submitter, then the runs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.record_checks import KnownImages, check_record, check_text
from cifar10_s.common import typed_json
from cifar10_s.common.files import expand
from cifar10_s.common.records import parse_line
from cifar10_s.errors import SourceError, VerificationError, one_line, printable

# The limits of a file, in bytes and in lines, and of the failures that are listed.
MAX_FILE_BYTES, MAX_LINE_BYTES, MAX_RECORDS, MAX_FAILURES = 64 << 20, 1 << 20, 10_000, 20
URL = r"https://[A-Za-z0-9.-]+(?::\d+)?(?:/[!#-;=?-_a-z{}~]*)?"
ADDRESS = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
# The only field of the first line.
HEADER = "submission"


@dataclass(frozen=True, kw_only=True)
class Submitter:
    """Who submits, and what.

    Attributes
    ----------
    name
        Name of the method, the defence, or the authors; up to 200 letters.
    paper, code
        Addresses that begin with https://.
    contact
        An e-mail address or a page. The site does not show it, but the file that is handed in is public.
    """

    name: str
    paper: str
    code: str
    contact: str


@dataclass(frozen=True)
class Submission:
    """Records from elsewhere, every one of which was checked.

    Attributes
    ----------
    submitter
        Who submits, and what.
    records
        The runs, as submitted: nobody has repeated them.
    """

    submitter: Submitter
    records: tuple[Record, ...]


def read_submission(path: str | Path, known: KnownImages | None = None) -> Submission:
    """Read and check a file of submitted records.

    Parameters
    ----------
    path
        JSON Lines: first ``{"submission": {"name": …, "paper": …, "code": …, "contact": …}}``, then records as `bench`
        writes them.
    known
        The images that digests are compared with; by default `known_pixels.KNOWN_PIXELS`.

    Raises
    ------
    SourceError
        If there is no such file, or it is too large.
    VerificationError
        A line for each line of the file that is refused, the first `MAX_FAILURES` of them.
    """
    path = expand(path)
    if not path.is_file():
        raise SourceError(f"{path}: does not exist: expected a file of submitted records")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SourceError(f"{path}: expected at most {MAX_FILE_BYTES >> 20} MiB, got {path.stat().st_size >> 20} MiB")
    reader = _Reader(path, known or KnownImages.of())
    reader.read()
    if reader.submitter is None or reader.failures:
        more = reader.refused - len(reader.failures)
        raise VerificationError([*reader.failures, *([f"{path}: {more} further lines are refused"] if more else [])])
    return Submission(reader.submitter, tuple(reader.records.values()))


class _Reader:
    """Reads a file line by line, in bounded memory."""

    def __init__(self, path: Path, known: KnownImages) -> None:
        self.path, self.known = path, known
        self.submitter: Submitter | None = None
        self.records: dict[str, Record] = {}
        self.failures: list[str] = []
        self.refused = 0

    def read(self) -> None:
        """Read the file, up to its limits."""
        number = 0
        for number, line in enumerate(self._lines(), 1):
            if number > MAX_RECORDS + 1:
                self._refuse(number, f"expected at most {MAX_RECORDS:,} records: the rest is not read")
                return
            try:
                self._take(number, line)
            except ValueError as error:
                self._refuse(number, str(error))
        if number < 2:
            self._refuse(number + 1, "expected a record, got the end of the file")

    def _lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                yield line
                while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES + 1)

    def _take(self, number: int, line: bytes) -> None:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"expected at most {MAX_LINE_BYTES:,} bytes")
        if number == 1:
            self.submitter = _submitter(line)
            return
        record = check_record(parse_line(line), self.known)
        if record.id in self.records:
            raise ValueError(f"run {record.id} occurs twice")
        self.records[record.id] = record

    def _refuse(self, number: int, reason: str) -> None:
        self.refused += 1
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(f"{self.path}, line {number}: {printable(reason)[:300]}")


def _submitter(line: bytes) -> Submitter:
    """Return the first line's content, or raise ValueError."""
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({one_line(error, 120)})") from None
    names = [field.name for field in fields(Submitter)]
    form = f'expected {{"{HEADER}": {{…}}}} with {", ".join(names)}, and nothing else'
    if not isinstance(content, dict) or list(content) != [HEADER] or not isinstance(content[HEADER], dict):
        raise ValueError(form)
    if unknown := sorted(set(content[HEADER]) - set(names)):
        raise ValueError(f"{form}, got {unknown[0][:80]!r} too")
    submitter = typed_json.convert(content[HEADER], Submitter, HEADER)
    for name in names:
        check_text(f"{HEADER}.{name}", getattr(submitter, name))
    if not submitter.name.strip():
        raise ValueError(f"{HEADER}.name: expected a name, got nothing")
    for name in ("paper", "code"):
        if not re.fullmatch(URL, getattr(submitter, name)):
            raise ValueError(f"{HEADER}.{name}: expected an address, https://…, got {getattr(submitter, name)!r}")
    if not re.fullmatch(f"{ADDRESS}|{URL}", submitter.contact):
        raise ValueError(f"{HEADER}.contact: expected an e-mail address or https://…, got {submitter.contact!r}")
    return submitter
