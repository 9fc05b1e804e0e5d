"""The formats of tables: Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields

from cifar10_s.benchmark.record import Record
from cifar10_s.errors import look_up
from cifar10_s.report.filled_table import Cell, FilledTable
from cifar10_s.report.metrics import FINAL
from cifar10_s.report.record_set import RecordSet
from cifar10_s.report.tables import layouts, of_other_images
from cifar10_s.report.text_table import latex, markdown, write_all


def render(
    table: str,
    records: Iterable[Record],
    *,
    protocol: str,
    source: str | None = None,
    network: str | None = None,
    pixels: Mapping[str, str] | None = None,
    measure: str = FINAL,
    format: str = "markdown",  # noqa: A002 (its name on the command line)
) -> str:
    """Return a table as text, published beside measured accuracies; ``grid`` has all that was measured, per network.

    A measured cell has the mean over seeds ± their sample standard deviation (n - 1); in brackets the mean of the best
    epochs, n if it is not the same in all cells, and the number of failed runs. What nobody published or measured has
    no row or column.

    Parameters
    ----------
    table
        A name of `TABLE_NAMES`.
    records, protocol, source, pixels
        The contents; see `RecordSet`.
    network
        The network of the measured cells, if all cells are of one network; see `layouts`.
    measure
        A name that `find_metric` knows.
    format
        A name of `FORMATS`.

    Raises
    ------
    UsageError
        If a name is unknown, or records that do not belong together would be mixed.
    SourceError
        If a record lacks the measure.
    """
    write = look_up("format", format, FORMATS)
    record_set = RecordSet(records, protocol=protocol, source=source, pixels=pixels)
    found = layouts(table, record_set, network)
    if not found:
        raise of_other_images(table)
    return "\n".join(write([FilledTable(layout, record_set, measure) for layout in found]))


def write_markdown(tables: Iterable[FilledTable]) -> list[str]:
    """Return a text per table; of tables on the same conditions, only the first says them."""
    return write_all((table.text() for table in tables), markdown)


def _latex(tables: Iterable[FilledTable]) -> list[str]:
    # In a paper, each table has to stand alone.
    return [latex(table.text()) for table in tables]


def _csv(tables: Iterable[FilledTable]) -> list[str]:
    file = io.StringIO()
    writer = csv.DictWriter(file, [field.name for field in fields(Cell)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(cell) for table in tables for cell in table.cells())
    return [file.getvalue()]


def _json(tables: Iterable[FilledTable]) -> list[str]:
    cells = [asdict(cell) for table in tables for cell in table.cells()]
    return [json.dumps(cells, indent=1, ensure_ascii=False, allow_nan=False) + "\n"]


# Texts of tables: one per table, or one object or line per cell in a single text.
FORMATS: dict[str, Callable[[Iterable[FilledTable]], list[str]]] = {
    "markdown": write_markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
