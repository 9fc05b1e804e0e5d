"""The layouts of tables: papers' tables, fitted to our records, and tables of all records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from cifar10_s.benchmark.strategies.registry import STANDARD, count_clean_images
from cifar10_s.data.provenance import CIFAR10
from cifar10_s.errors import UsageError, unknown
from cifar10_s.nn.networks.registry import NETWORKS
from cifar10_s.report.paper_tables import TABLES, Axis, Table
from cifar10_s.report.record_set import RecordSet

# Configurations × strategies, networks × configurations, clean images × configurations: those that occur in records.
GRID, TRANSFER, DILUTION = "grid", "transfer", "dilution"
TABLE_NAMES = (*TABLES, GRID, TRANSFER, DILUTION)
# The captions, rows and columns of tables that nobody published.
UNPUBLISHED_TABLES = {
    GRID: ("Clean test accuracy (%) by configuration and training strategy", "configuration", "strategy"),
    TRANSFER: (
        "Transfer between networks: clean test accuracy (%) by network and configuration", "network", "configuration",
    ),
}  # fmt: skip
# The tables that compare their rows, and so need at least two.
COMPARISON_TABLES = (TRANSFER, DILUTION)
# Titles of sources beside which numbers published on other images than CIFAR-10 may stand.
SOURCES_BY_IMAGES = {"CIFAR-100": ("CIFAR-100", "uoft-cs/cifar100")}


def layouts(name: str, record_set: RecordSet, network: str | None = None) -> list[Table]:
    """Return the layout of a table, or one layout per network.

    A table whose rows are not networks is of one network: ``network`` if it is given, otherwise the paper's, otherwise
    the protocol's own, if these were measured. Failing that, or if the paper names none, there is a layout for each
    network that was measured.

    Raises
    ------
    UsageError
        If a name is unknown.
    """
    if name not in TABLE_NAMES:
        raise unknown("table", name, TABLE_NAMES)
    if network is not None:
        check_network(network, record_set.names("network"))
    if name == TRANSFER:
        return [_unpublished(name, record_set, {"strategy": STANDARD})]
    if name in (GRID, DILUTION):
        layout = _dilution if name == DILUTION else partial(_unpublished, name)
        return [layout(record_set, fixed) for fixed in _fixed_networks(record_set, None, network)]
    table = TABLES[name]
    if not is_comparable(table, record_set):
        if table.images != CIFAR10 and record_set.records:
            return []
        table = replace(table, values={})
    if table.rows.varies == "network":
        return [_fitted(table, record_set)]
    papers_own = table.fixed.get("network")
    return [
        _fitted(replace(table, fixed={**table.fixed, **fixed}), record_set)
        for fixed in _fixed_networks(record_set, papers_own, network)
    ]


def is_comparable(table: Table, record_set: RecordSet) -> bool:
    """Return whether the published numbers of a table may stand beside these records: they are of the same images."""
    if table.images == CIFAR10 or not record_set.records:
        return record_set.is_cifar10
    return record_set.source in SOURCES_BY_IMAGES[table.images]


def of_other_images(name: str) -> UsageError:
    """Return the error for a table that has no layout for records of other images."""
    return UsageError(f"table {name}: is of {TABLES[name].images}, and these records are not; choose another table")


def _fitted(table: Table, record_set: RecordSet) -> Table:
    """Return a published table with our nearest experiments, and a row or column per set of pixels."""
    rows, columns = (_fitted_axis(axis, table, record_set) for axis in (table.rows, table.columns))
    values = {
        row: tuple(
            None
            if _repeats(row, rows) or _repeats(column, columns)
            else table.published(rows[row][0], columns[column][0])
            for column in columns
        )
        for row in rows
    }
    return replace(
        table,
        rows=_axis(table.rows, rows),
        columns=_axis(table.columns, columns),
        values=values if table.values else {},
    )


def _repeats(name: str, fitted: Mapping[str, tuple[str, str]]) -> bool:
    """Return whether a name is a further set of pixels beside the first, which has the published numbers."""
    published = [paper for paper, _ in fitted.values()]
    return published.index(fitted[name][0]) < list(fitted).index(name)


def _fitted_axis(axis: Axis, table: Table, record_set: RecordSet) -> dict[str, tuple[str, str]]:
    """Return the names of ours along an axis, each with the published one and, if it has one, what differs."""
    fitted = {}
    for name in axis.headings:
        ours, note = name, axis.notes.get(name, "")
        substitute = axis.substitutes.get(name)
        if substitute is not None and not _is_recorded(axis, name, table, record_set):
            ours, note = substitute.name, substitute.difference
        for variant in record_set.variants_of(ours) if axis.varies == "configuration" else (ours,):
            fitted[variant] = (name, note)
    return fitted


def _is_recorded(axis: Axis, name: str, table: Table, record_set: RecordSet) -> bool:
    return bool(record_set.runs({**table.fixed, axis.varies: name}))


def _axis(axis: Axis, fitted: Mapping[str, tuple[str, str]]) -> Axis:
    """Return an axis of these names; a set of pixels adds its digest to the heading."""
    headings = {
        ours: " ".join([axis.headings[published], *ours.split(" ")[1:]]) for ours, (published, _) in fitted.items()
    }
    return Axis(varies=axis.varies, headings=headings, notes={ours: note for ours, (_, note) in fitted.items() if note})


def _fixed_networks(record_set: RecordSet, papers_own: str | None, requested: str | None) -> list[dict[str, str]]:
    """Return the fixed axes of each layout of a table: a network, or nothing if no network is known."""
    measured = record_set.names("network")
    preferred: list[str] = []
    if papers_own is not None:
        preferred = [name for name in (papers_own, record_set.network) if name in measured][:1]
    names: Sequence[str | None] = [requested] if requested is not None else preferred or measured or [papers_own]
    return [{} if name is None else {"network": name} for name in names]


def _unpublished(name: str, record_set: RecordSet, fixed: Mapping[str, str]) -> Table:
    title, *axes = UNPUBLISHED_TABLES[name]
    rows, columns = (
        Axis(varies=varies, headings={name: name for name in record_set.names(varies, fixed)}) for varies in axes
    )
    return Table(name=name, caption=title, rows=rows, columns=columns, fixed=fixed)


def check_network(name: str, measured: Iterable[str] = ()) -> None:
    """Check that a network is one of ours, or was ``measured``.

    Raises
    ------
    UsageError
        If the name is unknown.
    """
    known = dict.fromkeys([*NETWORKS, *measured])
    if name not in known:
        raise unknown("network", name, known)


def _dilution(record_set: RecordSet, fixed: Mapping[str, str]) -> Table:
    """Return the layout of the configurations that were measured with at least two numbers of clean images."""
    configurations = record_set.names("configuration", fixed)
    strategies = {
        name: [one for one in record_set.names("strategy", {**fixed, "configuration": name}) if _is_diluted(one)]
        for name in configurations
    }
    compared = {name: names for name, names in strategies.items() if len(names) > 1}
    counts = sorted((count_clean_images(strategy) or 0, strategy) for strategy in set().union(*compared.values()))
    return Table(
        name=DILUTION,
        caption="Accuracy against dilution: clean test accuracy (%) by number of training images that are clean",
        rows=Axis(varies="strategy", headings={strategy: str(count) for count, strategy in counts}),
        columns=Axis(varies="configuration", headings={name: name for name in compared}),
        fixed=fixed,
    )


def _is_diluted(strategy: str) -> bool:
    return count_clean_images(strategy) is not None


def is_shown_by_default(table: Table) -> bool:
    """Return whether a table is shown by default.

    One that compares its measured rows needs at least two, and one of a paper its published numbers: without them, the
    grid says the same.
    """
    if table.name in TABLES:
        return bool(table.values)
    return table.name not in COMPARISON_TABLES or len(table.rows.headings) > 1
