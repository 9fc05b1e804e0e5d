"""Write a folder beside its final place, then rename it.

The staging folder of ``NAME`` is ``.NAME.building`` beside it, with three entries: the ``lock`` that its process holds,
the ``new`` folder that is being written, and the ``old`` one while the two are swapped. One process stages an output at
a time; what a killed one left is removed.
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
        The absolute path of the folder to write.

    Attributes
    ----------
    folder
        The staging folder, beside the output.
    new
        The folder to write to, while `held`.
    """

    def __init__(self, output: Path) -> None:
        self.output, self.folder = output, output.parent / f".{output.name}.building"
        self.new, self._old, self._lock = self.folder / "new", self.folder / "old", self.folder / "lock"

    def recover(self) -> None:
        """Remove what a killed process left, and restore the old folder if it was moved.

        Raises
        ------
        BuildError
            If a running process holds the staging.
        OSError
            If it cannot be removed.
        """
        if self.folder.exists():
            with self.held():
                pass

    @contextmanager
    def held(self) -> Iterator[Path]:
        """Lock the staging, and yield an empty folder; if it is still there at the end, it is removed.

        Raises
        ------
        BuildError
            If another process holds the staging.
        OSError
            If it cannot be written.
        """
        self.output.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock, blocking=False)
        try:
            self.folder.mkdir(exist_ok=True)
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
        """Remove the staging folder, unless another process holds it; this one may be interrupted at any moment.

        What cannot be removed now, the next process removes.
        """
        try:
            with suppress(OSError), lock:
                self._clear()
                # While the lock is held: afterwards the folder may be another process's.
                self._lock.unlink(missing_ok=True)
                self.folder.rmdir()
        finally:
            lock.release(force=True)

    def put_in_place(self) -> None:
        """Rename the new folder to its final name, which must be free.

        Raises
        ------
        FileExistsError
            If the name is taken.
        """
        try:
            self.new.rename(self.output)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(error.errno, error.strerror, str(self.output)) from None
            raise

    def replace(self) -> None:
        """Rename the new folder to its final name, and remove the old one, which keeps its name if this fails."""
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
