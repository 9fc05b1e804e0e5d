"""Findings: what a verification has found wrong so far."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from cifar10_s.errors import Cifar10SError

# What reading a file of another form than expected can raise.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, SyntaxError, TypeError,
    ValueError, Image.DecompressionBombError, struct.error,
)  # fmt: skip


class Findings:
    """What is wrong with a folder: ``failures``, a line each, the file's path first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []

    def fail(self, file: str, what: str) -> None:
        """Add a line."""
        self.failures.append(f"{file}: {what}")

    def fail_at(self, where: str, what: str) -> None:
        """Fail at a place that begins with this folder's path."""
        self.fail(where.removeprefix(f"{self.folder}/"), what)

    def expect(self, file: str, what: str, expected: object, got: object) -> None:
        """Compare as JSON does: 1, 1.0 and true are three things."""
        if _as_json(expected) != _as_json(got):
            self.fail(file, f"{what}: expected {brief(expected)}, got {brief(got)}")

    @contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Make a failure of whatever a file of another form leads to."""
        try:
            yield
        except Cifar10SError as error:
            # The errors of shards name the file themselves.
            message = str(error).removeprefix(f"{self.folder}/")
            self.failures.append(message if message.startswith("data/") else f"{file}: {message}")
        except MALFORMED as error:
            self.fail(file, f"is not of the expected form ({type(error).__name__}: {error})")

    def read_json(self, file: str) -> Any:
        """Read a JSON file of the folder."""
        return json.loads((self.folder / file).read_text(encoding="utf-8"))


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def brief(value: object) -> str:
    """Say a value in at most 300 characters."""
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
