"""ArrayFile: one array in a file, its shape known before its data is read."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cifar10_s.errors import Cifar10SError, SourceError, UsageError, printable

# Of a file with several arrays, the one that has one of these names is taken.
PREFERRED = ("noise", "delta", "arr_0")
# What surrounds an array (directory, pickle, header) takes some hundred bytes; a longer one is an attack on memory.
MAX_AROUND = 1 << 20
# Letters of what a file says of itself that a message repeats.
LONGEST = 200


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """An array in a file.

    Attributes
    ----------
    path
        The file.
    shape
        The array's shape, as the file declares it.
    dtype
        NumPy's name of its type, such as ``float32``; ``bfloat16``, which NumPy has not, may come too.
    read
        Gives the array; see `load`.
    offset
        Where in the file its bytes begin, in C order; None where they do not lie there so.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]
    offset: int | None = None

    def load(self) -> NDArray[Any]:
        """Give the array, memory-mapped where the format can be; bfloat16 comes as float32.

        Raises
        ------
        SourceError
            Where the data cannot be read.
        """
        with one_line_errors(self.path):
            return self.read()


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a broken file into one printable line."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Cifar10SError:
        raise
    except Exception as error:  # a broken file can raise anything
        reason = f"{type(error).__name__}: {printable(str(error))[:LONGEST]}"
        raise SourceError(
            f"{path}: cannot be read as {path.suffix} ({reason}); get it again, or save it again"
        ) from None


def choose(path: Path, names: Iterable[str]) -> str:
    """Choose the array that is meant.

    Raises
    ------
    UsageError
        Where that is not clear.
    """
    names = list(names)
    candidates = names if len(names) == 1 else [name for name in names if name in PREFERRED]
    if len(candidates) != 1:
        listed = f": {printable(', '.join(map(repr, names)))[:LONGEST]}" if names else ""
        raise UsageError(
            f"{path}: expected one array, or several of which one is named {', '.join(PREFERRED)}, "
            f"got {len(names)}{listed}; save the noise alone"
        )
    return candidates[0]
