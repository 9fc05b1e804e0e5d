"""Write benchmark results into a release: records and figures for its folder, sections for its card."""

import json
from pathlib import Path

from cifar10_s.release.card import CardSection
from cifar10_s.release.layout import RESULTS, results_figure_path
from cifar10_s.report.formats import write_markdown
from cifar10_s.report.plots import png, title
from cifar10_s.report.record_set import RecordSet
from cifar10_s.report.report import Report, slug

# The tables of a card, each shown if it has any result: the whole grid, comparisons, then those of the paper.
CARD_TABLES = ("grid", "transfer", "dilution", "1", "2", "3", "5", "6")


def write_results(folder: Path, report: Report) -> list[CardSection]:
    """Write benchmark records and figures into a release folder, and return the sections of its card.

    Parameters
    ----------
    folder
        The release's folder, which contains a folder ``figures``.
    report
        A report restricted to the images of this release (see `Report.measured_on`), with at least one record.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    path = folder / RESULTS
    path.parent.mkdir()
    lines = [json.dumps(record.line, ensure_ascii=False, allow_nan=False) + "\n" for record in report.records]
    path.write_text("".join(lines), encoding="utf-8")
    return [
        _write_section(folder, report, record_set, number) for number, record_set in enumerate(report.record_sets(), 1)
    ]


def _write_section(folder: Path, report: Report, record_set: RecordSet, number: int) -> CardSection:
    figures = {}
    for name, figure in report.curve_figures(record_set):
        path = results_figure_path(number, slug(name))
        (folder / path).write_bytes(png(figure))
        figures[path] = title(figure)
    tables = [*report.filled_tables(record_set, CARD_TABLES), *report.robust_tables(record_set)]
    return CardSection(
        protocol=record_set.records[0].all_settings("protocol"),
        networks=tuple(record_set.names("network")),
        tables=tuple(write_markdown(tables)),
        figures=figures,
    )
