"""Commands that only look: ``list`` shows names, ``info`` a release, ``doctor`` this machine."""

import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli.options import Json
from cifar10_s.cli.tables import echo_table, echo_title
from cifar10_s.errors import UsageError, unknown

if TYPE_CHECKING:
    from cifar10_s.benchmark.protocols import Protocol
    from cifar10_s.benchmark.strategies.base import Strategy
    from cifar10_s.methods.base import Method
    from cifar10_s.release.recipes import Recipe

# The arguments of `list`, each with the kind of entry points that add to it.
ENTRY_POINTS = {
    "configurations": "method", "methods": "method", "strategies": "strategy", "networks": "network",
    "protocols": "protocol",
}  # fmt: skip
KINDS = tuple(ENTRY_POINTS)
# What the package runs on, and what its extras install.
LIBRARIES = (
    "torch", "numpy", "numba", "pillow", "pyarrow", "datasets", "huggingface_hub", "scikit-learn", "kornia",
    "pyautoattack", "ray", "matplotlib",
)  # fmt: skip
HUB_TIMEOUT_SECONDS = 5.0


def list_command(
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KIND]…", help=f"Some of {', '.join(KINDS)}.  [default: all]"),
    ] = None,
    as_json: Json = False,
) -> None:
    """List configurations, methods, strategies, networks and protocols, one per line.

    Example: cifar10-s list strategies
    """
    for kind in kinds or []:
        if kind not in KINDS:
            raise unknown("kind", kind, KINDS)
    listed = {kind: _known(kind) for kind in kinds or KINDS}
    if as_json:
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    for kind, summaries in listed.items():
        if len(listed) > 1:
            echo_title(f"{kind}:")
        echo_table(summaries.items(), indent=2)


def _known(kind: str) -> dict[str, str]:
    """Return the names of a kind, each with its summary."""
    from cifar10_s import CONFIGURATIONS, METHODS, NETWORKS, PROTOCOLS, STRATEGIES

    own = _installed(kind)
    if kind == "networks":
        known = {name: f"images of {net.min_side}×{net.min_side} or more" for name, net in NETWORKS.items()}
    else:
        tables: dict[str, Mapping[str, Recipe | Method | Strategy | Protocol]] = {
            "configurations": CONFIGURATIONS, "methods": METHODS, "strategies": STRATEGIES, "protocols": PROTOCOLS,
        }  # fmt: skip
        known = {name: one.summary for name, one in tables[kind].items()}
    return known | {name: text for name, text in own.items() if name not in known}


def _installed(kind: str) -> dict[str, str]:
    """Return the names of a kind that installed packages offer as entry points; nothing is imported for it."""
    from cifar10_s.common.own import installed
    from cifar10_s.release.recipes import own_configurations

    what = ENTRY_POINTS[kind]
    names = own_configurations if kind == "configurations" else lambda name: [name]
    return {one: f"of an installed package, {path}" for name, path in installed(what).items() for one in names(name)}


def info_command(
    release: Annotated[str, typer.Argument(help="A folder that `build` wrote, or the Hub's name of such a dataset.")],
    as_json: Json = False,
) -> None:
    """Show what a release says of itself; `verify` checks it.

    Example: cifar10-s info cifar10-s
    """
    from cifar10_s.release.reader import Release

    manifest = Release(release).manifest
    height, width, channels = manifest.shape
    facts = {
        "title": manifest.title,
        "version": f"{manifest.version} of {manifest.date}",
        "source": manifest.source.title,
        "images": f"{height}×{width}×{channels}, {len(manifest.classes)} classes",
        "test": ", ".join(f"{split.rows:,} images" for split in manifest.splits.values()) or "none",
        "seed": str(manifest.seed),
        "results": f"{manifest.results.records} records",
        **({"form": "without images; `cifar10-s apply` makes them"} if manifest.recipe_only else {}),
    }
    entries = manifest.configurations
    digests = {name: one.pixels_sha256 for name, one in entries.items()}
    if as_json:
        typer.echo(json.dumps({**facts, "pixels_sha256": digests}, ensure_ascii=False))
        return
    echo_table(facts.items(), indent=2)
    echo_title("configurations:")
    described = (f"{one.rows:,} images, pixels {one.pixels_sha256[:8]}…: {one.summary}" for one in entries.values())
    names = (f"{name} (default)" if name == manifest.default else name for name in entries)
    echo_table(zip(names, described, strict=True), indent=2)


def doctor_command(
    offline: Annotated[bool, typer.Option("--offline", help="Do not contact the Hub.")] = False,
    as_json: Json = False,
) -> None:
    """Show what this installation has: versions, device, memory, cache, token, and whether it reaches the Hub.

    Example: cifar10-s doctor
    """
    facts = dict(_facts(offline))
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False))
    else:
        echo_table(facts.items(), indent=2, color=_color)


def _color(fact: Sequence[str]) -> str:
    """Return the colour of a fact: of what is missing, and of what is there."""
    _, said = fact
    if said == "yes" or said.endswith(": reached"):
        return "green"
    return "yellow" if said.startswith(("no: ", "none: ", "not installed")) or ": not reached" in said else ""


def _facts(offline: bool) -> Iterator[tuple[str, str]]:
    from huggingface_hub import get_token

    from cifar10_s import __version__
    from cifar10_s.common.files import cache_folder
    from cifar10_s.common.machine import cores, memory_limit, processor, resolve_device, show_size
    from cifar10_s.nn.runtime import Runtime

    yield "cifar10-s", __version__
    yield "python", platform.python_version()
    yield from ((library, _version(library)) for library in LIBRARIES)
    device = resolve_device("auto")
    yield "processor", f"{processor()}, {cores()} cores"
    yield "device", device
    yield "bfloat16", "yes" if Runtime.on(device).bfloat16 else "no: networks train in float32"
    yield "memory", f"{show_size(memory_limit())} at most, unless --memory says otherwise"
    yield "cache", str(cache_folder())
    yield "token", "yes" if get_token() else "none: `push` needs one, by `hf auth login` or HF_TOKEN"
    yield "hub", "not checked" if offline else _hub()


def _version(library: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def _hub() -> str:
    """Return whether the Hub is reached, in words."""
    import socket
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    url = urlsplit(constants.ENDPOINT)
    if url.hostname is None:
        raise UsageError(f"HF_ENDPOINT: expected an address such as https://huggingface.co, got {constants.ENDPOINT!r}")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname, port), HUB_TIMEOUT_SECONDS).close()
    except OSError as error:
        return f"{constants.ENDPOINT}: not reached ({error}); take a local source, or --source sample"
    return f"{constants.ENDPOINT}: reached"


COMMANDS: dict[str, Callable[..., None]] = {"list": list_command, "info": info_command, "doctor": doctor_command}
