"""Versions of a dataset: which part of its number a change of a release raises.

Other pixels under a configuration's name, and a configuration or split that is gone, are a new major version. More
configurations or splits are a new minor version. Words, figures and results are a patch.
"""

from collections.abc import Container

from cifar10_s.release.manifest import Manifest

MAJOR, MINOR, PATCH = range(3)


def pixels_of(manifest: Manifest) -> dict[str, str]:
    """Return the pixel digest of each configuration and split."""
    return {**manifest.pixels, **{split: entry.pixels_sha256 for split, entry in manifest.splits.items()}}


def numbers(version: str) -> tuple[int, int, int]:
    """Return a version as a tuple of three numbers, which sorts as versions do.

    Raises
    ------
    ValueError
        If it is not three numbers.

    Examples
    --------
    >>> numbers("1.10.0") > numbers("1.9.2")
    True
    """
    major, minor, patch = map(int, version.split("."))
    return major, minor, patch


def changed_part(before: Manifest, now: Manifest) -> int:
    """Return which part of the version the difference between two releases raises: `MAJOR`, `MINOR` or `PATCH`."""
    old, new = pixels_of(before), pixels_of(now)
    if any(new.get(name) != digest for name, digest in old.items()):
        return MAJOR
    return MINOR if new.keys() > old.keys() else PATCH


def next_version(version: str, part: int, taken: Container[str] = ()) -> str:
    """Return the next version that is not taken, with one part raised, and those after it zero.

    Examples
    --------
    >>> next_version("1.2.3", MINOR), next_version("1.2.3", PATCH, taken={"1.2.4"})
    ('1.3.0', '1.2.5')
    """
    parts = list(numbers(version))
    while True:
        parts[part] += 1
        parts[part + 1 :] = [0] * (PATCH - part)
        raised = ".".join(map(str, parts))
        if raised not in taken:
            return raised
