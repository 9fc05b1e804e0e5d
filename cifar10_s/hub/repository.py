"""Read a repository on the Hub. Nothing here writes to it."""

import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from huggingface_hub import HfApi, RepoFile, get_token, hf_hub_url
from huggingface_hub.errors import (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff  # type: ignore[attr-defined]

from cifar10_s.common.checksums import git_blob_id, hash_bytes
from cifar10_s.errors import Cifar10SError, HubError, UsageError, VerificationError, printable, root_cause
from cifar10_s.hub.rights import missing_right
from cifar10_s.release.manifest import DATASET_NAME

MAIN_BRANCH = "main"
# Names of branches: plain parts, and nothing that git or the Hub interprets as a tag, commit or other ref.
BRANCH_NAME = (
    r"(?!refs/|HEAD\Z|v\d+\.\d+\.\d+\Z|[0-9a-fA-F]{40}\Z|.*\.\.|.*\.lock(?:/|\Z))"
    r"\w[\w.-]*(?:/\w[\w.-]*)*(?<!\.)"
)
# The Hub stores larger files by LFS, and reports their SHA-256.
MAX_SMALL_BYTES = 10 << 20
# Waits before an interrupted request is repeated, and the longest that the Hub may ask for.
RETRY_WAITS_SECONDS = (1, 2, 4, 8)
MAX_RETRY_WAIT_SECONDS = 300
# What a request fails with if its client was set to None, or closed, since it was looked up.
CLOSED_CLIENT = ("'NoneType' object has no attribute", "client has been closed")

RUN_AGAIN = "run the same command again"
ADVICE_BY_STATUS = {
    401: "log in with `hf auth login` or set HF_TOKEN, and check the name",
    403: "use a token that has this permission, or another name",
    404: "check name and revision; a private dataset needs a token (`hf auth login`, or HF_TOKEN)",
    409: f"somebody else is changing it: look at it, then {RUN_AGAIN}",
    412: f"somebody else has changed it in the meantime: look at it, then {RUN_AGAIN}",
}

# The library's errors derive from those of its HTTP client, which differs between versions.
CLIENT_ERRORS = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
# The last three are raised on responses that the library does not expect.
HUB_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError, ValueError, OSError, *CLIENT_ERRORS, AttributeError, LookupError, TypeError,
)  # fmt: skip

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository.

    Attributes
    ----------
    commit
        Its id, 40 hexadecimal digits.
    files
        The Hub's description of each file, by path: size, SHA-256 of an LFS file, git's SHA-1 of others.
    private
        Whether the repository is private.
    """

    commit: str
    files: Mapping[str, RepoFile]
    private: bool


class Repository:
    """A dataset on the Hub, or a Space.

    Parameters
    ----------
    repo_id
        ``<namespace>/<name>``.
    kind
        ``dataset`` or ``space``.
    endpoint
        The Hub's URL; by default ``$HF_ENDPOINT``, or https://huggingface.co.
    token
        An access token; by default ``$HF_TOKEN``, or that of ``hf auth login``.

    Raises
    ------
    UsageError
        If the name, the endpoint or the token is malformed.
    """

    def __init__(
        self, repo_id: str, *, endpoint: str | None = None, token: str | None = None, kind: str = "dataset"
    ) -> None:
        if not is_repo_id(repo_id):
            option = "repo-id" if kind == "dataset" else kind
            raise UsageError(f"{option}: expected <namespace>/<name>, such as me/cifar10-s, got {repo_id!r}")
        self.repo_id = repo_id
        self.api = HfApi(endpoint=endpoint, token=token, library_name="cifar10-s")
        if not is_endpoint(self.api.endpoint):
            raise UsageError(
                "endpoint: expected http:// or https:// and a host, such as https://huggingface.co, got "
                f"{self.api.endpoint!r}; check --endpoint and HF_ENDPOINT"
            )
        # A malformed token must not reach the libraries, which would show it in their errors.
        if not re.fullmatch("[!-~]*", self._secret):
            raise UsageError(
                "token: is malformed: expected ASCII letters and digits, such as hf_abc; check HF_TOKEN, or log in "
                "with `hf auth login`"
            )
        self.repo_arguments: dict[str, Any] = {"repo_id": repo_id, "repo_type": kind}

    @property
    def url(self) -> str:
        """The URL of its page."""
        return f"{self.api.endpoint}/{self.repo_arguments['repo_type']}s/{self.repo_id}"

    @property
    def _secret(self) -> str:
        return str(self.api.token or get_token() or "")

    def check_rights(self) -> None:
        """Check that there is a token that may write to this dataset; errors of the Hub are the library's.

        Raises
        ------
        HubError
            If there is none.
        """
        if not self._secret:
            raise HubError(f"{self.repo_id}: cannot be published without a token; {ADVICE_BY_STATUS[401]}")
        if (missing := missing_right(self.api.whoami(), self.repo_id)) is not None:
            raise HubError(f"{self.repo_id}: the token {printable(missing)}; {ADVICE_BY_STATUS[403]}")

    def check_private(self, snapshot: Snapshot, *, wanted: bool) -> None:
        """Raise HubError if the repository is public and was to be private: nothing is published by mistake."""
        if wanted and not snapshot.private:
            raise HubError(
                f"{self.repo_id}: is public, but --private was given; make it private on the Hub first, or choose "
                "another name"
            )

    def snapshot(self, revision: str) -> Snapshot:
        """Return the files of a branch, tag or commit; errors are the library's."""
        info = self.api.repo_info(**self.repo_arguments, revision=revision)
        # Ask by the commit's id: the branch may move between the two requests.
        tree = self.api.list_repo_tree(**self.repo_arguments, revision=info.sha, recursive=True)
        files = {file.path: file for file in tree if isinstance(file, RepoFile)}
        return Snapshot(str(info.sha), files, bool(info.private))

    def find_snapshot(self, revision: str) -> Snapshot | None:
        """Return the files of a branch, tag or commit; None if it does not exist."""
        try:
            return self.snapshot(revision)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    def tags(self) -> list[str]:
        """Return the names of the tags."""
        return [tag.name for tag in self.api.list_repo_refs(**self.repo_arguments).tags]

    def read(self, snapshot: Snapshot, name: str) -> bytes:
        """Download a small file, bypassing caches, and check it against the Hub's hash.

        Raises
        ------
        VerificationError
            If it is missing, too large, or has another hash.
        """
        file = snapshot.files.get(name)
        if file is None:
            raise VerificationError([f"{name}: is missing"])
        if file.size > MAX_SMALL_BYTES:
            raise VerificationError([f"{name}: expected at most {MAX_SMALL_BYTES} bytes, got {file.size}"])
        url = hf_hub_url(**self.repo_arguments, filename=name, revision=snapshot.commit, endpoint=self.api.endpoint)
        response = http_backoff("GET", url, headers=build_hf_headers(token=self.api.token))
        hf_raise_for_status(response)
        data: bytes = response.content
        if file.lfs is None:
            algorithm, expected, got = "git's SHA-1", file.blob_id, git_blob_id(data)
        else:
            algorithm, expected, got = "SHA-256", file.lfs.sha256, hash_bytes(data)
        if got != expected:
            raise VerificationError([f"{name}: expected {algorithm} {expected}, as the Hub lists it, got {got}"])
        return data

    def with_retries(
        self, function: Callable[[], Result], *, when: Callable[[BaseException], bool] | None = None
    ) -> Result:
        """Call a function, and repeat it a few times, by default if the connection is lost or the Hub is busy."""
        may_repeat = when or _is_transient
        for wait in RETRY_WAITS_SECONDS:
            try:
                return function()
            except Exception as error:
                seconds = max(wait, _retry_after(error))
                if not may_repeat(error) or seconds > MAX_RETRY_WAIT_SECONDS:
                    raise
                logger.warning("%s: %s; retrying in %d s", self.repo_id, self._reason(error), seconds)
                time.sleep(seconds)
        return function()

    @contextmanager
    def one_line_errors(self, doing: str, advice: str = RUN_AGAIN) -> Iterator[None]:
        """Turn any error of the Hub or the connection into one line; ``advice`` is for errors without specific advice.

        Raises
        ------
        HubError
            Saying what was attempted, what happened and what to do; it never contains the token.
        """
        try:
            yield
        except Cifar10SError:
            raise
        except OfflineModeIsEnabled:
            raise HubError(f"{self.repo_id}: {doing}: HF_HUB_OFFLINE is set; unset it") from None
        except HUB_ERRORS as error:
            advice = ADVICE_BY_STATUS.get(_status(error) or 0, advice)
            raise HubError(f"{self.repo_id}: {doing}: {self._reason(error)}; {advice}") from None

    def _reason(self, error: BaseException) -> str:
        """Return the root cause of an error as a short printable text without the token."""
        root = root_cause(error)
        status = _status(error)
        messages = (getattr(e, "server_message", None) for e in _chain(error))
        message = next(filter(None, messages), "" if status else f"{type(root).__name__}: {root}")
        text = " ".join(filter(None, (f"HTTP {status}" if status else "", message)))
        text = text.replace(self._secret, "…") if self._secret else text
        return printable(text)[:300]


def is_repo_id(text: str) -> bool:
    """Return whether a text is a valid ``<namespace>/<name>`` on the Hub."""
    return re.fullmatch(f"{DATASET_NAME}/{DATASET_NAME}", text, re.ASCII) is not None


def is_branch(text: str) -> bool:
    """Return whether a text is a valid branch name on the Hub, and neither a version's tag nor a commit's id."""
    return re.fullmatch(BRANCH_NAME, text, re.ASCII) is not None


def is_endpoint(text: str) -> bool:
    """Return whether a text is the URL of a server: http or https, a host, and optionally a port."""
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(r"https?://[!-~]+", text)) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_plain_path(name: str) -> bool:
    """Return whether a path that the Hub lists is relative and stays within its folder."""
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _response(error: BaseException) -> Any:
    """Return the Hub's response in an error or its causes; None if there is none."""
    return next((found for e in _chain(error) if (found := getattr(e, "response", None)) is not None), None)


def _status(error: BaseException) -> int | None:
    return getattr(_response(error), "status_code", None)


def _is_transient(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # A response that is not JSON comes from a proxy.
    return any(isinstance(e, (OSError, json.JSONDecodeError, *CLIENT_ERRORS)) for e in _chain(error))


def is_of_closed_client(error: BaseException) -> bool:
    """Return whether another thread of the library closed the shared client, as it does on a lost connection."""
    return isinstance(error, (AttributeError, RuntimeError)) and any(text in str(error) for text in CLOSED_CLIENT)


def _retry_after(error: BaseException) -> int:
    """Return how many seconds the Hub asks to wait."""
    headers = getattr(_response(error), "headers", {})
    found = re.fullmatch(r"(\d{1,9})", headers.get("retry-after", "")) or re.search(
        r"\bt=(\d{1,9})", headers.get("ratelimit", "")
    )
    return int(found[1]) if found else 0
