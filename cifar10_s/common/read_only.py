"""Arrays for compiled code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as a contiguous, read-only view.

    To numba, a writable array has another type. With read-only views alone, a kernel is compiled only once.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
