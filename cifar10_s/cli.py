"""The command line: ``cifar10-s search | build | verify | push | bench | tables | report``."""

import json
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from cifar10_s import __version__, cli_bench, cli_hub
from cifar10_s.cli_bench import Address, Engine, Json
from cifar10_s.cli_hub import Endpoint
from cifar10_s.errors import Cifar10SError, UsageError, VerificationError, printable

app = typer.Typer(
    name="cifar10-s",
    help="The One-Pixel Shortcut on CIFAR-10 and on your own images: search, build a dataset, verify, publish "
    "and measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

Source = Annotated[
    str,
    typer.Option(
        help="Clean images: a Hub dataset name, cifar-10-python.tar.gz or its folder, a folder of Parquet in the "
        "Hub's layout, a folder with one sub-folder of images a class, or 'sample' (scikit-learn's digits).",
    ),
]
AllowUnverified = Annotated[
    bool,
    typer.Option("--allow-unverified", help="Take what claims to be CIFAR-10 though its checksum is another."),
]
Device = Annotated[
    str, typer.Option(help="auto, cpu, cuda, cuda:1 …; without a network, the result is the same bits on each.")
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="How much memory to use at most, such as 8GB: images that do not fit are read again when they are "
        "needed.  [default: half of the machine's, or the container's]"
    ),
]
Seed = Annotated[int, typer.Option(help="For methods and controls; the search itself uses no chance.", min=0)]

CIFAR10 = "uoft-cs/cifar10"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cifar10-s {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop."),
    ] = False,
) -> None:
    """Take what comes before the command."""


@app.command("search")
def search_command(
    source: Source = CIFAR10,
    objective: Annotated[
        str,
        typer.Option(help="mean-over-variance (the paper's Eq. 2), mean-over-std or mean-minus-variance."),
    ] = "mean-over-variance",
    pixels: Annotated[int, typer.Option(help="How many pixels each class gets, at as many positions.")] = 1,
    device: Device = "auto",
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    allow_unverified: AllowUnverified = False,
    as_json: Json = False,
) -> None:
    """Find the pixel and colour of each class, in one pass over the images, of any number.

    Example: cifar10-s search --source sample --pixels 2 --json
    """
    from cifar10_s import open_source, search

    if engine == "ray" and device not in ("auto", "cpu"):
        raise UsageError(f"device: sums on a Ray cluster are made on CPUs: expected auto or cpu, got {device!r}")
    images = open_source(source, allow_unverified=allow_unverified, engine=engine, address=address)
    shortcut = search(images, objective=objective, pixels=pixels, device=device, memory=memory)
    if as_json:
        typer.echo(shortcut.to_json())
        return
    typer.echo(f"{objective} on {images.provenance.title}, {len(images)} images")
    width = max(map(len, shortcut.class_names))
    for label, name in enumerate(shortcut.class_names):
        for (row, column), color, score in zip(
            shortcut.positions[label], shortcut.colors[label], shortcut.scores[label], strict=True
        ):
            typer.echo(f"{name:{width}}  row {row:3}  column {column:3}  colour {color.tolist()}  score {score:.4g}")


@app.command("build")
def build_command(
    source: Source = CIFAR10,
    output: Annotated[Path | None, typer.Option(help="The folder to write.  [default: the dataset's name]")] = None,
    name: Annotated[str, typer.Option(help="The dataset's name.")] = "cifar10-s",
    configuration: Annotated[
        list[str] | None,
        typer.Option(
            "--configuration",
            "-c",
            help="What to build, or 'all'; repeat it for several.  [default: what takes minutes, and em, em-ops]",
        ),
    ] = None,
    budget: Annotated[
        str,
        typer.Option(
            help="Methods that need a network: 'full' is the published recipe, which wants a GPU; 'small' is one "
            "reduced for a CPU, and what is made says so."
        ),
    ] = "full",
    noise: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD=PATH",
            help="Take a method's noise from a .pt, .npy, .npz or .safetensors file; repeat it for several.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Build though it takes hours.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    max_shard_size: Annotated[str, typer.Option(help="How large a Parquet shard may be.")] = "500MB",
    memory: Memory = None,
    engine: Engine = "local",
    address: Address = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file of results that `bench` wrote: the card shows what was measured on these very images; repeat "
            "it for several."
        ),
    ] = None,
    allow_unverified: AllowUnverified = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what the folder holds.")] = False,
    as_json: Json = False,
) -> None:
    """Build the dataset: a folder that the Hub takes and `datasets` loads, verified before it gets its name.

    A method that needs a network keeps what it has done: interrupted, the same command goes on from there.

    Example: cifar10-s build --source ../cifar-10-python.tar.gz -c ops -c em-ops --budget small
    """
    from cifar10_s import build

    release = build(
        source,
        output,
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
    )
    _report("built and verified", release, as_json)


def _methods_and_paths(texts: list[str]) -> dict[str, str]:
    paths: dict[str, str] = {}
    for text in texts:
        method, _, path = text.partition("=")
        if not (method and path):
            raise UsageError(f"--noise: expected METHOD=PATH, such as em=noise.pt, got {text!r}")
        if paths.setdefault(method, path) != path:
            raise UsageError(f"--noise: expected one file for {method}, got {paths[method]} and {path}")
    return paths


@app.command("verify")
def verify_command(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER|NAMESPACE/NAME[@REVISION]",
            help="A folder that `build` wrote, or such a dataset on the Hub; a local folder of that name wins.",
        ),
    ],
    download: Annotated[
        bool, typer.Option("--download", help="Of a dataset on the Hub, fetch all and check every image too.")
    ] = False,
    endpoint: Endpoint = None,
    memory: Memory = None,
    as_json: Json = False,
) -> None:
    """Reopen a built dataset and check every file, every image and every number; status 1 if anything is wrong.

    One on the Hub is checked by the Hub's hashes, of which nothing large is fetched; with --download, as a folder is.

    Example: cifar10-s verify cifar10-s

    Example: cifar10-s verify me/cifar10-s@v1.0.0 --download
    """
    from cifar10_s import verify, verify_published

    try:
        if _is_on_the_hub(dataset):
            _report_published(verify_published(dataset, download=download, endpoint=endpoint, memory=memory), as_json)
            return
        if download or endpoint is not None:
            raise UsageError(f"{dataset}: --download and --endpoint are for a dataset on the Hub, and this is a path")
        release = verify(dataset, memory=memory)
    except VerificationError as error:
        if as_json:
            typer.echo(json.dumps({"verified": False, "folder": dataset, "failures": error.failures}))
        raise
    _report("verified", release, as_json)


def _is_on_the_hub(name: str) -> bool:
    looks_like_a_path = name.startswith((".", "/", "~")) or name.partition("@")[0].count("/") != 1
    return not looks_like_a_path and not Path(name).exists()


def _report_published(release: Any, as_json: bool) -> None:
    if as_json:
        record = {"verified": True, "dataset": release.repo_id, "commit": release.commit, "images": release.images}
        typer.echo(json.dumps({**record, "files": len(release.files), "manifest": release.manifest}))
        return
    opened = f"{release.images} images" if release.images else "by the Hub's hashes; --download opens the images too"
    typer.echo(f"{release.repo_id} at {release.commit}: verified: {len(release.files)} files, {opened}")
    _describe(release.manifest)


for name, command in {**cli_hub.COMMANDS, **cli_bench.COMMANDS}.items():
    app.command(name)(command)


def _report(done: str, release: Any, as_json: bool) -> None:
    if as_json:
        record = {"verified": True, "folder": str(release.folder), "images": release.images}
        typer.echo(json.dumps({**record, "files": len(release.files), "manifest": release.manifest}))
        return
    typer.echo(f"{release.folder}: {done}: {len(release.files)} files, {release.images} images")
    _describe(release.manifest)


def _describe(manifest: Mapping[str, Any]) -> None:
    typer.echo(f"{manifest['title']}, version {manifest['version']}")
    width = max(map(len, manifest["configurations"]))
    for name, entry in manifest["configurations"].items():
        typer.echo(
            f"  {name:{width}} {entry['rows']:7} images  pixels {entry['pixels_sha256'][:16]}…  {entry['summary']}"
        )


def run(arguments: list[str] | None = None) -> int:
    """Run a command line; gives the exit status. This package's errors become one line each."""
    # Our own bars are silent in a pipe; those of the library are not.
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    # What is broken gets one line from us; the warnings of the libraries beneath say less.
    logging.getLogger("imagecodecs").setLevel(logging.ERROR)
    logging.getLogger("datasets").setLevel(logging.CRITICAL)
    _log_to_standard_error()
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for number in (signal.SIGTERM, signal.SIGHUP):
        # What nohup has switched off stays off.
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)
    try:
        app(arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
        # Ctrl-C, or a signal that `_stop` turned into an orderly end.
        return (
            _fail(
                "interrupted; nothing half-done is left, and the same command goes on from what is done", status=status
            )
            if status > 128
            else status
        )
    except VerificationError as error:
        return _fail(*error.failures, status=error.exit_status)
    except Cifar10SError as error:
        return _fail(str(error), status=error.exit_status)
    except OSError as error:
        return _fail(str(error), status=1)
    return 0


def _log_to_standard_error() -> None:
    """Show what this package has to say beside its results, as errors are shown."""
    ours = logging.getLogger("cifar10_s")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("cifar10-s: %(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)


def _stop(number: int, frame: object) -> NoReturn:
    """End as after Ctrl-C, so that nothing half-written stays."""
    sys.exit(128 + number)


def _not_lost(unraisable: Any) -> None:
    """Send again the signal whose end Python drops because it arrived inside a finaliser (`__del__`)."""
    match unraisable.exc_value:
        case KeyboardInterrupt():
            number: int = signal.SIGINT
        case SystemExit(code=int(status)) if status > 128:
            number = status - 128
        case _:
            sys.__unraisablehook__(unraisable)
            return
    threading.Timer(0.01, os.kill, (os.getpid(), number)).start()


def _fail(*lines: str, status: int) -> int:
    for line in lines:
        typer.echo(f"cifar10-s: {printable(line)}", err=True)
    return status


def main() -> None:
    """Run ``cifar10-s``."""
    sys.unraisablehook = _not_lost
    sys.exit(run())
