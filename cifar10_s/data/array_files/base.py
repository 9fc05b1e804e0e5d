"""An array in a file, whose shape is known before its data is read."""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar10_s.common.transfers import check_fetched
from cifar10_s.errors import Cifar10SError, SourceError, UsageError, one_line, printable

# Of several arrays in a file, the one with one of these names is read.
PREFERRED_NAMES = ("noise", "delta", "arr_0", "perturbation", "poison_delta")
# Labels and indices have as many axes or fewer.
TABLE_AXES = 2
# What surrounds an array (directory, pickle, header) takes some hundred bytes; more is an attack on memory.
MAX_OVERHEAD_BYTES = 1 << 20
# The most of a file's own text that an error message quotes.
MAX_QUOTED_LETTERS = 200


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
        NumPy's name of its type, such as ``float32``, or ``bfloat16``, which NumPy lacks.
    read
        Returns the array; see `load`.
    offset
        The position of its first byte in the file; None if its bytes are not there in C order.
    order : (N,) integers
        The number of the image that each row of the array is for; None if they are in order.
    labels : (N,) integers
        The class of the image that each row is for, if the file has it: the rows may be sorted by class.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], NDArray[Any]]
    offset: int | None = None
    order: NDArray[Any] | None = None
    labels: NDArray[np.int64] | None = None

    def load(self) -> NDArray[Any]:
        """Return the array, memory-mapped if the format allows; bfloat16 becomes float32.

        Raises
        ------
        SourceError
            If the data cannot be read.
        """
        with one_line_errors(self.path):
            return self.read()


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a broken file into a `SourceError` of one printable line.

    Of a file that was not fetched, the line says so.
    """
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except Exception as error:  # a broken file can raise anything
        check_fetched(path)
        if isinstance(error, Cifar10SError):
            raise
        reason = one_line(error, MAX_QUOTED_LETTERS)
        raise SourceError(
            f"{path}: cannot be read as {path.suffix} ({reason}); get it again, or save it again"
        ) from None


def choose(path: Path, names: Iterable[str], axes: Callable[[str], int]) -> str:
    """Choose one of several arrays by its name; otherwise the only one with more axes than a list or table.

    Parameters
    ----------
    path
        The file.
    names
        The arrays' names.
    axes
        Returns the number of axes of an array.

    Raises
    ------
    UsageError
        If there is none, or several that neither the name nor the number of axes tells apart.
    """
    names = list(names)
    candidates = names if len(names) == 1 else [name for name in names if name in PREFERRED_NAMES]
    if len(candidates) != 1:
        candidates = [name for name in names if axes(name) > TABLE_AXES]
    if len(candidates) != 1:
        listed = f": {printable(', '.join(map(repr, names)))[:MAX_QUOTED_LETTERS]}" if names else ""
        raise UsageError(
            f"{path}: expected one array, or several of which one is named {', '.join(PREFERRED_NAMES)} or alone has "
            f"more than {TABLE_AXES} axes, got {len(names)}{listed}; save the noise alone"
        )
    return candidates[0]
