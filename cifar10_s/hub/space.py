"""Publish a static site as a Space of the Hub, in one commit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, RepoFile

from cifar10_s.common.checksums import git_blob_id, hash_bytes
from cifar10_s.common.transfers import ATTRIBUTES_FILE
from cifar10_s.errors import HubError, VerificationError
from cifar10_s.hub.publish import PUSH_AGAIN, Difference
from cifar10_s.hub.repository import MAIN_BRANCH, Repository, Snapshot
from cifar10_s.release.layout import CARD

# What the Hub itself puts into a new static Space.
HUB_FILES = frozenset({ATTRIBUTES_FILE, CARD, "index.html", "style.css"})


@dataclass(frozen=True)
class SpaceResult:
    """The result of publishing a site.

    Attributes
    ----------
    repo_id, url
        The Space, and the URL of its page.
    status
        ``published``; ``unchanged`` if the Hub had all files; or ``dry run``.
    commit
        The commit of the branch ``main``; None in the dry run of a new Space.
    difference
        How the site differs from what the Space had.
    """

    repo_id: str
    url: str
    status: str
    commit: str | None
    difference: Difference


class Space:
    """A Space on the Hub that holds a site, or will; a malformed name is refused before anything is sent.

    Parameters
    ----------
    repo_id
        ``<namespace>/<name>``.
    marker
        The name of a file by which a Space is known as a site of ours.
    endpoint, token
        See `repository.Repository`.

    Raises
    ------
    UsageError
        If the name, the endpoint or the token is malformed.
    """

    def __init__(self, repo_id: str, marker: str, *, endpoint: str | None = None, token: str | None = None) -> None:
        self.repository = Repository(repo_id, endpoint=endpoint, token=token, kind="space")
        self.marker = marker

    def publish(self, folder: Path, *, private: bool = False, dry_run: bool = False) -> SpaceResult:
        """Publish the files of a folder, and remove all others; the Space is created if it does not exist.

        Raises
        ------
        HubError
            If the Hub cannot be reached or denies access, or the Space holds something else.
        VerificationError
            If the Hub's hashes are not those of the files.
        """
        files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        with self.repository.one_line_errors("cannot be published", PUSH_AGAIN):
            return self.repository.with_retries(lambda: self._publish(files, private, dry_run))

    def _publish(self, files: Mapping[str, bytes], private: bool, dry_run: bool) -> SpaceResult:
        repository, api = self.repository, self.repository.api
        head = repository.find_snapshot(MAIN_BRANCH)
        self._check(head)
        if head is not None:
            repository.check_private(head, wanted=private)
        difference = _compare(files, head)
        status = "dry run" if dry_run else "published" if difference else "unchanged"
        commit = None if head is None else head.commit
        if status == "published":
            if head is None:
                api.create_repo(**repository.repo_arguments, space_sdk="static", private=private or None, exist_ok=True)
                head = repository.snapshot(MAIN_BRANCH)
            changed = _compare(files, head)
            created = api.create_commit(
                operations=[
                    *(CommitOperationAdd(name, files[name]) for name in (*changed.new, *changed.changed)),
                    *(CommitOperationDelete(name) for name in changed.removed),
                ],
                commit_message="Results",
                revision=MAIN_BRANCH,
                parent_commit=head.commit,
                **repository.repo_arguments,
            )
            commit = created.oid
            if wrong := _compare(files, repository.snapshot(commit)):
                raise VerificationError([f"{name}: is another file on the Hub" for name in wrong.differing])
        return SpaceResult(repository.repo_id, repository.url, status, commit, difference)

    def _check(self, head: Snapshot | None) -> None:
        if head is not None and self.marker not in head.files and (others := sorted(set(head.files) - HUB_FILES)):
            raise HubError(
                f"{self.repository.repo_id}: holds something else ({', '.join(others[:3])} …); choose another --space"
            )


def _compare(files: Mapping[str, bytes], head: Snapshot | None) -> Difference:
    return Difference.of(files, head, lambda file: _is_same(file, files[file.path]))


def _is_same(file: RepoFile, content: bytes) -> bool:
    if file.lfs is not None:
        return bool(file.lfs.sha256 == hash_bytes(content))
    return bool(file.blob_id == git_blob_id(content))
