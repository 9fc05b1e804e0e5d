"""The page's section on accuracy: tables and plots of the records of one release's images."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cifar10_s.benchmark.record import Record
from cifar10_s.common.html import data_uri
from cifar10_s.errors import SourceError
from cifar10_s.release.reader import Release
from cifar10_s.report.headline import Headline, headline
from cifar10_s.report.plot_style import page_svg
from cifar10_s.report.plots import title
from cifar10_s.report.record_set import RecordSet
from cifar10_s.report.report import Report
from cifar10_s.report.tables import check_network
from cifar10_s.report.text_table import TextTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot: its description in words, and its SVG as a data URI."""

    alt: str
    src: str


@dataclass(frozen=True)
class AccuracySection:
    """The results of one protocol on the images of one source."""

    protocol: str
    source: str
    headline: Headline | None
    tables: tuple[TextTable, ...]
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class MeasuredAccuracy:
    """All results; ``used`` records are of the release's own images, ``left_out`` records are of others."""

    sections: tuple[AccuracySection, ...]
    used: int
    left_out: int

    @property
    def headlines(self) -> list[Headline]:
        """The headlines of the sections that have one."""
        return [section.headline for section in self.sections if section.headline is not None]


def measured_accuracy(
    files: Iterable[str | Path], release: Release, *, network: str | None = None, plots: bool = True
) -> MeasuredAccuracy:
    """Read files of records, and return the sections on those that were measured on the release's own images.

    Raises
    ------
    SourceError
        If a file holds no records, or none is of the release's images.
    UsageError
        As for `Report.read`, `formats.render` and `Report.plot`.
    """
    paths = list(map(str, files))
    if not paths:
        if network is not None:
            check_network(network)
        return MeasuredAccuracy((), 0, 0)
    all_records = Report.read(paths, network=network)
    digests = {name: release.digest(name) for name in release.configurations}
    report = all_records.measured_on(digests, release.test_digest)
    if not report.records:
        raise SourceError(
            f"{', '.join(paths)}: none of {len(all_records.records)} records is of the images of {release.name}: "
            f"expected what `cifar10-s bench {release.name}` wrote"
        )
    return MeasuredAccuracy(
        tuple(_section(report, record_set, plots) for record_set in report.record_sets()),
        used=_count(report.records),
        left_out=_count(all_records.records) - _count(report.records),
    )


def _count(records: Iterable[Record]) -> int:
    """Count records; a repeated one counts once, as in tables."""
    return len({record.id for record in records})


def _section(report: Report, record_set: RecordSet, plots: bool) -> AccuracySection:
    figures = report.figures(record_set) if plots else ()
    return AccuracySection(
        record_set.protocol,
        record_set.source,
        headline(record_set),
        tuple(table.text() for table in (*report.filled_tables(record_set), *report.robust_tables(record_set))),
        tuple(plot_of(figure) for _, figure in figures),
    )


def plot_of(figure: "Figure") -> Plot:
    """Return a figure as a page shows it."""
    return Plot(title(figure), data_uri(page_svg(figure), "image/svg+xml"))
