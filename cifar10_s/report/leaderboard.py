"""What the site compares: configurations by strategies, ours and submitted ones, each with its best defence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cifar10_s.benchmark.record import Record
from cifar10_s.benchmark.submission import Submission, Submitter
from cifar10_s.report.paper_tables import TABLES, Table
from cifar10_s.report.record_set import CellStats, RecordSet, protocols_and_sources
from cifar10_s.report.tables import is_comparable

# The network of the published tables that are shown.
PUBLISHED_NETWORK = "resnet-18"


@dataclass(frozen=True)
class Published:
    """What papers published of a cell: accuracies in percent, by the captions of their tables."""

    values: Mapping[str, float]

    @property
    def highest(self) -> float:
        """The highest of the accuracies."""
        return max(self.values.values())

    def __str__(self) -> str:
        low, high = min(self.values.values()), self.highest
        return f"{low:.2f}" if low == high else f"{low:.2f}–{high:.2f}"


@dataclass(frozen=True)
class Entry:
    """A configuration under a strategy: its runs, the mean accuracy by epoch in percent, and what was published."""

    stats: CellStats
    curve: tuple[float, ...] = ()
    published: Published | None = None


@dataclass(frozen=True)
class Row:
    """A configuration.

    Attributes
    ----------
    configuration
        Its name; of several sets of pixels, with the digest.
    submitter
        Who submitted its runs; None for ours.
    cells
        By strategy; those without a run and without a published number are left out.
    defences
        The strategies that were measured and need no clean images.
    """

    configuration: str
    submitter: Submitter | None
    cells: Mapping[str, Entry]
    defences: tuple[str, ...]

    @property
    def best(self) -> str | None:
        """The defence under which most is learned; None if none was measured."""
        return max(self.defences, key=lambda name: self.cells[name].stats.mean, default=None)

    @property
    def best_published(self) -> tuple[str, float] | None:
        """The strategy with the highest published accuracy, and that; None if nothing was published."""
        values = {name: cell.published.highest for name, cell in self.cells.items() if cell.published is not None}
        name = max(values, key=values.__getitem__, default=None)
        return None if name is None else (name, values[name])


@dataclass(frozen=True)
class Leaderboard:
    """The runs of one protocol and network, tested on the same images.

    Attributes
    ----------
    record_set
        Our records; those of the first submission if we have none.
    network
        The network that was trained.
    strategies
        The columns.
    rows
        Ours first.
    """

    record_set: RecordSet
    network: str
    strategies: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def captions(self) -> list[str]:
        """The captions of the tables from which published numbers are shown."""
        cells = [cell for row in self.rows for cell in row.cells.values() if cell.published is not None]
        return list(dict.fromkeys(caption for cell in cells for caption in (cell.published or Published({})).values))

    @property
    def machines(self) -> list[str]:
        """The machines of all cells."""
        return sorted(
            {machine for row in self.rows for cell in row.cells.values() for machine in cell.stats.machines} - {""}
        )


def leaderboards(records: Sequence[Record], submissions: Iterable[Submission] = ()) -> list[Leaderboard]:
    """Return a leaderboard for each protocol, network and set of test images, in the order of `PROTOCOLS`.

    Submitted runs have rows of their own: no mean and no best mixes theirs with ours.

    Raises
    ------
    UsageError
        If the records of one contributor do not belong together; see `RecordSet`.
    """
    groups: dict[tuple[str, str, str], dict[Submitter | None, list[Record]]] = {}
    for submitter, some in [(None, records), *((one.submitter, one.records) for one in submissions)]:
        for record in some:
            settings = record.settings
            place = settings.protocol.name, settings.coordinates["network"], settings.test_sha256
            groups.setdefault(place, {}).setdefault(submitter, []).append(record)
    every = [record for group in groups.values() for some in group.values() for record in some]
    order = [protocol for protocol, _ in protocols_and_sources(every)]
    return [_leaderboard(groups[place]) for place in sorted(groups, key=lambda place: (order.index(place[0]), place))]


def _leaderboard(group: Mapping[Submitter | None, list[Record]]) -> Leaderboard:
    first = next(iter(group.values()))[0].settings
    protocol, network = first.protocol.name, first.coordinates["network"]
    record_sets = {
        # Others call their copy of the same images by another name.
        submitter: RecordSet([_of_source(one, first.source) for one in some], protocol=protocol, source=first.source)
        for submitter, some in group.items()
    }
    rows = [
        _row(record_set, name, network, submitter)
        for submitter, record_set in record_sets.items()
        for name in record_set.names("configuration")
    ]
    strategies = dict.fromkeys(name for one in record_sets.values() for name in one.names("strategy"))
    return Leaderboard(next(iter(record_sets.values())), network, tuple(strategies), tuple(rows))


def _of_source(record: Record, source: str) -> Record:
    return replace(record, settings=replace(record.settings, source=source))


def _row(record_set: RecordSet, configuration: str, network: str, submitter: Submitter | None) -> Row:
    cells, defences = {}, []
    for strategy in record_set.names("strategy"):
        place = {"configuration": configuration, "strategy": strategy, "network": network}
        stats = record_set.cell(place)
        published = None if submitter else _published(record_set, configuration.partition(" ")[0], strategy)
        if stats.is_empty and published is None:
            continue
        runs = record_set.runs(place)
        cells[strategy] = Entry(stats, _curve(runs), published)
        # A record names the clean images that its strategy needs.
        if stats.values and not any("clean_sha256" in record["settings"] for record in runs):
            defences.append(strategy)
    return Row(configuration, submitter, cells, tuple(defences))


def _curve(runs: Iterable[Record]) -> tuple[float, ...]:
    """Return the mean accuracy by epoch; nothing if runs have none, or not of the same epochs."""
    curves = [record.results.test_accuracy for record in runs if record.is_done]
    if not curves or len(set(map(len, curves))) > 1:
        return ()
    return tuple(map(float, np.mean(curves, axis=0)))


def _published(record_set: RecordSet, configuration: str, strategy: str) -> Published | None:
    values = {
        table.caption: value
        for table in TABLES.values()
        if table.fixed.get("network") == PUBLISHED_NETWORK and is_comparable(table, record_set)
        if (value := _value(table, {"configuration": configuration, "strategy": strategy})) is not None
    }
    return Published(values) if values else None


def _value(table: Table, names: Mapping[str, str]) -> float | None:
    axes = table.rows, table.columns
    if {axis.varies for axis in axes} != set(names) or any(names[axis.varies] not in axis.headings for axis in axes):
        return None
    row, column = (names[axis.varies] for axis in axes)
    return table.published(row, column)
