"""Cache: where is kept what is not to be made twice; a file there is whole or absent."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

ENVIRONMENT = "CIFAR10_S_CACHE"


def cache_folder() -> Path:
    """Give the folder of the cache: ``$CIFAR10_S_CACHE``, else ``cifar10-s`` in the user's cache."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cifar10-s"


def write_whole(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file beside the target, then rename it; the one that was there stays until then.

    The file beside has one name, so that what a killed process left is overwritten: only one process may write at a
    time.

    Raises
    ------
    OSError
        Where there is no room, or no right to write; nothing is left behind.
    """
    beside = target.with_suffix(".part")
    try:
        with beside.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
