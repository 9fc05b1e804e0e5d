"""All tables and plots of files of records, for each protocol and source."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.strategies.registry import STANDARD
from cifar10_s.common.files import expand
from cifar10_s.common.records import Records
from cifar10_s.data.sources.release_folder import check_outside_releases
from cifar10_s.errors import SourceError, UsageError, look_up, unknown
from cifar10_s.report.filled_table import Cell, FilledTable
from cifar10_s.report.formats import FORMATS
from cifar10_s.report.metrics import ROBUST, find_metric
from cifar10_s.report.record_set import TEST_IMAGES, RecordSet, protocols_and_sources
from cifar10_s.report.tables import DILUTION, GRID, TABLE_NAMES, is_shown_by_default, layouts, of_other_images

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

ALL = "all"
MAX_SLUG_LETTERS = 60


@dataclass(frozen=True, kw_only=True)
class Report:
    """Records, and how they are shown; `Report.read` makes one.

    Attributes
    ----------
    records
        The records; at least one for each of the pairs.
    protocols_and_sources
        The (protocol, source) pairs to show, each with tables and plots of its own.
    network, measure, pixels
        See `formats.render`.

    Examples
    --------
    >>> import cifar10_s
    >>> report = cifar10_s.Report.read(["records.jsonl"])
    >>> len(report.records)
    1
    """

    records: tuple[Record, ...]
    protocols_and_sources: tuple[tuple[str, str], ...]
    network: str | None = None
    measure: str = "final"
    pixels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(
        cls,
        files: str | Path | Iterable[str | Path],
        *,
        protocol: str | None = None,
        source: str | None = None,
        network: str | None = None,
        measure: str = "final",
        pixels: Mapping[str, str] | None = None,
    ) -> "Report":
        """Read one or more files of records.

        Parameters
        ----------
        files
            Files that `bench` wrote.
        protocol, source
            Show only records of these; by default those of every protocol and source.
        network, measure, pixels
            See `formats.render`.

        Raises
        ------
        SourceError
            If a file is missing, holds no record, or anything but records.
        UsageError
            If no record is of the protocol, the source, or a configuration of ``pixels``.
        """
        paths = [files] if isinstance(files, str | Path) else files
        records = tuple(record for path in paths for record in _read(expand(path)))
        configurations = {TEST_IMAGES, *(record.settings.configuration for record in records)}
        for configuration in pixels or {}:
            if configuration not in configurations:
                raise unknown("configuration of pixels", configuration, sorted(configurations))
        networks = sorted({record.settings.network for record in records})
        if network is not None and network not in networks:
            raise unknown("network", network, networks)
        pairs = protocols_and_sources(records)
        for place, (kind, name) in enumerate((("protocol", protocol), ("source", source))):
            selected = [pair for pair in pairs if name in (None, pair[place])]
            if not selected:
                raise unknown(kind, name, sorted({pair[place] for pair in pairs}))
            pairs = selected
        return cls(
            records=records, protocols_and_sources=tuple(pairs), network=network, measure=measure, pixels=pixels or {}
        )

    def measured_on(self, pixel_digests: Mapping[str, str], test_digest: str | None) -> "Report":
        """Keep the records that were measured on the images of one release, whatever its name was.

        Parameters
        ----------
        pixel_digests
            The pixel digest of each configuration's training images.
        test_digest
            The pixel digest of the test images; None if the release has none.
        """
        records = tuple(
            record
            for record in self.records
            if pixel_digests.get(record.settings.configuration) == record.settings.pixels_sha256
            and record.settings.test_sha256 == test_digest
        )
        return replace(self, records=records, protocols_and_sources=tuple(protocols_and_sources(records)))

    def record_sets(self) -> Iterator[RecordSet]:
        """Yield the records of each protocol and source.

        Raises
        ------
        UsageError
            If records that do not belong together would be mixed; see `RecordSet`.
        """
        for protocol, source in self.protocols_and_sources:
            yield RecordSet(self.records, protocol=protocol, source=source, pixels=self.pixels)

    def tables(self, names: str | Iterable[str] = ALL, *, format: str = "markdown") -> list[str]:  # noqa: A002
        """Return tables as texts; see `formats.render` for formats and errors.

        Parameters
        ----------
        names
            Names of `tables.TABLE_NAMES`; ``all`` stands for every table that compares anything.
        format
            ``markdown`` or ``latex`` for a text per table, ``csv`` or ``json`` for one text of all cells.
        """
        return look_up("format", format, FORMATS)(self._requested(names))

    def frame(self, names: str | Iterable[str] = ALL) -> "pandas.DataFrame":
        """Return the cells of tables as a data frame, a row per cell; its columns are the fields of `Cell`."""
        import pandas as pd

        cells = [asdict(cell) for table in self._requested(names) for cell in table.cells()]
        return pd.DataFrame(cells, columns=[one.name for one in fields(Cell)])

    def _requested(self, names: str | Iterable[str]) -> list[FilledTable]:
        """Return the tables of a request, with those that ``all`` stands for only if they show anything."""
        requested = [names] if isinstance(names, str) else list(names)
        for name in requested:
            if name not in TABLE_NAMES and name != ALL:
                raise unknown("table", name, [*TABLE_NAMES, ALL])
        if self.records and not any(find_metric(self.measure).is_of(record) for record in self.records):
            raise UsageError(f"measure: expected one that a record has, got {self.measure}")
        expanded = dict.fromkeys(name for one in requested for name in (TABLE_NAMES if one == ALL else (one,)))
        tables = [
            FilledTable(layout, record_set, self.measure)
            for record_set in self.record_sets()
            for name in expanded
            for layout in layouts(name, record_set, self.network)
        ]
        for name in requested:
            if name != ALL and self.records and all(one.layout.name != name for one in tables):
                raise of_other_images(name)
        return [one for one in tables if one.layout.name in requested or self._is_shown(one)]

    def filled_tables(self, record_set: RecordSet, names: Iterable[str] = TABLE_NAMES) -> list[FilledTable]:
        """Return the named tables that have at least one recorded run, even a failed one."""
        tables = (
            FilledTable(layout, record_set, self.measure)
            for name in names
            for layout in layouts(name, record_set, self.network)
        )
        return list(filter(self._is_shown, tables))

    def _is_shown(self, table: FilledTable) -> bool:
        return is_shown_by_default(table.layout) and table.has_runs

    def robust_tables(self, record_set: RecordSet) -> list[FilledTable]:
        """Return the grids of robust accuracy over the runs that measured it."""
        attacked = [record for record in record_set.records if record.results.robust_accuracy is not None]
        if not attacked:
            return []
        attacked_set = RecordSet(
            attacked, protocol=record_set.protocol, source=record_set.source, pixels=record_set.pixels
        )
        return replace(self, measure=ROBUST).filled_tables(attacked_set, [GRID])

    def plot(self, folder: str | Path, *, format: str = "png") -> list[Path]:  # noqa: A002
        """Draw every table that has measured values, training curves, and distances of the weights.

        Parameters
        ----------
        folder
            Created if needed; files of the same name are replaced.
        format
            ``png``, ``svg`` or ``pdf``.

        Returns
        -------
        The files.

        Raises
        ------
        UsageError
            If matplotlib is not installed, or the figures cannot be written; and as for `formats.render`.
        """
        from cifar10_s.report.plot_style import PLOT_FORMATS

        draw = look_up("format of plots", format, PLOT_FORMATS)

        folder = expand(folder)
        check_outside_releases(folder)
        images: dict[str, bytes] = {}
        for record_set in self.record_sets():
            for name, figure in self.figures(record_set):
                parts = (record_set.protocol, record_set.source, name)
                images[_unused("-".join(map(slug, parts)), images)] = draw(figure)
        paths = [folder / f"{name}.{format}" for name in images]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path, content in zip(paths, images.values(), strict=True):
                path.write_bytes(content)
        except OSError as error:
            raise UsageError(
                f"{folder}: figures cannot be written there ({error.strerror}): expected a folder that can be written "
                "to, or the name of a new one"
            ) from None
        return paths

    def figures(self, record_set: RecordSet) -> Iterator[tuple[str, "Figure"]]:
        """Yield the names and figures of a record set; errors as for `plot`."""
        yield from self.table_figures(record_set)
        yield from self.curve_figures(record_set)

    def table_figures(self, record_set: RecordSet) -> Iterator[tuple[str, "Figure"]]:
        """Draw every table that has measured values; errors as for `plot`."""
        from cifar10_s.report import plots

        tables = [table for table in self.filled_tables(record_set) if table.is_measured]
        repeats = Counter(table.layout.name for table in tables)
        for table in tables:
            layout = table.layout
            network = f"-{layout.fixed['network']}" if repeats[layout.name] > 1 else ""
            draw = plots.dilution if layout.name == DILUTION else plots.comparison
            yield f"table-{layout.name}{network}", draw(table)

    def curve_figures(self, record_set: RecordSet) -> Iterator[tuple[str, "Figure"]]:
        """Draw training curves per network and strategy, and distances of the weights; errors as for `plot`."""
        from cifar10_s.report import plots

        for network in record_set.names("network") if self.network is None else [self.network]:
            for strategy in record_set.names("strategy"):
                for figure in self.training_figures(record_set, network, [strategy]):
                    yield f"curves-{network}-{strategy}", figure
            # Of the paper's Figure 4, which is of this strategy.
            if plots.runs_with_distance(record_set, network=network, strategy=STANDARD):
                yield f"distance-{network}-{STANDARD}", plots.parameter_distance(record_set, network=network)

    def training_figures(
        self, record_set: RecordSet, network: str, strategies: Iterable[str] | None = None
    ) -> Iterator["Figure"]:
        """Draw training curves of a network, a figure per strategy that has any; errors as for `plot`."""
        from cifar10_s.report import plots

        for strategy in record_set.names("strategy") if strategies is None else strategies:
            if plots.runs_with_curves(record_set, {"network": network, "strategy": strategy}, "configuration"):
                yield plots.training_curves(record_set, network=network, strategy=strategy)


def _read(path: Path) -> list[Record]:
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise SourceError(f"{path}: {what}: expected a file that `cifar10-s bench` wrote")
    lines = Records(path).read()
    if not lines:
        raise SourceError(f"{path}: holds no record: run `cifar10-s bench` first")
    try:
        return list(map(Record.parse, lines))
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def slug(name: str) -> str:
    """Turn a name into part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:MAX_SLUG_LETTERS].strip("-")


def _unused(name: str, used: Iterable[str]) -> str:
    """Add a number to a name that is already used, since two sources may have the same slug."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in used)
