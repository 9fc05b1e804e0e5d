"""The errors a user can meet; each message says what, expected, got, and what to do."""

from collections.abc import Iterable


class Cifar10SError(Exception):
    """Base of every error this package raises on purpose."""

    exit_status = 1


class UsageError(Cifar10SError, ValueError):
    """An argument that cannot be meant: an unknown name, a number out of range."""

    exit_status = 2


class SourceError(Cifar10SError):
    """A source that cannot be read as labelled images, or a noise file that cannot be read as an array."""

    exit_status = 2


class ChecksumError(SourceError):
    """A source that claims to be CIFAR-10 and is not."""

    exit_status = 1


class BuildError(Cifar10SError):
    """A build that could not finish; nothing half-written is left behind."""


class VerificationError(Cifar10SError):
    """A release that is not what it says.

    Attributes
    ----------
    failures
        One line for each thing that is wrong, the file's path first.
    """

    def __init__(self, failures: list[str]) -> None:
        # What a library beneath says of a broken file can be several lines.
        self.failures = tuple(" ".join(failure.split()) for failure in failures)
        super().__init__("\n".join(self.failures))


class HubError(Cifar10SError):
    """The Hub cannot be reached, does not let us in, or holds what must not be replaced."""


def printable(text: str) -> str:
    """Give a text, whose names may be anybody's, on one line that no terminal acts upon."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def unknown(what: str, got: object, valid: Iterable[str]) -> UsageError:
    """Make the error for a name that is not in a table; it lists the ``valid`` ones."""
    return UsageError(f"unknown {what} {got!r}: expected one of {', '.join(valid)}")
