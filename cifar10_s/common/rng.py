"""Random generators from a seed and a name."""

import hashlib
from typing import cast

import numpy as np

from cifar10_s.errors import UsageError


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return the random generator of a seed and names.

    Each (seed, names) has a stream of its own, so that a new use of randomness never changes another.

    Raises
    ------
    UsageError
        If the seed is negative.
    """
    check_seed(seed)
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def skip_floats(random: np.random.Generator, count: int) -> None:
    """Skip a number of draws of 32-bit floats; PCG64 makes two from each of its numbers."""
    cast(np.random.PCG64, random.bit_generator).advance(count // 2)
    if count % 2:
        random.random(dtype=np.float32)


def check_seed(seed: int) -> None:
    """Check that a seed is not negative.

    Raises
    ------
    UsageError
        If it is negative.
    """
    if seed < 0:
        raise UsageError(f"seed: expected a whole number from 0, got {seed}")
