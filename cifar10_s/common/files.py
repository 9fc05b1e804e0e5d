"""The user's folders, with or without a home; and atomic writes."""

import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import IO

from cifar10_s.errors import UsageError

CACHE_VARIABLE = "CIFAR10_S_CACHE"

logger = logging.getLogger(__name__)


def expand_home(path: str | Path) -> str:
    """Return a path with ``~`` expanded; a home that is not known stays as written, and does not exist."""
    return os.path.expanduser(path)  # noqa: PTH111 (`Path.expanduser` raises for an unknown user)


def expand(path: str | Path) -> Path:
    """Return a path with ``~`` expanded; the home of an unknown user stays as written.

    Raises
    ------
    UsageError
        If the path begins with ``~/`` and it is not known where the home folder is.
    """
    expanded = Path(expand_home(path))
    if expanded.parts[:1] == ("~",):
        raise UsageError(f"{path}: no home folder is known for this account: write the whole path, or set HOME")
    return expanded


def cache_folder() -> Path:
    """Return the cache folder: ``$CIFAR10_S_CACHE``, otherwise ``cifar10-s`` in the user's cache.

    An account whose cache cannot be written has one in the folder of temporary files.

    Raises
    ------
    UsageError
        If ``$CIFAR10_S_CACHE`` begins with ``~/`` and there is no home folder.
    """
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return expand(folder)
    caches = _user_caches()
    if caches is None or not _can_hold(caches):
        caches = _temporary_home()
    if _temporary_home.cache_info().currsize and caches == _temporary_home():
        _tell_once(caches / "cifar10-s")
    return caches / "cifar10-s"


def give_libraries_a_cache() -> None:
    """Point libraries that keep files in the home folder to another, if there is none or it is read-only.

    Without a home, they would make a folder called ``~`` here. It changes the environment of this process, and must be
    called before they are imported. Settings of the user, and files in a read-only home, are still used.
    """
    caches = _user_caches()
    if caches is not None and _can_hold(caches):
        return
    try:
        home = _temporary_home()
    except OSError:  # without any folder to write to, they may still be able to read
        return
    if _home() is None:
        os.environ["HOME"] = str(home)
    theirs = None if caches is None else caches / "huggingface"
    if theirs is None or not theirs.is_dir():
        os.environ.setdefault("HF_HOME", str(home / "huggingface"))
    elif "HF_HOME" not in os.environ:
        # The token and what was downloaded stay where they are.
        os.environ["HF_HOME"] = str(theirs)
        os.environ.setdefault("HF_DATASETS_CACHE", str(home / "huggingface" / "datasets"))
        os.environ.setdefault("HF_XET_CACHE", str(home / "huggingface" / "xet"))
        if not (theirs / "hub").is_dir():
            os.environ.setdefault("HF_HUB_CACHE", str(home / "huggingface" / "hub"))
    os.environ["XDG_CACHE_HOME"] = str(home)
    for variable, name in (
        ("MPLCONFIGDIR", "matplotlib"), ("NUMBA_CACHE_DIR", "numba"), ("TRITON_CACHE_DIR", "triton"),
        ("TORCHINDUCTOR_CACHE_DIR", "torchinductor"),
    ):  # fmt: skip
        os.environ.setdefault(variable, str(home / name))


def _home() -> Path | None:
    """Return the home folder; None if it is not known: no ``$HOME``, and no entry for this account."""
    home = os.path.expanduser("~")  # noqa: PTH111 (`Path.home` raises)
    return Path(home) if Path(home).is_absolute() else None


def _user_caches() -> Path | None:
    """Return the folder of the user's caches, by the rules of XDG; None if it is not known."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given)
    home = _home()
    return None if home is None else home / ".cache"


def _can_hold(folder: Path) -> bool:
    """Return whether files can be made in a folder, or the folder itself."""
    existing = next((place for place in (folder, *folder.parents) if place.exists()), None)
    return existing is not None and existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


@cache
def _temporary_home() -> Path:
    """Return a folder that only this account can write to, the same one each time if possible.

    Raises
    ------
    OSError
        If there is no folder for temporary files.
    """
    folder = Path(tempfile.gettempdir(), f"cifar10-s-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return Path(tempfile.mkdtemp(prefix="cifar10-s-"))
    # Another account may have made it first.
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if ours else Path(tempfile.mkdtemp(prefix="cifar10-s-"))


@cache
def _tell_once(folder: Path) -> None:
    logger.info(
        "this account has no cache that it can write: using %s; set %s to another folder", folder, CACHE_VARIABLE
    )


def write_atomically(target: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name, then rename it; an existing file stays until then.

    The temporary name is always the same, so that the next write replaces what a killed process left: only one
    process may write at a time.

    Raises
    ------
    OSError
        If the disk is full or cannot be written; nothing is left behind.
    """
    temporary = target.with_suffix(".part")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def link(source: Path, target: Path) -> None:
    """Hard-link a file, the one that a symbolic link leads to, or copy it if the disk does not support that."""
    source = source.resolve(strict=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
