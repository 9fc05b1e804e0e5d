"""Results: tables and plots of what was measured on the images of one release."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cifar10_s.benchmark import Released, Report
from cifar10_s.benchmark.drawing import svg
from cifar10_s.benchmark.measured import Record
from cifar10_s.benchmark.plots import title
from cifar10_s.benchmark.sheet import Sheet
from cifar10_s.benchmark.tables import check_network
from cifar10_s.errors import SourceError
from cifar10_s.page.galleries import address


@dataclass(frozen=True)
class Plot:
    """A figure: what it shows, in words, and the address of its SVG."""

    alt: str
    src: str


@dataclass(frozen=True)
class Group:
    """What was measured by one protocol on the images of one source."""

    protocol: str
    source: str
    sheets: tuple[Sheet, ...]
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Results:
    """All that was measured; ``used`` records of the release's own images, and others, ``left_out``."""

    groups: tuple[Group, ...]
    used: int
    left_out: int


def results(
    paths: Iterable[str | Path], released: Released, *, network: str | None = None, plots: bool = True
) -> Results:
    """Read records, and lay out those that were measured on the release's own images.

    Raises
    ------
    SourceError
        For a file that holds no records, and where none is of the release's images.
    UsageError
        As `Report.of`, `tables.render` and `Report.plot`.
    """
    files = list(map(str, paths))
    if not files:
        if network is not None:
            check_network(network)
        return Results((), 0, 0)
    every = Report.of(files, network=network)
    report = every.on({name: released.digest(name) for name in released.configurations}, released.test_digest)
    if not report.records:
        raise SourceError(
            f"{', '.join(files)}: none of {len(every.records)} records is of the images of {released.name}: expected "
            f"what `cifar10-s bench {released.name}` wrote"
        )
    return Results(
        tuple(_group(report, protocol, source, plots) for protocol, source in report.groups),
        used=_count(report.records),
        left_out=_count(every.records) - _count(report.records),
    )


def _count(records: Iterable[Record]) -> int:
    """Count records; one that comes twice counts once, as in tables."""
    return len({record["id"] for record in records})


def _group(report: Report, protocol: str, source: str, plots: bool) -> Group:
    measured = report.measured(protocol, source)
    figures = report.figures(measured) if plots else ()
    return Group(
        protocol,
        source,
        (*report.sheets(measured), *report.robust(measured)),
        tuple(Plot(title(figure), address(svg(figure), "image/svg+xml")) for _, figure in figures),
    )
