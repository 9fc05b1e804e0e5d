"""Arrays for compiled code."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as a contiguous, read-only view.

    To numba, what can be written to is of another type: a kernel is compiled for one of them alone.
    """
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view
