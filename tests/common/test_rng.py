"""Random generators by seed and name."""

import numpy as np
import pytest

from cifar10_s.common.rng import generator, skip_floats


@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
def test_what_is_skipped_is_not_drawn(count):
    random = generator(3, "a")
    skip_floats(random, count)
    assert np.array_equal(
        random.random(9, dtype=np.float32), generator(3, "a").random(count + 9, dtype=np.float32)[count:]
    )
