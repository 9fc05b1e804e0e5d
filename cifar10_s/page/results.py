"""Results: tables and plots of what was measured on the images of one release."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from cifar10_s.benchmark import Released, Report
from cifar10_s.benchmark.drawing import svg
from cifar10_s.benchmark.measured import Measured, Record, groups
from cifar10_s.benchmark.sheet import Sheet
from cifar10_s.benchmark.tables import NAMES, cells, layout, sheet
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
        return Results((), 0, 0)
    every = Report.of(files, network=network)
    kept = tuple(record for record in every.records if _is_of(record, released))
    if not kept:
        raise SourceError(
            f"{', '.join(files)}: none of {len(every.records)} records is of the images of {released.name}: expected "
            f"what `cifar10-s bench {released.name}` wrote"
        )
    report = replace(every, records=kept, groups=tuple(groups(kept)))
    return Results(
        tuple(_group(report, protocol, source, plots) for protocol, source in report.groups),
        used=_count(kept),
        left_out=_count(every.records) - _count(kept),
    )


def _count(records: Iterable[Record]) -> int:
    """Count records; one that comes twice counts once, as in tables."""
    return len({record["id"] for record in records})


def _is_of(record: Record, released: Released) -> bool:
    """Tell whether a run trained and was tested on the release's images, whatever these were called."""
    settings = record["settings"]
    name = settings["configuration"]
    return (
        name in released.configurations
        and settings["pixels_sha256"] == released.digest(name)
        and settings["test_sha256"] == released.test_digest
    )


def _group(report: Report, protocol: str, source: str, plots: bool) -> Group:
    measured = Measured(report.records, protocol=protocol, source=source)
    figures = report.figures(measured) if plots else ()
    return Group(
        protocol,
        source,
        tuple(_sheets(report, measured)),
        tuple(Plot(_words(figure.get_suptitle()), address(svg(figure), "image/svg+xml")) for _, figure in figures),
    )


def _sheets(report: Report, measured: Measured) -> Iterable[Sheet]:
    """Lay out each table in which something was measured, be it a failure."""
    for table in (layout(name, measured) for name in NAMES):
        found = cells(table, measured, network=report.network, measure=report.measure)
        if any(cell.values or cell.failed for cell in found.values()):
            yield sheet(table, measured, network=report.network, measure=report.measure)


def _words(title: str) -> str:
    """Give a figure's title as it is read."""
    return " ".join(title.replace(r"\$", "$").split())
