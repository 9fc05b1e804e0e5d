"""A table filled with what was measured: its text, and its cells one by one."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cifar10_s.report.metrics import FINAL, find_metric
from cifar10_s.report.paper_tables import TABLES, Axis, Table
from cifar10_s.report.record_set import CellStats, RecordSet
from cifar10_s.report.tables import DILUTION
from cifar10_s.report.text_table import EMPTY_CELL, TextColumn, TextTable, mark

PUBLISHED, MEASURED = "published", "measured"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table by itself.

    Attributes
    ----------
    table, protocol, source
        The name of the table, and where its measured numbers are from.
    configuration, strategy, network, evaluation
        Its place; None on an axis that the table does not fix.
    measure
        A name that `find_metric` knows, which ``mean`` and ``deviation`` are of.
    published, mean, deviation, peak
        Accuracies in percent: published; mean and sample standard deviation over seeds; the mean of the best of all
        epochs. None if there is none.
    n, failed
        The number of runs that are done, and of those that failed.
    """

    table: str
    protocol: str
    source: str
    configuration: str | None = None
    strategy: str | None = None
    network: str | None = None
    evaluation: str | None = None
    measure: str
    published: float | None
    mean: float | None
    deviation: float | None
    peak: float | None
    n: int
    failed: int


@dataclass(frozen=True, eq=False)
class FilledTable:
    """A layout of `tables.layouts` with the statistics of its cells.

    Attributes
    ----------
    layout
        Rows, columns and published numbers.
    record_set
        The records.
    measure
        A name that `find_metric` knows.
    """

    layout: Table
    record_set: RecordSet
    measure: str = FINAL

    @cached_property
    def stats(self) -> dict[tuple[str, str], CellStats]:
        """The statistics of each cell, by the names of its row and column.

        Raises
        ------
        UsageError, SourceError
            See `RecordSet.cell`.
        """
        return {
            (row, column): self.record_set.cell(self.layout.coordinates(row, column), self.measure)
            for row in self.layout.rows.headings
            for column in self.layout.columns.headings
        }

    @property
    def is_measured(self) -> bool:
        """Whether any cell has a measured value."""
        return any(cell.values for cell in self.stats.values())

    @property
    def has_runs(self) -> bool:
        """Whether any cell has a run, even a failed one."""
        return not all(cell.is_empty for cell in self.stats.values())

    @property
    def rows(self) -> list[str]:
        """The names of the rows that hold anything."""
        return [row for row in self.layout.rows.headings if any(self._holds(row, column) for column in self.columns)]

    @cached_property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The parts of each column that hold anything, published before measured, by the names of the columns."""
        parts = {column: tuple(self._parts(column)) for column in self.layout.columns.headings}
        return {column: of_column for column, of_column in parts.items() if of_column}

    def _parts(self, column: str) -> Iterator[str]:
        rows = self.layout.rows.headings
        if any(self.layout.published(row, column) is not None for row in rows):
            yield PUBLISHED
        if any(not self.stats[row, column].is_empty for row in rows):
            yield MEASURED

    def _holds(self, row: str, column: str) -> bool:
        return self.layout.published(row, column) is not None or not self.stats[row, column].is_empty

    @property
    def caption(self) -> str:
        """What the table shows, and of which network, strategy and number of seeds; a sentence without a full stop."""
        fixed = [f"{axis} {name}" for axis, name in self.layout.fixed.items()]
        parts = [self._title, f"measured: {', '.join(fixed)}" if fixed and self.has_runs else ""]
        counts = {len(cell.values) for cell in self.stats.values() if cell.values}
        seeds = f"n = {self._seeds}{' if no other is said' if len(counts) > 1 else ''}" if counts else ""
        return "; ".join(filter(None, [*parts, seeds]))

    @property
    def _title(self) -> str:
        title = self.layout.caption
        if not find_metric(self.measure).is_robust or self.layout.name in TABLES:
            return title
        return title.replace("Clean test", "Robust test").replace("clean test", "robust test")

    @property
    def conditions(self) -> str:
        """How the numbers of this record set were measured, in sentences."""
        if not self.has_runs:
            return ""
        measure = find_metric(self.measure).title + (", in brackets the best of all epochs" if self._has_peaks else "")
        pixels = [f"pixels of {name}: {beginning}" for name, beginning in self.record_set.pixels.items()]
        parts = [measure, f"protocol {self.record_set.protocol}", f"images: {self.record_set.images}", *pixels]
        machines = sorted({str(record.environment) for record in self.record_set.records})
        return (
            f"Measured: {', '.join(parts)}{''.join(f'; {machine}' for machine in machines)}. Mean ± sample standard "
            "deviation of n seeds; failed runs are counted, not averaged."
        )

    @property
    def _has_peaks(self) -> bool:
        return self.measure == FINAL

    @property
    def _varies_evaluation(self) -> bool:
        return "evaluation" in (self.layout.rows.varies, self.layout.columns.varies)

    @cached_property
    def _seeds(self) -> int:
        """The most frequent number of seeds of a measured cell, of which there must be one; only others are shown."""
        return statistics.mode(len(cell.values) for cell in self.stats.values() if cell.values)

    def text(self) -> TextTable:
        """Return the table with its cells as text; rows and columns that hold nothing are left out."""
        footnotes: list[str] = []
        columns = tuple(
            TextColumn(self._heading(self.layout.columns, column, footnotes), parts)
            for column, parts in self.columns.items()
        )
        rows = tuple((self._heading(self.layout.rows, row, footnotes), *self._texts(row)) for row in self.rows)
        return TextTable(
            caption=f"{self.caption}.",
            conditions=self.conditions,
            corner="Clean images" if self.layout.name == DILUTION else self.layout.rows.varies.capitalize(),
            columns=columns,
            rows=rows,
            footnotes=tuple(footnotes),
        )

    def _heading(self, axis: Axis, name: str, footnotes: list[str]) -> str:
        """Return a heading, marked if it has a footnote; a footnote needs published and measured numbers to compare."""
        note = axis.notes.get(name)
        if note is None or not self.layout.values or not self._is_measured_along(name):
            return axis.headings[name]
        if note not in footnotes:
            footnotes.append(note)
        return f"{axis.headings[name]}{mark(footnotes.index(note) + 1)}"

    def _is_measured_along(self, name: str) -> bool:
        return any(name in place and not cell.is_empty for place, cell in self.stats.items())

    def _texts(self, row: str) -> Iterator[str]:
        for column, parts in self.columns.items():
            for part in parts:
                yield self._published(row, column) if part == PUBLISHED else self._measured(self.stats[row, column])

    def _published(self, row: str, column: str) -> str:
        value = self.layout.published(row, column)
        return EMPTY_CELL if value is None else f"{value:.2f}"

    def _measured(self, cell: CellStats) -> str:
        """Return a measured cell as text: mean ± deviation (peak, n, failed)."""
        shows_peak = self._has_peaks and not self._varies_evaluation and cell.values and cell.peak is not None
        notes = [f"{cell.peak:.2f}"] if shows_peak else []
        notes += [f"n={len(cell.values)}"] if cell.values and len(cell.values) != self._seeds else []
        notes += [f"{cell.failed} failed"] if cell.failed else []
        spread = "" if cell.deviation is None else f" ± {cell.deviation:.2f}"
        value = f"{cell.mean:.2f}{spread}" if cell.values else EMPTY_CELL
        return f"{value} ({', '.join(notes)})" if notes else value

    def cells(self) -> list[Cell]:
        """Return the cells that hold anything."""
        return [
            Cell(
                table=self.layout.name,
                protocol=self.record_set.protocol,
                source=self.record_set.source,
                **self.layout.coordinates(row, column),
                measure=self.measure,
                published=self.layout.published(row, column),
                mean=cell.mean if cell.values else None,
                deviation=cell.deviation,
                peak=None if self._varies_evaluation else cell.peak,
                n=len(cell.values),
                failed=cell.failed,
            )
            for (row, column), cell in self.stats.items()
            if self._holds(row, column)
        ]
