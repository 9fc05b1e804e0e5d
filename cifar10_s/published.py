"""Published: verify a release where it is on the Hub, by the Hub's hashes or image by image."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cifar10_s.checksums import MANIFEST, SUMS, compare, hash_bytes, read_sums
from cifar10_s.croissant import CROISSANT
from cifar10_s.declarations import CARD
from cifar10_s.errors import UsageError, VerificationError
from cifar10_s.memory import Memory, memory_limit
from cifar10_s.parallel import thread_map
from cifar10_s.repository import ATTRIBUTES, MAIN, Repository, Snapshot, is_plain_path, is_repo_id
from cifar10_s.verification import check_listing, verify


@dataclass(frozen=True)
class PublishedRelease:
    """A release on the Hub whose files are those that its ``SHA256SUMS`` lists; `verify_published` makes it.

    Attributes
    ----------
    repo_id, commit
        Where it is: ``<namespace>/<name>``, and the commit's name, 40 hexadecimal digits.
    manifest
        Its ``manifest.json``.
    files
        The SHA-256 of every file, by path.
    images
        How many images were downloaded, decoded and compared; 0 without ``download``.
    """

    repo_id: str
    commit: str
    manifest: Mapping[str, Any]
    files: Mapping[str, str]
    images: int


def verify_published(
    name: str,
    *,
    download: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    memory: Memory = None,
) -> PublishedRelease:
    """Verify a release on the Hub.

    Without ``download``, the Hub's own SHA-256 of each large file, and the bytes of each small one, are compared
    with ``SHA256SUMS``, and the files' names with the manifest; no image is opened.

    Parameters
    ----------
    name
        ``<namespace>/<name>`` or ``<namespace>/<name>@<revision>``: a branch, a tag or a commit.
    download
        Fetch everything into the Hub's cache, and check that as `verify` does.
    endpoint, token
        See `repository.Repository`.
    memory
        See `verify`.

    Raises
    ------
    UsageError
        For a name of another form, or no size.
    HubError
        Where the Hub cannot be reached, or has no such dataset.
    VerificationError
        Naming every file that fails, and how.
    """
    repo_id, revision = split_name(name)
    limit = memory_limit(memory)
    repository = Repository(repo_id, endpoint=endpoint, token=token)
    with repository.conversing("cannot be verified"), tempfile.TemporaryDirectory() as scratch:
        snapshot = repository.patiently(lambda: repository.look(revision))
        files = _check_files(repository, snapshot, Path(scratch))
        manifest = check_listing(Path(scratch), files)
        images = _check_download(repository, snapshot, files, limit) if download else 0
    return PublishedRelease(repo_id, snapshot.commit, manifest, files, images)


def split_name(name: str) -> tuple[str, str]:
    """Split ``<namespace>/<name>[@<revision>]``; the branch ``main`` by default.

    Raises
    ------
    UsageError
        For a text of another form.
    """
    repo_id, at, revision = name.partition("@")
    if not is_repo_id(repo_id) or bool(at) != bool(revision):
        raise UsageError(f"{name}: expected <namespace>/<name>[@<revision>], such as me/cifar10-s@v1.0.0")
    return repo_id, revision or MAIN


def _check_files(repository: Repository, snapshot: Snapshot, folder: Path) -> dict[str, str]:
    """Fetch the small files, and compare all with the sums; gives the SHA-256 of each but the sums themselves."""
    listed = {name: file for name, file in snapshot.files.items() if name != ATTRIBUTES}
    _raise_if([f"{name!r}: is no plain path" for name in listed if not is_plain_path(name)])
    small = sorted({SUMS, MANIFEST, CARD, CROISSANT} | {name for name, file in listed.items() if file.lfs is None})

    def fetch(name: str) -> str | VerificationError:
        try:
            data = repository.read(snapshot, name)
        except VerificationError as error:
            return error
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return hash_bytes(data)

    fetched = dict(zip(small, thread_map(fetch, small), strict=True))
    _raise_if([line for found in fetched.values() if isinstance(found, VerificationError) for line in found.failures])
    hashes = {name: file.lfs.sha256 for name, file in listed.items() if file.lfs is not None}
    hashes |= {name: str(digest) for name, digest in fetched.items() if name != SUMS}
    hashes.pop(SUMS, None)
    try:
        sums = read_sums(folder)
    except ValueError as error:
        raise VerificationError([f"{SUMS}: is not of the expected form ({error})"]) from None
    _raise_if(compare(sums, hashes))
    return hashes


def _check_download(repository: Repository, snapshot: Snapshot, files: Mapping[str, str], memory: int) -> int:
    """Fetch a release into the Hub's cache and verify it there; gives the number of images."""
    fetch = partial(repository.api.snapshot_download, **repository.where, ignore_patterns=[ATTRIBUTES])
    cached = Path(repository.patiently(lambda: fetch(revision=snapshot.commit)))
    # The cache holds links; a release holds none.
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".verify-") as view:
        for name in (*files, SUMS):
            target = Path(view, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            _link(cached / name, target)
        verified = verify(view, memory=memory)
    _raise_if(compare(files, verified.files))
    return verified.images


def _link(source: Path, target: Path) -> None:
    """Give a file a second name; a copy where the disk has no such."""
    source = source.resolve(strict=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _raise_if(failures: list[str]) -> None:
    if failures:
        raise VerificationError(failures)
