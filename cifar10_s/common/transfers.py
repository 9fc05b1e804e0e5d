"""What tools that fetch, clone or unpack a folder add to it, and what they leave undone.

========================  ==================================================================================
tool                      what it adds or leaves
========================  ==================================================================================
``hf download``           with ``--local-dir``, notes in ``.cache/huggingface`` and the Hub's ``.gitattributes``
the Hub's cache           ``snapshots/<commit>``, whose files are links to ``../../blobs``
``git clone``             ``.git``, ``.gitattributes``, and pointers to files that Git LFS has not fetched
macOS                     ``.DS_Store``, and files named ``._*``, which a zip has in ``__MACOSX``
========================  ==================================================================================
"""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from cifar10_s.common.checksums import SUMS, hash_bytes
from cifar10_s.errors import SourceError

ATTRIBUTES_FILE = ".gitattributes"
# Where `hf download --local-dir` keeps its notes; the second is that of its versions before 0.24.
_NOTES = (".cache/huggingface", ".huggingface")
_ADDED = re.compile(
    rf"{re.escape(ATTRIBUTES_FILE)}|\.git|\.git/.+|(?:.+/)?(?:\.DS_Store|\._[^/]+)"
    rf"|(?:{'|'.join(map(re.escape, _NOTES))})"
    r"/(?:\.gitignore(?:\.lock)?|CACHEDIR\.TAG|(?:download|upload)/.+\.(?:metadata|lock|incomplete))",
    re.DOTALL,
)
_ADDED_FOLDER = re.compile(rf"\.cache|(?:{'|'.join(map(re.escape, (*_NOTES, '.git', '__MACOSX')))})(?:/.+)?", re.DOTALL)
_BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\n(?:.+\n)*?oid sha256:[0-9a-f]{64}\n(?:.+\n)*")
MAX_POINTER_BYTES = 1024
# Text files are small; larger ones are not read again to see what changed them.
MAX_TEXT_BYTES = 10 << 20
IS_POINTER = "is a Git LFS pointer: run git lfs pull"
IS_EMPTY = "is empty: get it again"


def is_added(folder: Path, path: str) -> bool:
    """Return whether a tool added what is at a path of a folder: a plain file, or an empty folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> is_added(Path(), ".gitattributes"), is_added(Path(), "data/.gitattributes")
    (True, False)
    """
    place = folder / path
    if place.is_symlink():
        return False
    return (_ADDED_FOLDER if place.is_dir() else _ADDED).fullmatch(path) is not None


def is_cache_link(folder: Path, path: str) -> bool:
    """Return whether a path of a folder is a link to a file in the blobs of the Hub's cache, present or not.

    It may lead to ``../../blobs`` of a folder in ``snapshots``, or, as older versions of ``hf download --local-dir``
    made it, to the blobs of a dataset in the cache.
    """
    link = folder / path
    try:
        if not link.is_symlink():
            return False
        target, home = link.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # a circle of links
        return False
    if target.is_dir() or target.is_symlink() or (target.exists() and not target.is_file()):
        return False
    if home.parent.name == "snapshots" and target.parent == home.parent.parent / "blobs":
        return True
    is_blob = target.parent.name == "blobs" and target.parent.parent.name.startswith("datasets--")
    return is_blob and _BLOB.fullmatch(target.name) is not None


def is_pointer(file: Path) -> bool:
    """Return whether a file is a pointer of Git LFS, which a clone has until the file itself is fetched."""
    return _unfetched_file(file) == IS_POINTER


def unfetched(data: bytes) -> str:
    """Return what to do about the content of a file that was never fetched; empty if it may be the file itself.

    Examples
    --------
    >>> unfetched(b""), unfetched(b"GIF89a")
    ('is empty: get it again', '')
    """
    if not data:
        return IS_EMPTY
    return IS_POINTER if len(data) <= MAX_POINTER_BYTES and _POINTER.fullmatch(data) else ""


def check_fetched(file: Path) -> None:
    """Check that a file's content is there; a file that cannot be read is left to its reader.

    Raises
    ------
    SourceError
        If it is empty, or a pointer of Git LFS.
    """
    if why := _unfetched_file(file):
        raise SourceError(f"{file}: {why}")


def _unfetched_file(file: Path) -> str:
    """Return `unfetched` of a file's content; empty if it cannot be read."""
    try:
        is_small = file.is_file() and file.stat().st_size <= MAX_POINTER_BYTES
        return unfetched(file.read_bytes()) if is_small else ""
    except OSError:
        return ""


def explain(folder: Path, expected: Mapping[str, str], got: Mapping[str, str]) -> dict[str, str]:
    """Return, by path, what a tool left undone; files without a known cause are left out.

    Parameters
    ----------
    folder
        The folder.
    expected, got
        SHA-256 of each file that it must have, and of each that it has, by path.
    """
    found = {name: _why_missing(folder, name) for name in expected.keys() - got.keys()}
    found |= {
        name: _why_changed(folder / name, expected[name])
        for name in expected.keys() & got.keys()
        if expected[name] != got[name]
    }
    return {name: found[name] for name in sorted(found) if found[name]}


def how_to_get(folder: Path, path: str = "") -> str:
    """Return how to get a file again, or everything by default; empty if it is not known how the folder got here."""
    home = folder.resolve()
    repository, snapshots = home.parent.parent.name, home.parent.name
    if snapshots == "snapshots" and repository.startswith("datasets--"):
        name = repository.removeprefix("datasets--").replace("--", "/", 1)
        what = [name, *([path] if path else [])]
        return f"run hf download {shlex.join(what)} --repo-type dataset --revision {shlex.quote(home.name)}"
    if any((folder / notes).is_dir() for notes in _NOTES):
        return "run the same hf download again, without --include and --exclude: it fetches what is missing"
    if (folder / ".git").exists():
        return f"run git restore {shlex.quote(path or '.')}"
    return ""


def _why_missing(folder: Path, name: str) -> str:
    how = how_to_get(folder, name)
    what = "is a link to what is not in the Hub's cache" if is_cache_link(folder, name) else "is missing"
    return f"{what}: {how}" if how else ""


def _why_changed(file: Path, expected: str) -> str:
    if is_pointer(file):
        return IS_POINTER
    if file.stat().st_size <= MAX_TEXT_BYTES:
        data = file.read_bytes()
        if b"\r\n" in data and hash_bytes(data.replace(b"\r\n", b"\n")) == expected:
            return "has the line ends of Windows, as git makes them: clone again with -c core.autocrlf=false"
    return ""


def missing_sums(folder: Path) -> str:
    """Return the error of a folder that lacks ``SHA256SUMS``."""
    if is_pointer(folder / SUMS):
        return IS_POINTER
    how = how_to_get(folder)
    told = f"is missing from {folder}; expected a release that `cifar10-s build` wrote"
    return f"{told}; if it was fetched in part, {how}" if how else told
