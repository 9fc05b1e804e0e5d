"""Commands of the Hub: ``push`` publishes a release."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli.options import Endpoint, Json
from cifar10_s.errors import UsageError

if TYPE_CHECKING:
    from cifar10_s.hub.publish import PushResult
    from cifar10_s.hub.space import Space, SpaceResult


def push_command(
    folder: Annotated[Path, typer.Argument(help="A folder that `build` wrote.")],
    repo_id: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="The dataset on the Hub; created if it does not exist.")
    ],
    revision: Annotated[str, typer.Option(help="The branch; created from main if it does not exist.")] = "main",
    private: Annotated[
        bool, typer.Option("--private", help="Create a private dataset; an existing one must be private.")
    ] = False,
    space: Annotated[
        str | None,
        typer.Option(metavar="NAMESPACE/NAME", help="Also publish the site of its results (see `site`), as a Space."),
    ] = None,
    endpoint: Endpoint = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify, then list what would be done; also needs a token.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Verify a built dataset, and publish it on the Hub in one commit, with its version as the tag.

    The token is that of the Hub's own tools: `hf auth login`, or HF_TOKEN. After an interruption, the same command
    continues; what the Hub has is not sent again. It never replaces a tag, or pixels under the same major version. Only
    a dataset made from CIFAR-10 can be called CIFAR-10.

    Example: cifar10-s push cifar10-s --repo-id me/cifar10-s --dry-run
    """
    from cifar10_s.hub.publish import push

    site = None if space is None else _site(folder, space, endpoint)
    done = push(folder, repo_id, revision=revision, private=private, endpoint=endpoint, dry_run=dry_run)
    published = None if site is None else _publish(site, folder, private=private, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(asdict(done) | ({} if published is None else {"space": asdict(published)})))
        return
    if done.status == "dry run":
        _list(done)
    typer.echo(_summary(done))
    if published is not None:
        typer.echo(f"{published.url}: the site: {published.status}: {published.difference.summary()}")


def _site(folder: Path, repo_id: str, endpoint: str | None) -> "Space":
    """Return the Space for the site of a release, before anything is sent."""
    from cifar10_s.hub.space import Space
    from cifar10_s.release.layout import RESULTS
    from cifar10_s.release.reader import Release
    from cifar10_s.report.page.site import OUR_RECORDS

    if not (folder / RESULTS).is_file():
        raise UsageError(
            f"--space: {folder} has no {RESULTS}, of which the site is made: build it again with --records, or leave "
            "out --space"
        )
    if Release(folder).manifest.recipe_only:
        raise UsageError(f"--space: {folder} has recipes and no images, which the site shows: leave out --space")
    return Space(repo_id, OUR_RECORDS, endpoint=endpoint)


def _publish(space: "Space", folder: Path, *, private: bool, dry_run: bool) -> "SpaceResult":
    """Make the site of a release that was verified just now, and publish it."""
    from cifar10_s.release.layout import RESULTS
    from cifar10_s.report.page.site import write_site

    with tempfile.TemporaryDirectory() as scratch:
        site = write_site(Path(scratch) / "site", [folder / RESULTS], release=folder, is_verified=True)
        return space.publish(site, private=private, dry_run=dry_run)


def _list(done: "PushResult") -> None:
    """Print one line per file: + is new, ~ is changed, - is removed, = is the same."""
    difference = done.difference
    marks = {"+": difference.new, "~": difference.changed, "-": difference.removed, "=": difference.same}
    for name, mark in sorted((name, mark) for mark, names in marks.items() for name in names):
        size = f"{done.sizes[name]:,}" if name in done.sizes else ""
        typer.echo(f"{mark} {size:>15}  {name}")


def _summary(done: "PushResult") -> str:
    from cifar10_s.common.checksums import SUMS

    difference, where = done.difference, f"{done.url} ({done.revision})"
    if done.status == "unchanged":
        told = f"{where}: nothing to do: {done.tag} is there with these very files, commit {done.commit}"
        if done.head is None:
            return f"{told}; the branch {done.revision} does not exist, and was not created"
        if done.head != done.commit:
            return f"{told}; the branch {done.revision} is at {done.head}, and was not moved"
        return told
    files = f"{len(done.sizes)} files, {sum(done.sizes.values()):,} bytes: {difference.summary()}"
    if done.status == "dry run":
        sent = sum(done.sizes[name] for name in difference.new + difference.changed)
        return f"{where}: dry run: {files}; {sent:,} bytes to send at most, then the tag {done.tag}"
    return f"{where}: published as {done.tag}, commit {done.commit}: {files}; the Hub's hashes are those of {SUMS}"


COMMANDS: dict[str, Callable[..., None]] = {"push": push_command}
