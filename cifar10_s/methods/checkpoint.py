"""Checkpoints of long computations in the cache: their state after each round, and their result."""

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

from cifar10_s.common.files import CACHE_VARIABLE, cache_folder, write_atomically
from cifar10_s.errors import BuildError, one_line


class Checkpoint:
    """The files of one computation: ``<name>-<key>.pt`` while it is running, ``<name>-<key>.npy`` when finished.

    Parameters
    ----------
    name
        Name of the computation.
    settings
        Everything that the result depends on; the key is a hash of it.
    """

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        stem = f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self.folder = cache_folder() / "noise"
        self.unfinished, self.finished = self.folder / f"{stem}.pt", self.folder / f"{stem}.npy"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock the computation against other processes within this context.

        Raises
        ------
        BuildError
            If another process has locked it, or the cache cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.finished.with_suffix(".lock"), blocking=False).acquire()
        except Timeout:
            raise BuildError(f"{self.finished}: another process is computing this: wait for it, or stop it") from None
        except OSError as error:
            raise self._unwritable(error) from None
        with lock:
            yield

    def result(self) -> NDArray[np.int8] | None:
        """Return the result, or None if there is none that can be read."""
        try:
            return np.asarray(np.load(self.finished, allow_pickle=False), np.int8)
        except (OSError, ValueError, EOFError):
            return None

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the last saved state, or None if there is none; no code in the file is run.

        Raises
        ------
        BuildError
            If the file cannot be read.
        """
        if not self.unfinished.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.unfinished, map_location=device, weights_only=True)
        except Exception as error:  # a corrupt file can raise nearly anything
            raise BuildError(
                f"{self.unfinished}: is not a checkpoint ({type(error).__name__}): remove it to start again"
            ) from None
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the saved state atomically.

        Raises
        ------
        BuildError
            If the cache cannot be written; the previous state is kept.
        """
        self._write(self.unfinished, lambda file: torch.save(dict(state), file))

    def finish(self, result: NDArray[np.int8]) -> None:
        """Save the result, and remove the state; raise as for `save`."""
        self._write(self.finished, lambda file: np.save(file, result))
        self.unfinished.unlink(missing_ok=True)

    def _write(self, target: Path, write: Callable[[IO[bytes]], None]) -> None:
        try:
            write_atomically(target, write)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
            raise self._unwritable(error) from None

    def _unwritable(self, error: Exception) -> BuildError:
        return BuildError(
            f"{self.folder}: the cache cannot be written ({one_line(error)}): free some space, or set "
            f"{CACHE_VARIABLE} to another folder"
        )
