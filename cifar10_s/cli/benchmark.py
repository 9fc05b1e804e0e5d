"""Commands of the benchmark: ``bench`` measures, ``tables`` and ``report`` show the results."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifar10_s.cli.options import Address, Engine, Json, Network
from cifar10_s.common.machine import show_size
from cifar10_s.errors import UsageError

if TYPE_CHECKING:
    from cifar10_s.benchmark.record import Record


def bench_command(
    dataset: Annotated[str, typer.Argument(help="A folder that `build` wrote, or the Hub's name of such a dataset.")],
    records: Annotated[Path, typer.Option(help="The file to append results to, JSON Lines.")] = Path("bench.jsonl"),
    configuration: Annotated[
        list[str] | None,
        typer.Option("--configuration", "-c", help="What to train on; repeat it for several.  [default: all]"),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            "-s",
            help="How to train: standard, mixup, randaugment, at, dilution-K … (see cifar10-s list strategies), or "
            "your own as package.module:name; repeat it for several.  [default: standard]",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="paper-v1, quick-v1, cpu-v1, smoke-v1 (to see that everything works), or your own as "
            "package.module:name.  [default: quick-v1 on a GPU, else cpu-v1]"
        ),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="What to train, such as resnet-18, or your own as package.module:name; repeat it for several.  "
            "[default: the protocol's]"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the images; the protocol is then named custom-….", min=1),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Training images per class, the first ones; the protocol is then named custom-….", min=1),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help="What to measure besides accuracy: autoattack (ℓ∞, 8/255), or autoattack-N-E with a norm N of "
            "linf, l2, l1 and a bound E in levels of 255; repeat it for several."
        ),
    ] = None,
    measure_limit: Annotated[
        int | None, typer.Option(help="Test images to use for --measure.  [default: all]", min=1)
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAMESPACE/NAME",
            help="Weights to start from, except for the classifier: a file (.safetensors, or of torch.save) or a model "
            "on the Hub.  [default: random]",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds, which count from 0; at most 1000.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    engine: Engine = "local",
    address: Address = None,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Skip the verification of the folder.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train networks on configurations and measure their accuracy on the clean test images, for all combinations.

    Each run is recorded as it ends. Recorded runs are skipped, and several processes can share a grid.

    Example: cifar10-s bench cifar10-s -c clean -c ops -s standard -s at --seeds 3
    """
    from cifar10_s.benchmark.grid import bench

    shown: set[str] = set()

    def show(record: "Record") -> None:
        shown.add(record.id)
        typer.echo(_line(record))

    done = bench(
        dataset,
        records,
        configurations=configuration or None,
        strategies=strategy or ("standard",),
        protocol=protocol,
        networks=network or None,
        epochs=epochs,
        limit=limit,
        measures=measure or (),
        measure_limit=measure_limit,
        weights=weights,
        seeds=seeds,
        device=device,
        engine=engine,
        address=address,
        allow_unverified=allow_unverified,
        on_record=None if as_json else show,
    )
    for record in done:
        if as_json:
            typer.echo(json.dumps(record.line))
        elif record.id not in shown:
            typer.echo(_line(record))


def _line(record: "Record") -> str:
    settings, results = record.settings, record.results
    has_accuracy = results.final is not None and results.peak is not None
    measured = f"test {results.final:5.1f} %, peak {results.peak:5.1f} %" if has_accuracy else ""
    failed = "" if record.is_done else f"failed: {results.reason}"
    cell = f"{settings.configuration:20} {settings.strategy.name:12} {settings.coordinates['network']:9}"
    others = "".join(f", {name} {value:.1f} %" for name, value in results.measures.items())
    return f"{cell} seed {settings.seed}  {measured}{others} {failed}".rstrip()


def tables_command(
    records: Annotated[list[Path], typer.Argument(help="Files of results that `bench` wrote.")],
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            "-t",
            help="1, 2, 3, 5 or 6 (of the paper); apbench, iss, bridgepure, bridgepure-cifar100, cuda, pil or dune (of "
            "other papers); grid (all runs), transfer (between networks) or dilution (with clean images); repeat it "
            "for several.  [default: all]",
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="markdown, latex, csv or json.")] = "markdown",  # noqa: A002 (its name)
    measure: Annotated[
        str,
        typer.Option(
            help="final, peak or last-5-mean test accuracy; robust, under PGD; or what `bench --measure` measured."
        ),
    ] = "final",
    protocol: Annotated[str | None, typer.Option(help="Show only this protocol.  [default: each]")] = None,
    source: Annotated[str | None, typer.Option(help="Show only this source of images.  [default: each]")] = None,
    network: Network = None,
    pixels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONFIGURATION=DIGEST",
            help="First digits of the pixel digest to show, if there are several; 'test' is that of the test images.",
        ),
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also write figures to this folder.")] = None,
    plot_format: Annotated[str, typer.Option(help="png, svg or pdf.")] = "png",
) -> None:
    """Print measured accuracies beside published ones; each protocol and source has tables of its own.

    Example: cifar10-s tables bench.jsonl --table 5 --plots figures
    """
    from cifar10_s.report.report import Report

    report = Report.read(
        records, protocol=protocol, source=source, network=network, measure=measure, pixels=_pairs(pixels or [])
    )
    texts = report.tables(table or "all", format=format)
    for path in report.plot(plots, format=plot_format) if plots is not None else []:
        typer.echo(f"wrote {path}", err=True)
    typer.echo("\n".join(texts), nl=False)


def check_records_command(
    file: Annotated[Path, typer.Argument(help="JSON Lines: who submits what, then records as `bench` writes them.")],
    release: Annotated[
        list[str] | None,
        typer.Option(
            help="A folder that `build` wrote, or the Hub's name of such a dataset: accept its images; repeat "
            "it for several."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check records before you submit them: form, ids, pixel digests and numbers; print why a line is refused.

    Example: cifar10-s check-records submission.jsonl
    """
    from cifar10_s.benchmark.record_checks import KnownImages
    from cifar10_s.benchmark.submission import read_submission
    from cifar10_s.release.reader import Release

    releases = [Release(name) for name in release or []]
    known = KnownImages.of((one.test_digest, one.manifest.pixels) for one in releases)
    submission = read_submission(file, known)
    if as_json:
        typer.echo(json.dumps({"name": submission.submitter.name, "records": len(submission.records)}))
        return
    count = len(submission.records)
    typer.echo(f"{file}: {submission.submitter.name}: {count} record{'s' if count > 1 else ''}, ready to be handed in")


def report_command(
    release: Annotated[str, typer.Argument(help="A folder that `build` wrote, or the Hub's name of such a dataset.")],
    records: Annotated[
        list[Path] | None, typer.Option(help="A file of results that `bench` wrote; repeat it for several.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    network: Network = None,
    plots: Annotated[bool, typer.Option(help="Draw plots of the records (extra 'report').")] = True,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Accept a folder that does not verify; the page says so.")
    ] = False,
) -> None:
    """Write a page about a release and the results measured on it: one HTML file, which opens offline.

    Example: cifar10-s report cifar10-s --records bench.jsonl --output report.html
    """
    from cifar10_s.report.page.page import write

    path = write(
        release, output, records=records or [], network=network, plots=plots, allow_unverified=allow_unverified
    )
    typer.echo(f"{path}: written, {show_size(path.stat().st_size)}")


def site_command(
    output: Annotated[Path, typer.Argument(help="The folder to write; an existing site is replaced.")],
    records: Annotated[list[Path], typer.Option(help="A file of results that `bench` wrote; repeat it for several.")],
    release: Annotated[
        str | None,
        typer.Option(help="A folder that `build` wrote, or the Hub's name of such a dataset: show its galleries."),
    ] = None,
    submission: Annotated[
        list[Path] | None,
        typer.Option(help="A file of submitted results, which are checked and marked; repeat it for several."),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw plots (extra 'report').")] = True,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Accept a folder that does not verify; its page says so.")
    ] = False,
) -> None:
    """Write a site of all results: a leaderboard, curves, galleries, records to download; it opens from disk too.

    Example: cifar10-s site site --records bench.jsonl --release cifar10-s
    """
    from cifar10_s.report.page.site import write_site

    folder = write_site(
        output,
        records,
        release=release,
        submissions=submission or [],
        plots=plots,
        allow_unverified=allow_unverified,
    )
    files = sorted(path.name for path in folder.iterdir())
    size = sum((folder / name).stat().st_size for name in files)
    typer.echo(f"{folder}: written, {show_size(size)}: {', '.join(files)}")


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    for text, (name, _, digest) in zip(texts, pairs, strict=True):
        if not (name and digest):
            raise UsageError(f"--pixels: expected CONFIGURATION=DIGEST, such as em=58e7baca, got {text!r}")
    return {name: digest for name, _, digest in pairs}


COMMANDS: dict[str, Callable[..., None]] = {
    "bench": bench_command,
    "tables": tables_command,
    "report": report_command,
    "site": site_command,
    "check-records": check_records_command,
}
