"""Push a verified release to the Hub, completely or not at all. Only this file and `space` use the Hub's write API."""

import logging
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, RepoFile

from cifar10_s.common.checksums import SUMS, git_blob_id, hash_bytes, hash_file, read_sums
from cifar10_s.common.files import expand
from cifar10_s.common.machine import show_size
from cifar10_s.common.options import Options
from cifar10_s.common.transfers import ATTRIBUTES_FILE
from cifar10_s.data.provenance import names_cifar10
from cifar10_s.errors import HubError, UsageError, VerificationError, one_line
from cifar10_s.hub.repository import (
    MAIN_BRANCH,
    MAX_SMALL_BYTES,
    RUN_AGAIN,
    Repository,
    Snapshot,
    is_branch,
    is_of_closed_client,
)
from cifar10_s.hub.versions import MAJOR, MINOR, changed_part, next_version, numbers, pixels_of
from cifar10_s.release.layout import CARD, MANIFEST
from cifar10_s.release.manifest import Manifest, read_manifest
from cifar10_s.release.verification.verifier import Verified, verify_folder

# What a repository without a release may contain: the files that the Hub itself creates.
HUB_FILES = {ATTRIBUTES_FILE, CARD}
PUSH_AGAIN = f"{RUN_AGAIN}: uploaded files are not sent again"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Difference:
    """How a release differs from a commit on the Hub, as sorted paths."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    same: tuple[str, ...]

    @classmethod
    def of(cls, names: Collection[str], snapshot: Snapshot | None, is_same: Callable[[RepoFile], bool]) -> "Difference":
        """Return how files of these names differ from a commit, without the Hub's own; ``is_same`` compares one."""
        files = {} if snapshot is None else {n: f for n, f in snapshot.files.items() if n != ATTRIBUTES_FILE}
        both = sorted(files.keys() & set(names))
        same = {name for name in both if is_same(files[name])}
        return cls(
            new=tuple(sorted(set(names) - files.keys())),
            changed=tuple(name for name in both if name not in same),
            removed=tuple(sorted(files.keys() - set(names))),
            same=tuple(sorted(same)),
        )

    @property
    def differing(self) -> tuple[str, ...]:
        """The paths that are not the same."""
        return self.new + self.changed + self.removed

    def __bool__(self) -> bool:
        return bool(self.differing)

    def summary(self) -> str:
        """Return the number of paths of each kind, as a text."""
        return (
            f"{len(self.new)} new, {len(self.changed)} changed, {len(self.removed)} removed, {len(self.same)} the same"
        )


@dataclass(frozen=True)
class PushResult:
    """The result of a push, or of its dry run.

    Attributes
    ----------
    repo_id, revision, url
        The dataset, its branch and the URL of its page.
    tag
        ``v<version>``.
    commit
        The commit of the tag, 40 hexadecimal digits; None in a dry run if the tag does not exist.
    head
        The commit of the branch; None if there is no branch. It may differ from ``commit`` if the tag existed already,
        because a published version is not pushed again.
    status
        ``published``; ``unchanged`` if the Hub had everything already, including the tag; or ``dry run``.
    difference
        The difference to the files of the tag if it existed, otherwise to those of the branch before the push.
    sizes
        The size in bytes of every file of the release, by path.
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
    release: Verified | str | Path,
    repo_id: str,
    *,
    revision: str = MAIN_BRANCH,
    private: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    dry_run: bool = False,
) -> PushResult:
    """Push a release to the Hub, in one commit with the tag ``v<version>``.

    Files that the Hub already has are not sent. After a lost connection the push starts again, and files that were
    uploaded before are not sent again. The tag is set only after the Hub's hashes match those of the release. Name,
    rights of the token and version are checked before a folder is verified, in a dry run too.

    Parameters
    ----------
    release
        The result of `verify`, or a folder, which is verified first.
    repo_id
        ``<namespace>/<name>`` of the dataset; created if it does not exist.
    revision
        The branch; created from ``main`` if it does not exist. If the tag exists, the branch is left unchanged.
    private
        Make the dataset private; an existing one must be private already.
    endpoint, token
        See `repository.Repository`.
    dry_run
        Only report what would be done.

    Raises
    ------
    UsageError
        If a name is malformed, the revision cannot be a branch, or the name claims CIFAR-10 for a release that was
        made from something else.
    VerificationError
        If the folder does not verify or has changed since it was verified, or the Hub's hashes do not match.
    HubError
        If the Hub cannot be reached, the token may not write there, or the dataset holds something else, the same
        version with other files, the same major version with other pixels or fewer configurations, or the same minor
        version with more; the line says which version this is.

    Examples
    --------
    >>> import cifar10_s
    >>> cifar10_s.push("digits-s", "me/digits-s", dry_run=True).status
    'dry run'
    """
    repository = Repository(repo_id, endpoint=endpoint, token=token)
    if not is_branch(revision):
        raise UsageError(
            f"revision: expected a branch's name, such as main or next, got {revision!r}; the version's tag is set by "
            "the push itself"
        )
    prepare = partial(_Push, repository, revision=revision, private=private, dry_run=dry_run)
    if not isinstance(release, Verified):
        folder = expand(release)
        _refuse_early(repository, folder, prepare)
        release = verify_folder(folder, Options.resolve(device="cpu"))
    if release.folder is None:
        raise UsageError(f"{release.repo_id}: is on the Hub already; expected a folder that `cifar10-s build` wrote")
    _check_name(repo_id, release.manifest)
    with repository.one_line_errors("cannot be published", PUSH_AGAIN):
        repository.with_retries(repository.check_rights)
        return repository.with_retries(prepare(release.folder, release.manifest, release.files))


def _refuse_early(repository: Repository, folder: Path, prepare: Callable[..., "_Push"]) -> None:
    """Refuse, before a folder is verified, what its manifest, its sums and the Hub tell: name, rights, version."""
    try:
        manifest, files = read_manifest((folder / MANIFEST).read_bytes()), read_sums(folder)
        numbers(manifest.version)
    except (OSError, ValueError):
        return  # the verification says why
    _check_name(repository.repo_id, manifest)
    # What does not match the sums, the verification names.
    with repository.one_line_errors("cannot be published"), suppress(VerificationError):
        repository.with_retries(repository.check_rights)
        repository.with_retries(prepare(folder, manifest, files).look)


def _check_name(repo_id: str, manifest: Manifest) -> None:
    """Refuse the name of CIFAR-10, in the repository or the manifest, for a release made from anything else."""
    names = (
        (manifest.name, "build it with another --name, or `cifar10-s renew` it with one"),
        (repo_id.partition("/")[2], "choose another repo-id"),
    )
    for name, advice in names:
        if names_cifar10(name) and not manifest.source.is_cifar10:
            raise UsageError(
                f"{name}: was made from {manifest.source.title}, not from verified CIFAR-10, and must not be "
                f"published under that name; {advice}"
            )


class _Push:
    """One push. Called again after an interruption, it continues from what the Hub has."""

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        manifest: Manifest,
        files: Mapping[str, str],
        *,
        revision: str,
        private: bool,
        dry_run: bool,
    ) -> None:
        self.repository, self.api, self.revision = repository, repository.api, revision
        self.manifest, self.folder = manifest, folder
        self.private, self.dry_run = private, dry_run
        self.repo_arguments = repository.repo_arguments
        self.tag = f"v{self.manifest.version}"
        self.hashes, self.sizes = _measure(folder, files)
        self.found: Difference | None = None
        self.wrote = False

    def look(self) -> tuple[Snapshot | None, Snapshot | None, Snapshot | None]:
        """Return what the Hub has, the branch, that from which it starts, and the tag, or refuse to change it."""
        head, tagged = self.repository.find_snapshot(self.revision), self.repository.find_snapshot(self.tag)
        base = head or self.repository.find_snapshot(MAIN_BRANCH)
        self._check(base, MAIN_BRANCH if head is None else self.revision, tagged)
        return head, base, tagged

    def __call__(self) -> PushResult:
        head, base, tagged = self.look()
        # Report the difference before the first attempt, however often the push is repeated.
        if self.found is None:
            self.found = self.compare(tagged or base)
        report = partial(
            PushResult, self.repo_arguments["repo_id"], self.revision, self.repository.url, self.tag,
            head=None if head is None else head.commit, difference=self.found, sizes=self.sizes,
        )  # fmt: skip
        if tagged is not None:
            return report(commit=tagged.commit, status="published" if self.wrote else "unchanged")
        if self.dry_run:
            return report(commit=None, status="dry run")
        self.wrote = True
        commit = self._commit(head or self._make(base))
        self.api.create_tag(**self.repo_arguments, tag=self.tag, revision=commit)
        return report(commit=commit, head=commit, status="published")

    def compare(self, snapshot: Snapshot | None) -> Difference:
        """Compare the release with a commit by the Hub's hashes."""
        return Difference.of(self.hashes, snapshot, lambda file: self._hash_like(file) == _hash_of(file))

    def _hash_like(self, file: RepoFile) -> str:
        """Return the hash of the release's file of the same name, by the algorithm of the Hub's hash."""
        if file.lfs is not None:
            return self.hashes[file.path]
        return git_blob_id(self._read(file.path)) if self.sizes[file.path] == file.size else "another size"

    def _read(self, name: str) -> bytes:
        """Read a file of the release, and check that it has not changed since it was verified."""
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if hash_bytes(data) != self.hashes[name]:
            raise _changed(name)
        return data

    def _check(self, base: Snapshot | None, branch: str, tagged: Snapshot | None) -> None:
        """Refuse to replace what others may rely on; ``base`` is the state of ``branch``."""
        if base is None:
            return
        repo_id = self.repository.repo_id
        self.repository.check_private(base, wanted=self.private)
        if MANIFEST not in base.files and (others := sorted(base.files.keys() - HUB_FILES)):
            raise HubError(f"{repo_id}: holds something else ({', '.join(others[:3])} …); choose another repo-id")
        if tagged is not None:
            if difference := self.compare(tagged):
                raise HubError(
                    f"{repo_id}: has {self.tag} with other files ({difference.summary()}); a published version never "
                    f"changes: {self._advice(base if MANIFEST in base.files else tagged)}"
                )
            return
        self._check_pixels(base, branch)
        major = self.tag.partition(".")[0]
        for tag in self.repository.tags():
            if re.fullmatch(rf"{major}\.\d+\.\d+", tag, re.ASCII) and tag != self.tag:
                self._check_pixels(self.repository.snapshot(tag), tag)

    def _check_pixels(self, snapshot: Snapshot, revision: str) -> None:
        """Refuse pixels, and more configurations, under a version that says they are those that were published."""
        if MANIFEST not in snapshot.files:
            return
        theirs = self._manifest_of(snapshot, revision)
        version, before, now = theirs.version, pixels_of(theirs), pixels_of(self.manifest)
        published, ours = numbers(version), numbers(self.manifest.version)
        if published[MAJOR] != ours[MAJOR]:
            return
        others = sorted(name for name in now.keys() & before.keys() if now[name] != before[name])
        if others:
            raise HubError(
                f"{self.repository.repo_id}: {revision}, version {version}, has other pixels in {', '.join(others)}; "
                f"other pixels are a new major version, and this is {self.tag}: {self._advice(snapshot)}"
            )
        # A version older than theirs may lack what was added later, but a branch never loses a configuration.
        missing = sorted(before.keys() - now.keys()) if published <= ours or revision == self.revision else []
        if missing:
            raise HubError(
                f"{self.repository.repo_id}: {revision}, version {version}, has {', '.join(missing)}, but this "
                f"release does not; without them it is a new major version, and this is {self.tag}: build them too; "
                f"otherwise {self._advice(snapshot)}"
            )
        more = sorted(now.keys() - before.keys())
        if more and published < ours and published[: MINOR + 1] == ours[: MINOR + 1]:
            raise HubError(
                f"{self.repository.repo_id}: {revision}, version {version}, does not have {', '.join(more)}; more "
                f"configurations are a new minor version, and this is {self.tag}: {self._advice(snapshot)}"
            )

    def _manifest_of(self, snapshot: Snapshot, revision: str) -> Manifest:
        data = self.repository.read(snapshot, MANIFEST)
        try:
            manifest = read_manifest(data)
            numbers(manifest.version)
        except ValueError as error:
            raise HubError(
                f"{self.repository.repo_id}: {revision}: expected the {MANIFEST} of a release, got another file "
                f"({one_line(error)}); choose another repo-id"
            ) from None
        return manifest

    def _advice(self, snapshot: Snapshot) -> str:
        """Return which version this is, by what differs from a commit with a release, and how to give it that."""
        theirs = self._manifest_of(snapshot, snapshot.commit)
        taken = {tag.removeprefix("v") for tag in self.repository.tags()}
        version = next_version(theirs.version, changed_part(theirs, self.manifest), taken)
        return (
            f"after {theirs.version} this is {version}: `cifar10-s renew {self.folder} --dataset-version {version}`, "
            "or choose another repo-id"
        )

    def _make(self, base: Snapshot | None) -> Snapshot:
        """Create the repository and the branch if they do not exist."""
        if base is None:
            self.api.create_repo(**self.repo_arguments, private=self.private or None, exist_ok=True)
        if self.repository.find_snapshot(self.revision) is None:
            self.api.create_branch(**self.repo_arguments, branch=self.revision, exist_ok=True)
        made = self.repository.snapshot(self.revision)
        self.repository.check_private(made, wanted=self.private)
        return made

    def _commit(self, head: Snapshot) -> str:
        """Commit the release's files to the branch, and return the commit, checked by the Hub's hashes."""
        difference = self.compare(head)
        if not difference:
            return head.commit
        additions = [self._addition(name) for name in (*difference.new, *difference.changed)]
        size = show_size(sum(self.sizes[addition.path_in_repo] for addition in additions))
        logger.info("%s: sending %d files, at most %s", self.repository.repo_id, len(additions), size)
        # The library itself retries uploads, so an error here ends the push, unless its threads hinder each other.
        with self.repository.one_line_errors("cannot be uploaded", PUSH_AGAIN):
            self.repository.with_retries(
                partial(
                    self.api.preupload_lfs_files, additions=additions, revision=self.revision, **self.repo_arguments
                ),
                when=is_of_closed_client,
            )
        for addition in additions:
            if addition.upload_info.sha256.hex() != self.hashes[addition.path_in_repo]:
                raise _changed(addition.path_in_repo)
        created = self.api.create_commit(
            operations=[*additions, *(CommitOperationDelete(path_in_repo=name) for name in difference.removed)],
            commit_message=f"{self.manifest.title}, version {self.manifest.version}",
            revision=self.revision,
            parent_commit=head.commit,
            **self.repo_arguments,
        )
        committed = self.repository.snapshot(created.oid)
        if wrong := self.compare(committed):
            raise VerificationError([self._mismatch(committed, name) for name in sorted(wrong.differing)])
        return committed.commit

    def _addition(self, name: str) -> CommitOperationAdd:
        """Prepare a file for upload; a small one as the bytes that were just checked."""
        small = self.sizes[name] <= MAX_SMALL_BYTES
        return CommitOperationAdd(path_in_repo=name, path_or_fileobj=self._read(name) if small else self.folder / name)

    def _mismatch(self, snapshot: Snapshot, name: str) -> str:
        if name not in snapshot.files:
            return f"{name}: is missing on the Hub; nothing was tagged"
        if name not in self.hashes:
            return f"{name}: is on the Hub, but not part of the release; nothing was tagged"
        file = snapshot.files[name]
        return f"{name}: expected {self._hash_like(file)}, got {_hash_of(file)} on the Hub; nothing was tagged"


def _measure(folder: Path, files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, int]]:
    """Return the SHA-256 and the size in bytes of each file of a release, including the sums."""
    try:
        if read_sums(folder) != files:
            raise _changed(SUMS)
        hashes = {**files, SUMS: hash_file(folder / SUMS)}
    except (OSError, ValueError):
        raise _changed(SUMS) from None
    sizes = {}
    for name in hashes:
        try:
            sizes[name] = (folder / name).stat().st_size
        except OSError:
            raise _changed(name) from None
    return hashes, sizes


def _changed(name: str) -> VerificationError:
    return VerificationError([f"{name}: has changed since the folder was verified; verify it again"])


def _hash_of(file: RepoFile) -> str:
    return str(file.blob_id if file.lfs is None else file.lfs.sha256)
