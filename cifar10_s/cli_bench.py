"""The command line's benchmark wing: ``bench`` measures, ``tables`` and ``report`` show what was measured."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cifar10_s.errors import UsageError

Engine = Annotated[str, typer.Option(help="local, or ray: spread the work over a Ray cluster (extra 'distributed').")]
Address = Annotated[
    str | None,
    typer.Option(help="The Ray cluster's, such as auto or 10.0.0.1:6379.  [default: $RAY_ADDRESS, else this machine]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on standard output.")]


def bench_command(
    dataset: Annotated[str, typer.Argument(help="A folder that `build` wrote, or the Hub's name of such a dataset.")],
    records: Annotated[Path, typer.Option(help="The file of results, JSON Lines; added to.")] = Path("bench.jsonl"),
    configuration: Annotated[
        list[str] | None,
        typer.Option("--configuration", "-c", help="What to train on; repeat it for several.  [default: all]"),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            "--strategy",
            "-s",
            help="How to train: standard, mixup, randaugment, at, dilution-K … (any other name lists all), or your own "
            "as package.module:name; repeat it for several.  [default: standard]",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="paper-v1, quick-v1 or cpu-v1.  [default: quick-v1 on a GPU, else cpu-v1]"),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="Such as resnet-18; repeat it for several.  [default: the protocol's]"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many seeds, from 0; at most 1000.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    engine: Engine = "local",
    address: Address = None,
    allow_unverified: Annotated[
        bool, typer.Option("--allow-unverified", help="Measure on a folder without verifying it first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train networks on configurations and measure them on the clean test images; a grid of all that is named.

    Each run is recorded as it ends; what the records hold is not done again, and several processes can share a grid.

    Example: cifar10-s bench cifar10-s -c clean -c ops -s standard -s at --seeds 3
    """
    from cifar10_s.benchmark import bench

    shown: set[str] = set()

    def show(record: Mapping[str, Any]) -> None:
        shown.add(record["id"])
        typer.echo(_line(record))

    done = bench(
        dataset,
        records,
        configurations=configuration or None,
        strategies=strategy or ("standard",),
        protocol=protocol,
        networks=network or None,
        seeds=seeds,
        device=device,
        engine=engine,
        address=address,
        allow_unverified=allow_unverified,
        on_record=None if as_json else show,
    )
    for record in done:
        if as_json:
            typer.echo(json.dumps(record, ensure_ascii=False))
        elif record["id"] not in shown:
            typer.echo(_line(record))


def _line(record: Mapping[str, Any]) -> str:
    settings, results = record["settings"], record["results"]
    measured = f"test {results['final']:5.1f} %, peak {results['peak']:5.1f} %" if "final" in results else ""
    failed = f"failed: {results['reason']}" if record["status"] == "failed" else ""
    cell = f"{settings['configuration']:20} {settings['strategy']['name']:12} {settings['network']:9}"
    return f"{cell} seed {settings['seed']}  {measured} {failed}".rstrip()


def tables_command(
    records: Annotated[list[Path], typer.Argument(help="Files of results that `bench` wrote.")],
    table: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            "-t",
            help="1, 2, 3, 5 or 6 of the paper, apbench, grid (all that was measured), transfer (between networks), or "
            "dilution (with clean images); repeat it for several.  [default: all]",
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="markdown or latex.")] = "markdown",  # noqa: A002 (its name)
    measure: Annotated[
        str, typer.Option(help="final, peak or last-5-mean test accuracy; or robust, under attack.")
    ] = "final",
    protocol: Annotated[str | None, typer.Option(help="Only what was measured by this one.  [default: each]")] = None,
    source: Annotated[str | None, typer.Option(help="Only what was measured on its images.  [default: each]")] = None,
    network: Annotated[
        str | None,
        typer.Option(help="Whose cells, where rows are no networks.  [default: the paper's, else each]"),
    ] = None,
    pixels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONFIGURATION=DIGEST",
            help="How the pixel digest begins that is meant, where there are several; 'test': of the test images.",
        ),
    ] = None,
    plots: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write figures there too, as PNG.")] = None,
) -> None:
    """Print what was measured beside what papers published: a table for each protocol and source, never mixed.

    Example: cifar10-s tables bench.jsonl --table 5 --plots figures
    """
    from cifar10_s.benchmark import Report

    report = Report.of(
        records, protocol=protocol, source=source, network=network, measure=measure, pixels=_pairs(pixels or [])
    )
    texts = report.tables(table or ["all"], format=format)
    for path in report.plot(plots) if plots is not None else []:
        typer.echo(f"wrote {path}", err=True)
    typer.echo("\n".join(texts), nl=False)


def report_command(
    release: Annotated[str, typer.Argument(help="A folder that `build` wrote, or the Hub's name of such a dataset.")],
    records: Annotated[
        list[Path] | None, typer.Option(help="A file of results that `bench` wrote; repeat it for several.")
    ] = None,
    output: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
    network: Annotated[
        str | None,
        typer.Option(help="Whose cells, where rows are no networks.  [default: the paper's, else each]"),
    ] = None,
    plots: Annotated[bool, typer.Option(help="Draw plots of the records, which takes matplotlib.")] = True,
) -> None:
    """Write a page of a release, and of what was measured on it: one HTML file, which opens without a network.

    Example: cifar10-s report cifar10-s --records bench.jsonl --output report.html
    """
    from cifar10_s.page import write

    path = write(release, output, records=records or [], network=network, plots=plots)
    typer.echo(f"{path}: written, {path.stat().st_size / 1e6:.1f} MB")


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
}
