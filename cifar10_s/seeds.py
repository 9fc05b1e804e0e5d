"""Random generators from a seed and a name."""

import hashlib

import numpy as np

from cifar10_s.errors import UsageError


def generator(seed: int, *names: str) -> np.random.Generator:
    """Give the generator that belongs to these names.

    Each (seed, names) has a stream of its own, so that a new use of chance never shifts another's.

    Raises
    ------
    UsageError
        For a negative seed.
    """
    if seed < 0:
        raise UsageError(f"seed: expected a whole number from 0, got {seed}")
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])
