"""The command line's way to the Hub: ``push`` publishes a release."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli_bench import Json

if TYPE_CHECKING:
    from cifar10_s.publish import Publication

Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="Where the Hub is.  [default: $HF_ENDPOINT, or huggingface.co]")
]


def push_command(
    folder: Annotated[Path, typer.Argument(help="A folder that `build` wrote.")],
    repo_id: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="The dataset on the Hub; made where it is not there.")
    ],
    revision: Annotated[str, typer.Option(help="The branch; made from main where it is not there.")] = "main",
    private: Annotated[bool, typer.Option("--private", help="Make the dataset private; one that is there must be.")] = (
        False
    ),
    endpoint: Endpoint = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Verify, then only list what would be done.")] = False,
    as_json: Json = False,
) -> None:
    """Verify a built dataset, and publish it on the Hub in one commit, with its version as the tag.

    It takes the token that the Hub's own tools take: `hf auth login`, or HF_TOKEN. Interrupted, the same command goes
    on; what the Hub has is not sent again. It replaces no tag, and no pixels under the same major version; what was not
    made from CIFAR-10 cannot be called so.

    Example: cifar10-s push cifar10-s --repo-id me/cifar10-s --dry-run
    """
    from cifar10_s.publish import push

    done = push(folder, repo_id, revision=revision, private=private, endpoint=endpoint, dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    if done.status == "dry run":
        _list(done)
    typer.echo(_summary(done))


def _list(done: "Publication") -> None:
    """Print a line a file: + is new, ~ is changed, - is removed, = is the same."""
    difference = done.difference
    marks = {"+": difference.new, "~": difference.changed, "-": difference.removed, "=": difference.same}
    for name, mark in sorted((name, mark) for mark, names in marks.items() for name in names):
        size = f"{done.sizes[name]:,}" if name in done.sizes else ""
        typer.echo(f"{mark} {size:>15}  {name}")


def _summary(done: "Publication") -> str:
    difference, where = done.difference, f"{done.url} ({done.revision})"
    if done.status == "unchanged":
        told = f"{where}: nothing to do: {done.tag} is there with these very files, commit {done.commit}"
        if done.head is None:
            return f"{told}; the branch {done.revision} is not there, and was not made"
        if done.head != done.commit:
            return f"{told}; the branch {done.revision} is at {done.head}, and was not moved"
        return told
    files = f"{len(done.sizes)} files, {sum(done.sizes.values()):,} bytes: {difference.summary()}"
    if done.status == "dry run":
        sent = sum(done.sizes[name] for name in difference.new + difference.changed)
        return f"{where}: dry run: {files}; {sent:,} bytes to send at most, then the tag {done.tag}"
    return f"{where}: published as {done.tag}, commit {done.commit}: {files}; the Hub's hashes are those of SHA256SUMS"


COMMANDS: dict[str, Callable[..., None]] = {"push": push_command}
