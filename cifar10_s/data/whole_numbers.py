"""Whole numbers between Arrow and NumPy, without the conversions that import pandas if it is installed."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def to_numpy(column: Any) -> NDArray[np.int64]:
    """Return an array of integers without missing values, chunked or not, as (N,) int64.

    Examples
    --------
    >>> import pyarrow as pa
    >>> to_numpy(pa.chunked_array([[1, 2], [3]]))
    array([1, 2, 3])
    """
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return np.concatenate([np.empty(0, np.int64), *map(np.from_dlpack, chunks)], dtype=np.int64, casting="unsafe")


def to_arrow(numbers: NDArray[np.int64]) -> Any:
    """Return (N,) int64 as an Arrow array.

    Examples
    --------
    >>> import numpy as np
    >>> to_arrow(np.arange(3)).to_pylist()
    [0, 1, 2]
    """
    numbers = np.ascontiguousarray(numbers, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])
