"""The errors a user can meet; each message says what, expected, got, and what to do."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")
# More letters of an unknown name are not compared with known ones.
LONGEST_NAME = 100
# Names of this ratio of `difflib.SequenceMatcher` are like one another.
LIKE = 0.75


class Cifar10SError(Exception):
    """Base of every error this package raises on purpose."""

    exit_status = 1


class UsageError(Cifar10SError, ValueError):
    """An invalid argument, such as an unknown name or a number out of range."""

    exit_status = 2


class SourceError(Cifar10SError):
    """A source that cannot be read as labelled images, or a noise file that cannot be read as an array."""

    exit_status = 2


class ChecksumError(SourceError):
    """A source that claims to be CIFAR-10 or CIFAR-100 and has other checksums."""

    exit_status = 1


class BuildError(Cifar10SError):
    """A build that could not finish; no partial output is left behind."""


class VerificationError(Cifar10SError):
    """A release that does not match its own metadata.

    Attributes
    ----------
    failures
        One line per failure, the file's path first.
    """

    def __init__(self, failures: list[str]) -> None:
        # A library's message about a broken file can span several lines.
        self.failures = tuple(" ".join(failure.split()) for failure in failures)
        super().__init__("\n".join(self.failures))


class HubError(Cifar10SError):
    """The Hub cannot be reached, denies access, or holds what must not be replaced."""


def printable(text: str) -> str:
    """Return an untrusted text on one line, without characters that a terminal interprets."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def one_line(error: BaseException, limit: int = 300) -> str:
    """Return the type and message of an error on one printable line of at most ``limit`` characters."""
    return printable(": ".join(filter(None, [type(error).__name__, str(error)])))[:limit]


def root_cause(error: BaseException) -> BaseException:
    """Return the first error of the chain that an error was raised from; the error itself if it has no cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def unknown(what: str, got: object, valid: Iterable[str]) -> UsageError:
    """Return the error for a name that is not in a table; it lists the ``valid`` names, and says which is nearest."""
    names = [printable(name) for name in valid]
    near = _nearest(str(got)[:LONGEST_NAME], names)
    hint = f" (did you mean {near}?)" if near else " (name one at a time)" if "," in str(got) else ""
    return UsageError(f"unknown {what} {got!r}{hint}: expected one of {', '.join(names)}")


def _nearest(got: str, names: Iterable[str]) -> str:
    """Return the name that is most like what was given; of several, the first; empty if none is like it."""
    # Imported here: commands that succeed start faster.
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(b=got.lower())

    def likeness(name: str) -> float:
        matcher.set_seq1(name.lower())
        return matcher.ratio()

    likenesses = {name: likeness(name) for name in names}
    near = max(likenesses, key=lambda name: likenesses[name], default="")
    return near if likenesses.get(near, 0) >= LIKE else ""


def look_up(what: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Return the entry of a table by its name.

    Raises
    ------
    UsageError
        If there is none; the line lists the names.
    """
    if name not in table:
        raise unknown(what, name, table)
    return table[name]
