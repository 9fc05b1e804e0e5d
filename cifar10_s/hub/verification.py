"""Verify a release in a folder, or on the Hub by the Hub's hashes or image by image."""

import tempfile
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from cifar10_s.common.checksums import SUMS, compare, hash_bytes, hash_files, read_sums
from cifar10_s.common.files import expand, link
from cifar10_s.common.machine import Memory
from cifar10_s.common.options import Options
from cifar10_s.common.threads import thread_map
from cifar10_s.common.transfers import ATTRIBUTES_FILE
from cifar10_s.errors import UsageError, VerificationError, one_line
from cifar10_s.hub.repository import MAIN_BRANCH, Repository, Snapshot, is_plain_path, is_repo_id
from cifar10_s.release.layout import CARD, CROISSANT, MANIFEST, RESULTS, noise_path, recipe_path
from cifar10_s.release.manifest import Manifest
from cifar10_s.release.verification.verifier import Verified, check_listing, verify_folder


def verify(
    release: str | Path,
    *,
    download: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
    memory: Memory = None,
) -> Verified:
    """Verify a release; a missing file is an error.

    In a folder, every file and every image is checked; on the Hub, see `verify_on_hub`.

    Parameters
    ----------
    release
        A folder that `build` wrote, or ``<namespace>/<name>[@<revision>]`` on the Hub; a local folder of that name
        takes precedence.
    download, endpoint, token
        For a release on the Hub only; see `verify_on_hub`.
    memory
        The memory to use at most; see `Options.resolve`.

    Raises
    ------
    UsageError
        If the name is malformed, ``memory`` is not a size, or an option for the Hub is given with a folder.
    HubError
        If the Hub cannot be reached, or has no such dataset.
    VerificationError
        Naming every file that fails, and how.

    Examples
    --------
    >>> import cifar10_s
    >>> cifar10_s.verify("digits-s").images
    4673
    """
    options = Options.resolve(device="cpu", memory=memory)
    if _is_on_hub(release):
        return verify_on_hub(str(release), options, download=download, endpoint=endpoint, token=token)
    if download or endpoint is not None or token is not None:
        raise UsageError(f"{release}: download, endpoint and token are for a dataset on the Hub, and this is a path")
    return verify_folder(expand(release), options)


def fetch_recipe(
    release: str | Path, options: Options, *, endpoint: str | None = None, token: str | None = None
) -> tuple[Path, Manifest]:
    """Verify a release of recipes alone, on the Hub or in a folder, and return a folder with them, and its manifest.

    Arguments and errors are those of `verify`; from the Hub, manifest, recipes, noise and records come into its cache.

    Raises
    ------
    UsageError
        If the release has its images.
    """
    if not _is_on_hub(release):
        folder = expand(release)
        verified = verify_folder(folder, options)
    else:
        repo_id, _ = split_name(str(release))
        repository = Repository(repo_id, endpoint=endpoint, token=token)
        verified = verify_on_hub(str(release), options, endpoint=endpoint, token=token)
        wanted = [MANIFEST, RESULTS, recipe_path("*"), noise_path("*")]
        fetch = partial(repository.api.snapshot_download, **repository.repo_arguments, allow_patterns=wanted)
        with repository.one_line_errors("cannot be fetched"):
            folder = Path(repository.with_retries(lambda: fetch(revision=verified.commit)))
        names = [name for name in verified.files if any(fnmatchcase(name, pattern) for pattern in wanted)]
        _raise_if(compare({name: verified.files[name] for name in names}, hash_files(folder, names)))
    if not verified.manifest.recipe_only:
        raise UsageError(f"{release}: has its images; expected a release that `build --recipe-only` wrote")
    return folder, verified.manifest


def _is_on_hub(release: str | Path) -> bool:
    name = str(release)
    looks_like_a_path = name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") != 1
    return not (isinstance(release, Path) or looks_like_a_path or Path(name).exists())


def verify_on_hub(
    name: str,
    options: Options,
    *,
    download: bool = False,
    endpoint: str | None = None,
    token: str | None = None,
) -> Verified:
    """Verify a release on the Hub.

    Without ``download``, the Hub's SHA-256 of each large file and the bytes of each small file are checked against
    ``SHA256SUMS``, and the paths of all files against the manifest; no image is decoded.

    Parameters
    ----------
    name
        ``<namespace>/<name>[@<revision>]``, where the revision is a branch, a tag or a commit.
    options
        See `verify_folder`.
    download
        Download everything into the Hub's cache, and verify it as a folder.
    endpoint, token
        See `repository.Repository`.

    Raises
    ------
    UsageError
        If the name, the endpoint or the token is malformed.
    HubError
        If the Hub cannot be reached, or has no such dataset.
    VerificationError
        Naming every file that fails, and how.
    """
    repo_id, revision = split_name(name)
    repository = Repository(repo_id, endpoint=endpoint, token=token)
    with repository.one_line_errors("cannot be verified"), tempfile.TemporaryDirectory() as scratch:
        snapshot = repository.with_retries(lambda: repository.snapshot(revision))
        files = _check_files(repository, snapshot, Path(scratch))
        manifest = check_listing(Path(scratch), files)
        images = _check_download(repository, snapshot, files, options) if download else 0
    return Verified(None, manifest, files, images, repo_id, snapshot.commit)


def split_name(name: str) -> tuple[str, str]:
    """Split ``<namespace>/<name>[@<revision>]`` into repo-id and revision, by default the branch ``main``.

    Raises
    ------
    UsageError
        If the name does not have this form.
    """
    repo_id, at, revision = name.partition("@")
    if not is_repo_id(repo_id) or bool(at) != bool(revision):
        raise UsageError(f"{name}: expected <namespace>/<name>[@<revision>], such as me/cifar10-s@v1.0.0")
    return repo_id, revision or MAIN_BRANCH


def _check_files(repository: Repository, snapshot: Snapshot, folder: Path) -> dict[str, str]:
    """Download the small files, check all files against the sums, and return the SHA-256 of each but the sums."""
    listed = {name: file for name, file in snapshot.files.items() if name != ATTRIBUTES_FILE}
    _raise_if([f"{name!r}: is not a plain path" for name in listed if not is_plain_path(name)])
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
        raise VerificationError([f"{SUMS}: is not of the expected form ({one_line(error)})"]) from None
    _raise_if(compare(sums, hashes))
    return hashes


def _check_download(repository: Repository, snapshot: Snapshot, files: Mapping[str, str], options: Options) -> int:
    """Download a release into the Hub's cache, verify it there, and return the number of images."""
    fetch = partial(repository.api.snapshot_download, **repository.repo_arguments, ignore_patterns=[ATTRIBUTES_FILE])
    cached = Path(repository.with_retries(lambda: fetch(revision=snapshot.commit)))
    # The cache consists of symbolic links, which a release must not contain.
    with tempfile.TemporaryDirectory(dir=cached.parent, prefix=".verify-") as view:
        for name in (*files, SUMS):
            target = Path(view, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            link(cached / name, target)
        verified = verify_folder(view, options)
    _raise_if(compare(files, verified.files))
    return verified.images


def _raise_if(failures: list[str]) -> None:
    if failures:
        raise VerificationError(failures)
