"""Repository: a dataset repository on the Hub, as it is read. Nothing here writes to it."""

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

from cifar10_s.checksums import git_blob_id, hash_bytes
from cifar10_s.errors import Cifar10SError, HubError, UsageError, VerificationError, printable
from cifar10_s.form import BRANCH_NAME, DATASET_NAME

MAIN = "main"
# The Hub writes it, and needs it; it is no part of a release.
ATTRIBUTES = ".gitattributes"
# The Hub keeps what is larger as LFS files, of which it tells the SHA-256.
MAX_SMALL_BYTES = 10 << 20
# Seconds before a conversation that was cut is begun anew.
WAITS = (1, 2, 4, 8)
MAX_WAIT = 300

AGAIN = "run the same command again"
ADVICE = {
    401: "log in with `hf auth login`, or set HF_TOKEN; check the name",
    403: "take a token that may do this, or another name",
    404: "check name and revision; what is private takes a token (`hf auth login`, or HF_TOKEN)",
    409: "somebody else changes it: look at it, then run the same command again",
    412: "somebody else has changed it meanwhile: look at it, then run the same command again",
}

# The library's errors derive from those of the HTTP client beneath, which changes from version to version.
OF_THE_CLIENT = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
# The last three come of answers of another form than the library expects.
OF_A_CONVERSATION: tuple[type[Exception], ...] = (
    RuntimeError, ValueError, OSError, *OF_THE_CLIENT, AttributeError, LookupError, TypeError,
)  # fmt: skip

Result = TypeVar("Result")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """One commit of a repository.

    Attributes
    ----------
    commit
        Its name, 40 hexadecimal digits.
    files
        What the Hub says of each file, by path: size, SHA-256 of an LFS file, git's SHA-1 of others.
    private
        Whether the repository is.
    """

    commit: str
    files: Mapping[str, RepoFile]
    private: bool


class Repository:
    """A dataset on the Hub.

    Parameters
    ----------
    repo_id
        ``<namespace>/<name>``.
    endpoint
        Where the Hub is; by default ``$HF_ENDPOINT``, or huggingface.co.
    token
        By default the one that the Hub's own tools take: ``$HF_TOKEN``, or that of ``hf auth login``.

    Raises
    ------
    UsageError
        For a name, an endpoint or a token of another form.
    """

    def __init__(self, repo_id: str, *, endpoint: str | None = None, token: str | None = None) -> None:
        if not is_repo_id(repo_id):
            raise UsageError(f"repo-id: expected <namespace>/<name>, such as me/cifar10-s, got {repo_id!r}")
        self.repo_id = repo_id
        self.api = HfApi(endpoint=endpoint, token=token, library_name="cifar10-s")
        if not is_endpoint(self.api.endpoint):
            raise UsageError(
                "endpoint: expected http:// or https:// and a host, such as https://huggingface.co, got "
                f"{self.api.endpoint!r}; look at --endpoint and HF_ENDPOINT"
            )
        # What cannot be sent must not be shown either, as libraries do where they fail on it.
        if not re.fullmatch("[!-~]*", self._secret):
            raise UsageError(
                "token: is malformed: expected letters and digits of ASCII, such as hf_abc; look at HF_TOKEN, or log "
                "in with `hf auth login`"
            )
        self.where: dict[str, Any] = {"repo_id": repo_id, "repo_type": "dataset"}

    @property
    def url(self) -> str:
        """Where people see it."""
        return f"{self.api.endpoint}/datasets/{self.repo_id}"

    @property
    def _secret(self) -> str:
        return str(self.api.token or get_token() or "")

    def look(self, revision: str) -> Snapshot:
        """Tell what a branch, tag or commit holds; errors are the library's."""
        info = self.api.dataset_info(self.repo_id, revision=revision)
        # By the commit's name: nobody can change it between the two questions.
        tree = self.api.list_repo_tree(**self.where, revision=info.sha, recursive=True)
        files = {file.path: file for file in tree if isinstance(file, RepoFile)}
        return Snapshot(str(info.sha), files, bool(info.private))

    def find(self, revision: str) -> Snapshot | None:
        """Tell what a branch, tag or commit holds; None where there is none."""
        try:
            return self.look(revision)
        except (RepositoryNotFoundError, RevisionNotFoundError):
            return None

    def tags(self) -> list[str]:
        """Name the tags."""
        return [tag.name for tag in self.api.list_repo_refs(**self.where).tags]

    def read(self, snapshot: Snapshot, name: str) -> bytes:
        """Fetch a small file from the Hub, past every cache, and check it against the Hub's hash.

        Raises
        ------
        VerificationError
            Where it is not there, is not small, or has another hash.
        """
        file = snapshot.files.get(name)
        if file is None:
            raise VerificationError([f"{name}: is missing"])
        if file.size > MAX_SMALL_BYTES:
            raise VerificationError([f"{name}: expected at most {MAX_SMALL_BYTES} bytes, got {file.size}"])
        url = hf_hub_url(**self.where, filename=name, revision=snapshot.commit, endpoint=self.api.endpoint)
        response = http_backoff("GET", url, headers=build_hf_headers(token=self.api.token))
        hf_raise_for_status(response)
        data: bytes = response.content
        if file.lfs is None:
            what, expected, got = "git's SHA-1", file.blob_id, git_blob_id(data)
        else:
            what, expected, got = "SHA-256", file.lfs.sha256, hash_bytes(data)
        if got != expected:
            raise VerificationError([f"{name}: the Hub says {what} {expected}, and sends {got}"])
        return data

    def patiently(self, function: Callable[[], Result]) -> Result:
        """Do again what a cut connection or a busy Hub has ended, a few times; it must bear that."""
        for wait in WAITS:
            try:
                return function()
            except Exception as error:
                seconds = max(wait, _asked_to_wait(error))
                if not _passes(error) or seconds > MAX_WAIT:
                    raise
                logger.warning("%s: %s; again in %d s", self.repo_id, self._say(error), seconds)
                time.sleep(seconds)
        return function()

    @contextmanager
    def conversing(self, doing: str, again: str = AGAIN) -> Iterator[None]:
        """Make one line of whatever the Hub, or the way to it, leads to; ``again`` is the advice where no other fits.

        Raises
        ------
        HubError
            What was done, what came, what to do; never with the token in it.
        """
        try:
            yield
        except Cifar10SError:
            raise
        except OfflineModeIsEnabled:
            raise HubError(f"{self.repo_id}: {doing}: HF_HUB_OFFLINE is set; unset it") from None
        except OF_A_CONVERSATION as error:
            advice = ADVICE.get(_status(error) or 0, again)
            raise HubError(f"{self.repo_id}: {doing}: {self._say(error)}; {advice}") from None

    def _say(self, error: BaseException) -> str:
        """Say what went wrong at the root of an error, in short and printable, without the token."""
        *_, root = _chain(error)
        status = _status(error)
        told = (getattr(e, "server_message", None) for e in _chain(error))
        message = next(filter(None, told), "" if status else f"{type(root).__name__}: {root}")
        text = " ".join(filter(None, (f"HTTP {status}" if status else "", message)))
        text = text.replace(self._secret, "…") if self._secret else text
        return printable(text)[:300]


def is_repo_id(text: str) -> bool:
    """Tell whether a text has the form of a dataset's name on the Hub, with its namespace."""
    return re.fullmatch(f"{DATASET_NAME}/{DATASET_NAME}", text, re.ASCII) is not None


def is_branch(text: str) -> bool:
    """Tell whether a text can be a branch's name on the Hub: no tag's of a version, and no commit's."""
    return re.fullmatch(BRANCH_NAME, text, re.ASCII) is not None


def is_endpoint(text: str) -> bool:
    """Tell whether a text is the address of a server: http or https, a host, and no port that there cannot be."""
    try:
        parts = urlsplit(text)
        return bool(re.fullmatch(r"https?://[!-~]+", text)) and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_plain_path(name: str) -> bool:
    """Tell whether a path that the Hub lists stays within a folder."""
    path = PurePosixPath(name)
    return str(path) == name and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _response(error: BaseException) -> Any:
    """Find the Hub's answer in an error or in what it came from."""
    return next((found for e in _chain(error) if (found := getattr(e, "response", None)) is not None), None)


def _status(error: BaseException) -> int | None:
    return getattr(_response(error), "status_code", None)


def _passes(error: BaseException) -> bool:
    """Tell whether the same request may succeed a little later."""
    status = _status(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # An answer that is no JSON comes from what stands between.
    return any(isinstance(e, (OSError, json.JSONDecodeError, *OF_THE_CLIENT)) for e in _chain(error))


def _asked_to_wait(error: BaseException) -> int:
    """Give the seconds that the Hub asks to wait."""
    headers = getattr(_response(error), "headers", {})
    found = re.fullmatch(r"(\d{1,9})", headers.get("retry-after", "")) or re.search(
        r"\bt=(\d{1,9})", headers.get("ratelimit", "")
    )
    return int(found[1]) if found else 0
