"""Staging: where a folder is written before it gets its name. One process at a time; what a killed one left is cleared.

Beside ``NAME`` it is ``.NAME.building``, with three entries: the ``lock`` that its process holds, the ``new`` folder
that is being written, and the ``old`` one while the two change places.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from cifar10_s.errors import BuildError


class Staging:
    """The staging of one output.

    Parameters
    ----------
    output
        The folder's absolute path.

    Attributes
    ----------
    new
        The folder to write to, while `held`.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.slot = output, output.parent / f".{output.name}.building"
        self.new, self._old, self._lock = self.slot / "new", self.slot / "old", self.slot / "lock"

    def recover(self) -> None:
        """Clear what a killed process has left, if it has; the old folder gets its name back.

        Raises
        ------
        BuildError
            Where a running process holds it.
        OSError
            Where it cannot be removed.
        """
        if self.slot.exists():
            with self.held():
                pass

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Hold the staging, and give an empty folder; whatever is still in it at the end is removed.

        Raises
        ------
        BuildError
            Where another process holds it.
        OSError
            Where it cannot be written.
        """
        self.output.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock, blocking=False)
        try:
            self.slot.mkdir(exist_ok=True)
            lock.acquire()
            self._clear()
            self.new.mkdir()
            yield self.new
        except Timeout:
            raise BuildError(
                f"{self.output}: another process is building it: wait for it, or choose another --output"
            ) from None
        finally:
            self._leave(lock)

    def _leave(self, lock: FileLock) -> None:
        """Remove what is there, unless another process holds it; an end may have come at any moment before.

        What cannot be removed now is cleared by the next one.
        """
        try:
            with suppress(OSError), lock:
                self._clear()
                # While it is held: after that, it may be another's.
                self._lock.unlink(missing_ok=True)
                self.slot.rmdir()
        finally:
            lock.release(force=True)

    def put_in_place(self) -> None:
        """Give the new folder its name, which none has.

        Raises
        ------
        FileExistsError
            Where one has it.
        """
        try:
            self.new.rename(self.output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(error.errno, error.strerror, str(self.output)) from None
            raise

    def replace(self) -> None:
        """Give the new folder its name; what had it is removed when that is done, and keeps it where it is not."""
        self.output.rename(self._old)
        try:
            self.new.rename(self.output)
        finally:
            self._restore()

    def _restore(self) -> None:
        if self._old.exists() and not self.output.exists():
            self._old.rename(self.output)

    def _clear(self) -> None:
        self._restore()
        for left in (self.new, self._old):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)
