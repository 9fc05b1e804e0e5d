"""Checkpoints: where long work keeps its rounds, and its result, so that nothing is done twice."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from cifar10_s.cache import ENVIRONMENT, cache_folder, write_whole
from cifar10_s.errors import BuildError


class Checkpoint:
    """The files of one piece of work: ``<name>-<key>.pt`` while it goes on, ``<name>-<key>.npy`` when it is done.

    Parameters
    ----------
    name
        What the work is called.
    settings
        All that its result depends on; the key is their hash.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder = cache_folder() / "noise"
        self.unfinished, self.finished = self.folder / f"{stem}.pt", self.folder / f"{stem}.npy"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from the same work meanwhile.

        Raises
        ------
        BuildError
            Where one is at it already, or the cache cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.finished.with_suffix(".lock"), blocking=False).acquire()
        except Timeout:
            raise BuildError(f"{self.finished}: another process is at this work: wait for it, or stop it") from None
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            yield

    def result(self) -> NDArray[np.int8] | None:
        """Give the finished work's array, if it is there and whole."""
        try:
            return np.asarray(np.load(self.finished, allow_pickle=False), np.int8)
        except (OSError, ValueError, EOFError):
            return None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Give the last state saved, if there is one; nothing in the file is run.

        Raises
        ------
        BuildError
            Where the file is broken.
        """
        if not self.unfinished.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.unfinished, map_location=device, weights_only=True)
        except Exception as error:  # a broken file can raise nearly anything
            raise BuildError(
                f"{self.unfinished}: is not a checkpoint ({type(error).__name__}): remove it to start again"
            ) from None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Save a state in the place of the one before, which stays until this one is whole on the disk.

        Raises
        ------
        BuildError
            Where the cache cannot be written; the state before stays.
        """
        self._write(self.unfinished, lambda file: torch.save(dict(state), file))

    def finish(self, result: NDArray[np.int8]) -> None:
        """Save the result, and remove the state."""
        self._write(self.finished, lambda file: np.save(file, result))
        self.unfinished.unlink(missing_ok=True)

    def _write(self, target: Path, write: Callable[[IO[bytes]], None]) -> None:
        try:
            write_whole(target, write)
        except (OSError, RuntimeError) as error:  # torch has its own for a full disk
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> BuildError:
        reason = " ".join(str(error).split())[:100]
        return BuildError(
            f"{self.folder}: the cache cannot be written ({reason}): free some space, or set {ENVIRONMENT} to another "
            "folder"
        )
