"""Collect the failures that a verification finds."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from cifar10_s.errors import Cifar10SError, one_line
from cifar10_s.release.layout import DATA

# What reading a malformed file can raise.
MALFORMED = (
    ArithmeticError, AttributeError, LookupError, MemoryError, OSError, RecursionError, SyntaxError, TypeError,
    ValueError, Image.DecompressionBombError, struct.error,
)  # fmt: skip


class Failures:
    """The failures found in a folder: ``lines``, one per failure, the file's path first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []

    def add(self, file: str, what: str) -> None:
        """Add a failure of a file."""
        self.lines.append(f"{file}: {what}")

    def add_at(self, where: str, what: str) -> None:
        """Add a failure of a place whose name begins with the path of this folder."""
        self.add(where.removeprefix(f"{self.folder}/"), what)

    def expect(self, file: str, what: str, expected: object, got: object) -> None:
        """Add a failure if two values differ as JSON, in which 1, 1.0 and true are different."""
        if _as_json(expected) != _as_json(got):
            self.add(file, f"{what}: expected {brief(expected)}, got {brief(got)}")

    def compare(self, file: str, expected: Any, got: Any, where: str = "") -> None:
        """Compare JSON values recursively, and add a failure for each innermost field that differs."""
        if isinstance(expected, dict) and isinstance(got, dict):
            for key in {**expected, **got}:
                place = f"{where}.{key:.80}".removeprefix(".")
                if key not in got:
                    self.add(file, f"{place}: is missing")
                elif key not in expected:
                    self.add(file, f"{place}: expected no such field, got {brief(got[key])}")
                else:
                    self.compare(file, expected[key], got[key], place)
        elif isinstance(expected, list | tuple) and isinstance(got, list) and len(expected) == len(got):
            for number, (expected_value, value) in enumerate(zip(expected, got, strict=True)):
                self.compare(file, expected_value, value, f"{where}[{number}]")
        else:
            self.expect(file, where or "the whole file", expected, got)

    @contextmanager
    def reading(self, file: str) -> Iterator[None]:
        """Turn the errors of reading a malformed file into failures."""
        try:
            yield
        except Cifar10SError as error:
            # Errors of shards already name the file.
            message = str(error).removeprefix(f"{self.folder}/")
            self.lines.append(message if message.startswith(f"{DATA}/") else f"{file}: {message}")
        except MALFORMED as error:
            self.add(file, f"is not of the expected form ({one_line(error)})")

    def read_json(self, file: str) -> Any:
        """Read a JSON file of the folder."""
        return json.loads((self.folder / file).read_text(encoding="utf-8"))


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def brief(value: object) -> str:
    """Return a value as text, cut after 300 characters."""
    text = str(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
