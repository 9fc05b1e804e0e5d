"""Report: all tables and plots of some files of records, a set for each protocol and source."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

from cifar10_s.benchmark.measured import MEASURES, ROBUST, TEST, Measured, Record, groups
from cifar10_s.benchmark.published import Table
from cifar10_s.benchmark.record_form import misfit
from cifar10_s.benchmark.sheet import Sheet
from cifar10_s.benchmark.tables import DILUTION, GRID, NAMES, cells, is_shown, layouts, sheet, spelling
from cifar10_s.errors import SourceError, UsageError, unknown
from cifar10_s.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all"
# Letters that each part of a file's name may have.
LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is shown of records, and how.

    Attributes
    ----------
    records
        As from `Records.read`.
    groups
        The (protocol, source) pairs, each of which has its own tables and plots.
    network, measure, pixels
        As for `tables.render`.
    """

    records: tuple[Record, ...]
    groups: tuple[tuple[str, str], ...]
    network: str | None = None
    measure: str = "final"
    pixels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        paths: Iterable[str | Path],
        *,
        protocol: str | None = None,
        source: str | None = None,
        network: str | None = None,
        measure: str = "final",
        pixels: Mapping[str, str] | None = None,
    ) -> "Report":
        """Read files of records.

        Parameters
        ----------
        paths
            Files that `bench` wrote.
        protocol, source
            Only what is of these; None for each that the records are of.
        network, measure, pixels
            As for `tables.render`.

        Raises
        ------
        SourceError
            For a file that is not there, holds no record, or something else.
        UsageError
            For a protocol, a source, or a configuration of ``pixels`` that no record is of.
        """
        records = tuple(record for path in paths for record in _read(Path(path)))
        measured_on = {TEST, *(record["settings"]["configuration"] for record in records)}
        for configuration in pixels or {}:
            if configuration not in measured_on:
                raise unknown("configuration of pixels", configuration, sorted(measured_on))
        chosen = groups(records)
        for place, (what, name) in enumerate((("protocol", protocol), ("source", source))):
            left = [pair for pair in chosen if name in (None, pair[place])]
            if not left:
                raise unknown(what, name, sorted({pair[place] for pair in chosen}))
            chosen = left
        return cls(records=records, groups=tuple(chosen), network=network, measure=measure, pixels=pixels or {})

    def on(self, pixels: Mapping[str, str], test: str | None) -> "Report":
        """Keep what was measured on the images of one release, whatever these were called then.

        Parameters
        ----------
        pixels
            The pixel digest of each of its configurations.
        test
            The pixel digest of its test images, if it has any.
        """
        kept = tuple(
            record
            for record in self.records
            if pixels.get(record["settings"]["configuration"]) == record["settings"]["pixels_sha256"]
            and record["settings"]["test_sha256"] == test
        )
        return replace(self, records=kept, groups=tuple(groups(kept)))

    def measured(self, protocol: str, source: str) -> Measured:
        """Give the records of one of the groups."""
        return Measured(self.records, protocol=protocol, source=source, pixels=self.pixels)

    def sheets(self, measured: Measured, names: Iterable[str] = NAMES) -> Iterator[Sheet]:
        """Lay out those of the named tables in which something was measured, be it a failure."""
        for table in self._shown(measured, names):
            if any(cell.values or cell.failed for cell in cells(table, measured, self.measure).values()):
                yield sheet(table, measured, self.measure)

    def robust(self, measured: Measured) -> Iterator[Sheet]:
        """Lay out the grids of robust accuracy, of the runs in which it was measured; none where there is none."""
        attacked = [record for record in measured.records if MEASURES[ROBUST][0] in record["results"]]
        if attacked:
            alone = Measured(attacked, protocol=measured.protocol, source=measured.source, pixels=measured.pixels)
            yield from replace(self, measure=ROBUST).sheets(alone, [GRID])

    def _shown(self, measured: Measured, names: Iterable[str]) -> list[Table]:
        return [table for name in names for table in layouts(name, measured, self.network) if is_shown(table)]

    def tables(self, names: Collection[str] = (ALL,), *, format: str = "markdown") -> list[str]:  # noqa: A002 (as above)
        """Write tables; see `tables.render` for names, formats and errors.

        Parameters
        ----------
        names
            Names of `tables.NAMES`; ``all`` stands for each that compares something.
        """
        spelled = spelling(format)
        wanted = [name for given in names for name in (NAMES if given == ALL else (given,))]
        for name in wanted:
            if name not in NAMES:
                raise unknown("table", name, [*NAMES, ALL])
        return [
            spelled(sheet(table, measured, self.measure))
            for measured in (self.measured(*group) for group in self.groups)
            for name in dict.fromkeys(wanted)
            for table in layouts(name, measured, self.network)
            if name in names or is_shown(table)
        ]

    def plot(self, folder: str | Path) -> list[Path]:
        """Write a figure of each table in which something is measured, of training curves, and of distances.

        Gives the PNG files, in a folder that is made; a file of the same name is replaced.

        Raises
        ------
        UsageError
            Where matplotlib is not installed, or no figure can be written there, and as `tables.render`.
        """
        from cifar10_s.benchmark.plots import png

        drawn: dict[str, bytes] = {}
        for protocol, source in self.groups:
            for name, figure in self.figures(self.measured(protocol, source)):
                drawn[_free("-".join(map(slug, (protocol, source, name))), drawn)] = png(figure)
        paths = [Path(folder) / f"{name}.png" for name in drawn]
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for path, content in zip(paths, drawn.values(), strict=True):
                path.write_bytes(content)
        except OSError as error:
            raise UsageError(
                f"{folder}: figures cannot be written there ({error.strerror}): expected a folder that can be written "
                "to, or the name of a new one"
            ) from None
        return paths

    def figures(self, measured: Measured) -> Iterator[tuple[str, "Figure"]]:
        """Draw all that the records of one group give, each with a name; raises as `plot`."""
        yield from self.comparisons(measured)
        yield from self.curves(measured)

    def comparisons(self, measured: Measured) -> Iterator[tuple[str, "Figure"]]:
        """Draw each table in which something is measured; raises as `plot`."""
        from cifar10_s.benchmark import plots

        tables = self._shown(measured, NAMES)
        of_name = Counter(table.name for table in tables)
        for table in tables:
            if any(cell.values for cell in cells(table, measured, self.measure).values()):
                network = f"-{table.fixed['network']}" if of_name[table.name] > 1 else ""
                draw = plots.dilution if table.name == DILUTION else plots.comparison
                yield f"table-{table.name}{network}", draw(table, measured, self.measure)

    def curves(self, measured: Measured) -> Iterator[tuple[str, "Figure"]]:
        """Draw training curves, and distances of the weights, a figure for each strategy; raises as `plot`."""
        from cifar10_s.benchmark import plots

        for network in measured.names("network") if self.network is None else [self.network]:
            for strategy in measured.names("strategy"):
                if plots.done(measured, {"network": network, "strategy": strategy}, "configuration"):
                    figure = plots.training_curves(measured, network=network, strategy=strategy)
                    yield f"curves-{network}-{strategy}", figure
                if plots.with_distance(measured, network=network, strategy=strategy):
                    figure = plots.parameter_distance(measured, network=network, strategy=strategy)
                    yield f"distance-{network}-{strategy}", figure


def _read(path: Path) -> list[Record]:
    if not path.is_file():
        raise SourceError(f"{path}: is not there: expected a file that `cifar10-s bench` wrote")
    records = Records(path).read()
    if not records:
        raise SourceError(f"{path}: holds no record: run `cifar10-s bench` first")
    for record in records:
        if (what := misfit(record)) is not None:
            raise SourceError(f"{path}: run {record['id']}: {what}: mend or remove its line")
    return list(records)


def slug(name: str) -> str:
    """Make of a name what the name of a file can hold."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:LONGEST].strip("-")


def _free(name: str, taken: Mapping[str, object]) -> str:
    """Make a name that none has: two sources can differ in what a file's name cannot hold."""
    numbered = (f"{name}-{number}" for number in count(2))
    return next(free for free in chain([name], numbered) if free not in taken)
