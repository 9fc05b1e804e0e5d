"""Commands that make and check a dataset: ``search``, ``build``, ``apply``, ``renew``, ``verify``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli.options import (
    About,
    Address,
    AllowUnverified,
    DatasetVersion,
    Device,
    Endpoint,
    Engine,
    Json,
    MaxShardSize,
    Memory,
    Overwrite,
    Seed,
    Source,
    takes_choices,
    what_is_taken,
)
from cifar10_s.cli.tables import echo_table, echo_title
from cifar10_s.data.provenance import HUB_NAME
from cifar10_s.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from cifar10_s.data.sources.choices import Choices
    from cifar10_s.release.manifest import Manifest
    from cifar10_s.release.verification.verifier import Verified


@takes_choices
def search_command(
    choices: "Choices",
    source: Source = HUB_NAME,
    objective: Annotated[
        str,
        typer.Option(
            help="mean-over-variance (the paper's Eq. 2), mean-over-std or mean-minus-variance; or spread, for 2 or "
            "more pixels that survive augmentation, or patches, for two or four square patches (18 or 36 pixels: 3×3)."
        ),
    ] = "mean-over-variance",
    pixels: Annotated[int, typer.Option(help="Number of pixels per class, each at another position.")] = 1,
    device: Device = "auto",
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    allow_unverified: AllowUnverified = False,
    as_json: Json = False,
) -> None:
    """Find the pixels and colours of each class, in one pass over any number of images.

    Example: cifar10-s search --source sample --pixels 2 --json
    """
    from cifar10_s import open_images, search

    if engine == "ray" and device not in ("auto", "cpu"):
        raise UsageError(f"device: sums on a Ray cluster are made on CPUs: expected auto or cpu, got {device!r}")
    said: list[str] = []
    with what_is_taken(said.append):
        images = open_images(source, choices=choices, allow_unverified=allow_unverified, engine=engine, address=address)
    shortcut = search(images, objective=objective, pixels=pixels, device=device, memory=memory)
    if as_json:
        typer.echo(shortcut.to_json())
        return
    typer.echo(f"{objective} on {images.provenance.title}, {len(images)} images ({'; '.join(said)})")
    typer.echo("\n".join(shortcut.lines()))


@takes_choices
def build_command(
    choices: "Choices",
    source: Source = HUB_NAME,
    output: Annotated[Path | None, typer.Option(help="The folder to write.  [default: the dataset's name]")] = None,
    name: Annotated[str, typer.Option(help="The dataset's name.")] = "cifar10-s",
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration",
            "-c",
            help="What to build: a configuration, 'all' (every one that fits the images), or your own method as "
            "package.module:name; repeat it for several.  [default: em, em-ops and all that train no network, except "
            "spread and patches]",
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="For methods that need a network: 'full' is the published recipe, which needs a GPU; 'small' is "
            "reduced for a CPU, and the release says so."
        ),
    ] = "full",
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=PATH",
            help="Read the noise of a method, or images with it, from a .pt, .npy, .npz, .safetensors or .pkl file; "
            "repeat it for several.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Build even if it takes hours.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    max_shard_size: MaxShardSize = "500MB",
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of results that `bench` wrote: the card shows what was measured on the same images; repeat it "
            "for several."
        ),
    ] = None,
    about: About = None,
    dataset_version: DatasetVersion = None,
    allow_unverified: AllowUnverified = False,
    overwrite: Overwrite = False,
    recipe_only: Annotated[
        bool,
        typer.Option(
            "--recipe-only",
            help="Write recipes, digests and card without images that you may not redistribute; `apply` makes the "
            "dataset from them.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Build a dataset: a verified folder that `datasets` loads and `push` publishes.

    A method that needs a network saves checkpoints: after an interruption, the same command continues from there.

    Example: cifar10-s build --source ../cifar-10-python.tar.gz -c ops -c em-ops --budget small
    """
    from cifar10_s import build

    with what_is_taken((lambda line: None) if as_json else typer.echo):
        release = build(
            source,
            output,
            choices=choices,
            name=name,
            configurations=configuration or None,
            seed=seed,
            device=device,
            budget=budget,
            noise=_methods_and_paths(noise or []),
            yes=yes,
            allow_unverified=allow_unverified,
            overwrite=overwrite,
            max_shard_size=max_shard_size,
            memory=memory,
            engine=engine,
            address=address,
            records=records or (),
            recipe_only=recipe_only,
            about=about,
            dataset_version=dataset_version,
        )
    _report("built and verified", release, as_json)


@takes_choices
def apply_command(
    choices: "Choices",
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAMESPACE/NAME[@REVISION]",
            help="What `build --recipe-only` wrote, in a folder or on the Hub; a folder of that name is preferred.",
        ),
    ],
    source: Source = HUB_NAME,
    output: Annotated[Path | None, typer.Option(help="The folder to write.  [default: the dataset's name]")] = None,
    device: Device = "auto",
    max_shard_size: MaxShardSize = "500MB",
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    endpoint: Endpoint = None,
    allow_unverified: AllowUnverified = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make the dataset from a recipe and the images that it was built from, and check the digests of all pixels.

    Classes, limit, size and mode are those of the recipe.

    Example: cifar10-s apply me/imagenet100-s --source /path/to/imagenet
    """
    from cifar10_s import apply

    with what_is_taken((lambda line: None) if as_json else typer.echo):
        release = apply(
            recipe,
            source,
            output,
            choices=choices,
            device=device,
            allow_unverified=allow_unverified,
            overwrite=overwrite,
            max_shard_size=max_shard_size,
            memory=memory,
            engine=engine,
            address=address,
            endpoint=endpoint,
        )
    _report("built and verified, the pixels are those of the recipe", release, as_json)


def _methods_and_paths(texts: list[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for text in texts:
        method, _, path = text.partition("=")
        if not (method and path):
            raise UsageError(f"--noise: expected METHOD=PATH, such as em=noise.pt, got {text!r}")
        if paths.setdefault(method, path) != path:
            raise UsageError(f"--noise: expected one file for {method}, got {paths[method]} and {path}")
    return paths


def renew_command(
    folder: Annotated[Path, typer.Argument(help="A folder that `build` wrote.")],
    dataset_version: DatasetVersion = None,
    name: Annotated[str | None, typer.Option(help="A new name for the dataset.")] = None,
    about: About = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="A file of results that `bench` wrote, instead of the present ones; repeat it for several."),
    ] = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Rewrite card, manifest, figures and results of a built dataset, but not its images.

    Whatever you do not pass stays unchanged. `push` tells you which version to use.

    Example: cifar10-s renew cifar10-s --records results.jsonl --dataset-version 1.0.1
    """
    from cifar10_s import renew

    release = renew(
        folder, dataset_version=dataset_version, name=name, about=about, records=records or None, memory=memory
    )
    _report("renewed and verified", release, as_json)


def verify_command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAMESPACE/NAME[@REVISION]",
            help="A folder that `build` wrote, or such a dataset on the Hub; a folder of that name is preferred.",
        ),
    ],
    download: Annotated[
        bool, typer.Option("--download", help="Fetch all of a dataset on the Hub and check every image too.")
    ] = False,
    endpoint: Endpoint = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Reopen a built dataset and check every file, every image and every number; status 1 if anything is wrong.

    A dataset on the Hub is checked by the Hub's hashes, without fetching images; with --download, like a folder.

    Example: cifar10-s verify cifar10-s

    Example: cifar10-s verify me/cifar10-s@v1.0.0 --download
    """
    from cifar10_s import verify

    try:
        release = verify(dataset, download=download, endpoint=endpoint, memory=memory)
    except VerificationError as error:
        if as_json:
            typer.echo(json.dumps({"verified": False, "folder": dataset, "failures": error.failures}))
        raise
    _report("verified", release, as_json)


def _report(done: str, release: "Verified", as_json: bool) -> None:
    if as_json:
        folder, there = {"folder": str(release.folder)}, {"dataset": release.repo_id, "commit": release.commit}
        record = {"verified": True, **(there if release.folder is None else folder), "images": release.images}
        unchecked = {"unchecked": release.unchecked} if release.unchecked else {}
        described = {"files": len(release.files), "manifest": release.manifest.to_dict(), **unchecked}
        typer.echo(json.dumps({**record, **described}))
        return
    where = f"{release.repo_id} at {release.commit}" if release.folder is None else release.folder
    opened = f"{release.images} images" if release.images else "by the Hub's hashes; --download opens the images too"
    if release.manifest.recipe_only:
        opened = "by the Hub's hashes" if release.folder is None else "recipes and card"
        opened += "; not the pixels, the search and the metrics, which `cifar10-s apply` checks"
    echo_title(f"{where}: {done}: {len(release.files)} files, {opened}", "green")
    _describe(release.manifest)
    for line in release.unchecked:
        typer.echo(f"not checked: {line}")


def _describe(manifest: "Manifest") -> None:
    typer.echo(f"{manifest.title}, version {manifest.version}")
    rows = (
        (name, f"{entry.rows} images", f"pixels {entry.pixels_sha256[:16]}…", entry.summary)
        for name, entry in manifest.configurations.items()
    )
    echo_table(rows, indent=2)


COMMANDS: dict[str, Callable[..., None]] = {
    "search": search_command,
    "build": build_command,
    "apply": apply_command,
    "renew": renew_command,
    "verify": verify_command,
}
