"""Types of arrays."""

import numpy as np
from numpy.typing import NDArray

Uint8Array = NDArray[np.uint8]
Int64Array = NDArray[np.int64]
Float64Array = NDArray[np.float64]
