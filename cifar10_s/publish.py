"""Publish: put a verified release on the Hub, whole or not at all. The only user of the Hub's write API."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, RepoFile

from cifar10_s.checksums import MANIFEST, SUMS, git_blob_id, hash_bytes, hash_file, read_sums
from cifar10_s.declarations import CARD
from cifar10_s.errors import HubError, UsageError, VerificationError
from cifar10_s.findings import MALFORMED
from cifar10_s.repository import AGAIN, ATTRIBUTES, MAIN, MAX_SMALL_BYTES, Repository, Snapshot, is_branch
from cifar10_s.verification import VerifiedRelease, verify

# What a repository may hold that is no release: what the Hub itself puts into a new one.
OF_THE_HUB = {ATTRIBUTES, CARD}
SENT_ONCE = f"{AGAIN}: what has arrived is not sent again"


@dataclass(frozen=True)
class Difference:
    """How a release differs from a commit on the Hub: paths, sorted."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    same: tuple[str, ...]

    @property
    def differing(self) -> tuple[str, ...]:
        """All that is not the same."""
        return self.new + self.changed + self.removed

    def __bool__(self) -> bool:
        return bool(self.differing)

    def summary(self) -> str:
        """Say it in short."""
        return (
            f"{len(self.new)} new, {len(self.changed)} changed, {len(self.removed)} removed, {len(self.same)} the same"
        )


@dataclass(frozen=True)
class Publication:
    """What a push has done, or would do.

    Attributes
    ----------
    repo_id, revision, url
        Where.
    tag
        ``v<version>``.
    commit
        What the tag is on, 40 hexadecimal digits; None in a dry run of what is not there yet.
    head
        What the branch is on; another commit, or None for no branch, where the tag was there and the branch is not
        at it: what is published is not published again.
    status
        ``published``; ``unchanged`` where the Hub held all of it, tag included; or ``dry run``.
    difference
        To what the tag holds, or else to what the branch held before.
    sizes
        The bytes of every file of the release, by path.
    """

    repo_id: str
    revision: str
    url: str
    tag: str
    commit: str | None
    head: str | None
    status: str
    difference: Difference
    sizes: Mapping[str, int]


def push(
    release: VerifiedRelease | str | Path,
    repo_id: str,
    *,
    revision: str = MAIN,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    dry_run: bool = False,
) -> Publication:
    """Publish a release on the Hub, in one commit with the tag ``v<version>``.

    What the Hub holds already is not sent; what a cut connection has ended is begun anew, and files that had
    arrived are not sent again. Nothing is tagged before the Hub's hashes are those of the release.

    Parameters
    ----------
    release
        What `verify` gave, or a folder, which is then verified.
    repo_id
        ``<namespace>/<name>`` of the dataset; it is made where it is not there.
    revision
        The branch; made from ``main`` where it is not there. It stays as it is where the tag is there.
    private
        Make the dataset private; one that is there must be.
    endpoint, token
        See `repository.Repository`.
    dry_run
        Only tell what would be done.

    Raises
    ------
    UsageError
        For a name of another form, a revision that can be no branch, or the name of CIFAR-10 for what was not made
        from it.
    VerificationError
        Where the folder does not verify, has changed since it did, or the Hub's hashes are others.
    HubError
        Where the Hub cannot be reached or does not let us; where it holds something else, this version with other
        files, or this major version with other pixels.
    """
    repository = Repository(repo_id, endpoint=endpoint, token=token)
    if not is_branch(revision):
        raise UsageError(
            f"revision: expected a branch's name, such as main or next, got {revision!r}; the version's tag is set by "
            "the push itself"
        )
    if not isinstance(release, VerifiedRelease):
        release = verify(release)
    _check_name(repo_id, release.manifest)
    with repository.conversing("cannot be published", SENT_ONCE):
        push_once = _Push(repository, release, revision=revision, private=private, dry_run=dry_run)
        return repository.patiently(push_once)


def _check_name(repo_id: str, manifest: Mapping[str, Any]) -> None:
    """Refuse to call CIFAR-10 what is not: on the Hub, or in what the release says of itself."""
    named = (manifest["name"], "build it with another --name"), (repo_id.partition("/")[2], "choose another repo-id")
    for name, advice in named:
        if re.search(r"cifar[-_.]*10(?!\d)", name, re.IGNORECASE) and not manifest["source"]["is_cifar10"]:
            raise UsageError(
                f"{name}: was made from {manifest['source']['title']}, not from verified CIFAR-10, and must not be "
                f"published by that name; {advice}"
            )


class _Push:
    """One push. Called again after it was cut, it goes on from what the Hub holds."""

    def __init__(
        self, repository: Repository, release: VerifiedRelease, *, revision: str, private: bool, dry_run: bool
    ) -> None:
        self.repository, self.api, self.revision = repository, repository.api, revision
        self.manifest, self.folder = release.manifest, release.folder
        self.private, self.dry_run = private, dry_run
        self.where = repository.where
        self.tag = f"v{self.manifest['version']}"
        self.hashes, self.sizes = _measure(release)
        self.found: Difference | None = None
        self.wrote = False

    def __call__(self) -> Publication:
        head, tagged = self.repository.find(self.revision), self.repository.find(self.tag)
        base = head or self.repository.find(MAIN)
        self._check(base, MAIN if head is None else self.revision, tagged)
        # What was found first is reported, however often the push is begun anew.
        if self.found is None:
            self.found = self.compare(tagged or base)
        report = partial(
            Publication, self.where["repo_id"], self.revision, self.repository.url, self.tag,
            head=None if head is None else head.commit, difference=self.found, sizes=self.sizes,
        )  # fmt: skip
        if tagged is not None:
            return report(commit=tagged.commit, status="published" if self.wrote else "unchanged")
        if self.dry_run:
            return report(commit=None, status="dry run")
        self.wrote = True
        commit = self._commit(head or self._make(base))
        self.api.create_tag(**self.where, tag=self.tag, revision=commit)
        return report(commit=commit, head=commit, status="published")

    def compare(self, snapshot: Snapshot | None) -> Difference:
        """Compare the release with a commit: bytes by the Hub's hashes, none of them sent."""
        there = {} if snapshot is None else {n: f for n, f in snapshot.files.items() if n != ATTRIBUTES}
        both = sorted(self.hashes.keys() & there.keys())
        same = {name for name in both if self._hash_like(there[name]) == _hash_of(there[name])}
        return Difference(
            new=tuple(sorted(self.hashes.keys() - there.keys())),
            changed=tuple(name for name in both if name not in same),
            removed=tuple(sorted(there.keys() - self.hashes.keys())),
            same=tuple(sorted(same)),
        )

    def _hash_like(self, file: RepoFile) -> str:
        """Give the hash of our file of that name, in the way the Hub has taken it of its own."""
        if file.lfs is not None:
            return self.hashes[file.path]
        return git_blob_id(self._read(file.path)) if self.sizes[file.path] == file.size else "another size"

    def _read(self, name: str) -> bytes:
        """Read a file of the release, which must still be what was verified."""
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if hash_bytes(data) != self.hashes[name]:
            raise _changed(name)
        return data

    def _check(self, base: Snapshot | None, branch: str, tagged: Snapshot | None) -> None:
        """Refuse what would take from others what they have; ``base`` is what ``branch`` holds."""
        if base is None:
            return
        repo_id = self.repository.repo_id
        self._check_private(base)
        if MANIFEST not in base.files and (others := sorted(base.files.keys() - OF_THE_HUB)):
            raise HubError(f"{repo_id}: holds something else ({', '.join(others[:3])} …); choose another repo-id")
        if tagged is not None:
            if difference := self.compare(tagged):
                raise HubError(
                    f"{repo_id}: has {self.tag} with other files ({difference.summary()}); a published version never "
                    "changes: build with a newer one, or choose another repo-id"
                )
            return
        self._check_pixels(base, branch)
        major = self.tag.partition(".")[0]
        for tag in self.repository.tags():
            if re.fullmatch(rf"{major}\.\d+\.\d+", tag, re.ASCII) and tag != self.tag:
                self._check_pixels(self.repository.look(tag), tag)

    def _check_private(self, snapshot: Snapshot) -> None:
        if self.private and not snapshot.private:
            raise HubError(
                f"{self.repository.repo_id}: is public, and --private was asked for; make it private on the Hub "
                "first, or choose another repo-id"
            )

    def _check_pixels(self, snapshot: Snapshot, revision: str) -> None:
        """Refuse other pixels, or none, under a name and major version that people may have cited."""
        if MANIFEST not in snapshot.files:
            return
        data = self.repository.read(snapshot, MANIFEST)
        try:
            theirs = json.loads(data)
            version, before = str(theirs["version"]), _pixels(theirs)
            major, *_ = numbers = _numbers(version)
        except MALFORMED as error:
            raise HubError(
                f"{self.repository.repo_id}: {MANIFEST} of {revision} is no release's ({type(error).__name__}); choose "
                "another repo-id"
            ) from None
        ours, now = _numbers(self.manifest["version"]), _pixels(self.manifest)
        if major != ours[0]:
            return
        others = sorted(name for name in now.keys() & before.keys() if now[name] != before[name])
        if others:
            raise HubError(
                f"{self.repository.repo_id}: {revision}, version {version}, has other pixels in {', '.join(others)}; "
                f"other pixels are a new major version, and this is {self.tag}; choose another repo-id"
            )
        # A version between older ones need not have what came later; but what a branch has, it keeps.
        gone = sorted(before.keys() - now.keys()) if numbers <= ours or revision == self.revision else []
        if gone:
            raise HubError(
                f"{self.repository.repo_id}: {revision}, version {version}, has {', '.join(gone)}, and this has not; "
                f"without them it is a new major version, and this is {self.tag}: build them too, or choose another "
                "repo-id"
            )

    def _make(self, base: Snapshot | None) -> Snapshot:
        """Make the repository, or the branch, that is not there."""
        if base is None:
            self.api.create_repo(**self.where, private=self.private or None, exist_ok=True)
        if self.repository.find(self.revision) is None:
            self.api.create_branch(**self.where, branch=self.revision, exist_ok=True)
        made = self.repository.look(self.revision)
        self._check_private(made)
        return made

    def _commit(self, head: Snapshot) -> str:
        """Bring the branch to the release's files; gives the commit that has them, by the Hub's hashes."""
        difference = self.compare(head)
        if not difference:
            return head.commit
        additions = [self._addition(name) for name in (*difference.new, *difference.changed)]
        # The library itself is patient with uploads: what ends one ends the push.
        with self.repository.conversing("cannot be uploaded", SENT_ONCE):
            self.api.preupload_lfs_files(additions=additions, revision=self.revision, **self.where)
        for addition in additions:
            if addition.upload_info.sha256.hex() != self.hashes[addition.path_in_repo]:
                raise _changed(addition.path_in_repo)
        done = self.api.create_commit(
            operations=[*additions, *(CommitOperationDelete(path_in_repo=name) for name in difference.removed)],
            commit_message=f"{self.manifest['title']}, version {self.manifest['version']}",
            revision=self.revision,
            parent_commit=head.commit,
            **self.where,
        )
        arrived = self.repository.look(done.oid)
        if wrong := self.compare(arrived):
            raise VerificationError([self._mismatch(arrived, name) for name in sorted(wrong.differing)])
        return arrived.commit

    def _addition(self, name: str) -> CommitOperationAdd:
        """Prepare a file for upload: small ones as the bytes that were verified."""
        small = self.sizes[name] <= MAX_SMALL_BYTES
        return CommitOperationAdd(path_in_repo=name, path_or_fileobj=self._read(name) if small else self.folder / name)

    def _mismatch(self, snapshot: Snapshot, name: str) -> str:
        if name not in snapshot.files:
            return f"{name}: is missing on the Hub; nothing was tagged"
        if name not in self.hashes:
            return f"{name}: is on the Hub, and no part of the release; nothing was tagged"
        file = snapshot.files[name]
        return f"{name}: expected {self._hash_like(file)}, the Hub says {_hash_of(file)}; nothing was tagged"


def _measure(release: VerifiedRelease) -> tuple[dict[str, str], dict[str, int]]:
    """Give SHA-256 and size of each file of a release, the sums included."""
    try:
        if read_sums(release.folder) != release.files:
            raise _changed(SUMS)
        hashes = {**release.files, SUMS: hash_file(release.folder / SUMS)}
    except (OSError, ValueError):
        raise _changed(SUMS) from None
    sizes = {}
    for name in hashes:
        try:
            sizes[name] = (release.folder / name).stat().st_size
        except OSError:
            raise _changed(name) from None
    return hashes, sizes


def _changed(name: str) -> VerificationError:
    return VerificationError([f"{name}: has changed since the folder was verified; verify it again"])


def _hash_of(file: RepoFile) -> str:
    return str(file.blob_id if file.lfs is None else file.lfs.sha256)


def _numbers(version: str) -> tuple[int, ...]:
    """Give a version as what compares."""
    return tuple(map(int, version.split(".")))


def _pixels(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Give the pixel digest of each configuration and split."""
    parts = {**manifest["configurations"], **manifest["splits"]}
    return {name: str(entry["pixels_sha256"]) for name, entry in parts.items()}
