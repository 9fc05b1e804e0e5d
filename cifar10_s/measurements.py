"""Measurements: what the benchmark has measured on a release, as its folder and its card show it."""

import json
from pathlib import Path

from cifar10_s.benchmark import Report
from cifar10_s.benchmark.measured import Measured
from cifar10_s.benchmark.plots import png, title
from cifar10_s.benchmark.report import slug
from cifar10_s.benchmark.sheet import markdown
from cifar10_s.card import Measurement
from cifar10_s.records import RELEASED

# The tables of a card, where anything in them was measured: all of it, then what compares it, then the paper's.
SHOWN = ("grid", "transfer", "dilution", "1", "2", "3", "5", "6")


def write_measurements(folder: Path, report: Report) -> list[Measurement]:
    """Write records and figures into the folder of a release; gives what its card shows.

    Parameters
    ----------
    folder
        Has the folder ``figures``.
    report
        Of the images of this release alone (see `Report.on`), with at least one record.

    Raises
    ------
    UsageError
        Where matplotlib is not installed.
    """
    path = folder / RELEASED
    path.parent.mkdir()
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in report.records]
    path.write_text("".join(lines), encoding="utf-8")
    return [
        _write(folder, report, report.measured(protocol, source), number)
        for number, (protocol, source) in enumerate(report.groups, 1)
    ]


def _write(folder: Path, report: Report, measured: Measured, number: int) -> Measurement:
    figures = {}
    for name, figure in report.curves(measured):
        path = f"figures/results-{number}-{slug(name)}.png"
        (folder / path).write_bytes(png(figure))
        figures[path] = title(figure)
    return Measurement(
        protocol=measured.records[0]["settings"]["protocol"],
        networks=tuple(measured.names("network")),
        tables=tuple(map(markdown, (*report.sheets(measured, SHOWN), *report.robust(measured)))),
        figures=figures,
    )
