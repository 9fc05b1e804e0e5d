"""Tables: what papers published and what records hold, side by side, in the papers' own layout."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from cifar10_s.benchmark.cell import Cell
from cifar10_s.benchmark.measured import MEASURES, ROBUST, Measured, Record
from cifar10_s.benchmark.published import TABLES, Axis, Table
from cifar10_s.benchmark.sheet import EMPTY, FORMATS, Sheet
from cifar10_s.benchmark.strategies import PLAIN, clean_images
from cifar10_s.errors import unknown
from cifar10_s.nets import NETWORKS

# Configurations × strategies, networks × configurations, clean images × configurations, whatever the records hold.
GRID, TRANSFER, DILUTION = "grid", "transfer", "dilution"
NAMES = (*TABLES, GRID, TRANSFER, DILUTION)
# Captions, rows and columns of those in which nothing was published.
ALONE = {
    GRID: ("Clean test accuracy (%) by configuration and training strategy", "configuration", "strategy"),
    TRANSFER: (
        "Transfer between networks: clean test accuracy (%) by network and configuration", "network", "configuration",
    ),
}  # fmt: skip
# Those that say something only of two rows or more.
COMPARED = (TRANSFER, DILUTION)


def render(
    table: str,
    records: Iterable[Record],
    *,
    protocol: str,
    source: str | None = None,
    network: str | None = None,
    pixels: Mapping[str, str] | None = None,
    measure: str = "final",
    format: str = "markdown",  # noqa: A002 (its name on the command line)
) -> str:
    """Write a table: published beside measured; for ``grid``, all that was measured, a table for each network.

    A measured cell is the mean of its seeds ± their sample standard deviation (n - 1), n, and how many runs failed.

    Parameters
    ----------
    table
        A name of `NAMES`.
    records, protocol, source, pixels
        What stands in it; see `Measured`.
    network
        The network of the measured cells, where the table's cells are of one network; see `layouts`.
    measure
        A name of `MEASURES`.
    format
        ``markdown`` or ``latex``.

    Raises
    ------
    UsageError
        For an unknown name, and where records of different things would be mixed.
    SourceError
        For a record that lacks the measure.
    """
    spelled = spelling(format)
    measured = Measured(records, protocol=protocol, source=source, pixels=pixels)
    return "\n".join(spelled(sheet(one, measured, measure)) for one in layouts(table, measured, network))


def spelling(format: str) -> Callable[[Sheet], str]:  # noqa: A002 (as above)
    """Look up how a sheet is written.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    return FORMATS[format]


def layouts(name: str, measured: Measured, network: str | None = None) -> list[Table]:
    """Lay out a table: once, or once for each of its networks.

    A table whose rows are no networks is of the one asked for; else of the paper's, else of the protocol's own, if
    these were measured; else, and where the paper names none, there is one for each that was.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if name not in NAMES:
        raise unknown("table", name, NAMES)
    if network is not None:
        check_network(network, measured.names("network"))
    if name == TRANSFER:
        return [_measured_alone(name, measured, {"strategy": PLAIN})]
    if name in (GRID, DILUTION):
        lay = _dilution if name == DILUTION else partial(_measured_alone, name)
        return [lay(measured, chosen) for chosen in _networks(measured, None, network)]
    table = TABLES[name]
    if table.rows.varies == "network":
        return [table]
    own = table.fixed.get("network")
    return [replace(table, fixed={**table.fixed, **fixed}) for fixed in _networks(measured, own, network)]


def _networks(measured: Measured, own: str | None, asked: str | None) -> list[dict[str, str]]:
    """Give what the networks of a table fix; nothing where no network is known."""
    found = measured.names("network")
    first = [name for name in (own, measured.network) if name in found][:1] if own is not None else []
    names: Sequence[str | None] = [asked] if asked is not None else first or found or [own]
    return [{} if name is None else {"network": name} for name in names]


def _measured_alone(name: str, measured: Measured, fixed: Mapping[str, str]) -> Table:
    title, *axes = ALONE[name]
    rows, columns = (
        Axis(varies=varies, heads={name: name for name in measured.names(varies, fixed)}) for varies in axes
    )
    return Table(name=name, caption=title, rows=rows, columns=columns, fixed=fixed)


def check_network(name: str, measured: Iterable[str] = ()) -> None:
    """Refuse a network that neither we nor the records know.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    known = dict.fromkeys([*NETWORKS, *measured])
    if name not in known:
        raise unknown("network", name, known)


def _dilution(measured: Measured, fixed: Mapping[str, str]) -> Table:
    """Lay out the configurations of which there are at least two points."""
    points = {
        name: {
            one for one in measured.names("strategy", {**fixed, "configuration": name}) if clean_images(one) is not None
        }
        for name in measured.names("configuration", fixed)
    }
    kept = {name: found for name, found in points.items() if len(found) > 1}
    counts = sorted((clean_images(one) or 0, one) for one in set().union(*kept.values()))
    return Table(
        name=DILUTION,
        caption="Accuracy against dilution: clean test accuracy (%) by number of training images that are clean",
        rows=Axis(varies="strategy", heads={one: str(count) for count, one in counts}),
        columns=Axis(varies="configuration", heads={name: name for name in kept}),
        fixed=fixed,
    )


def is_shown(table: Table) -> bool:
    """Tell whether a table is shown unasked: where it compares what was measured alone, there must be two."""
    return table.name not in COMPARED or len(table.rows.heads) > 1


def cells(table: Table, measured: Measured, measure: str = "final") -> dict[tuple[str, str], Cell]:
    """Sum up the records of each cell, by the names of its row and column."""
    return {
        (row, column): measured.cell(table.coordinates(row, column), measure)
        for row in table.rows.heads
        for column in table.columns.heads
    }


def sheet(table: Table, measured: Measured, measure: str = "final") -> Sheet:
    """Write the texts of a table; see `render`."""
    found = cells(table, measured, measure)
    rows = []
    for row, head in table.rows.heads.items():
        texts = [head]
        for column in table.columns.heads:
            texts += [_published(table.published(row, column))] if table.values else []
            texts.append(_measured(found[row, column]))
        rows.append(tuple(texts))
    return Sheet(
        caption=f"{caption(table, measure)}. {conditions(table, measured, measure)} "
        "Mean ± sample standard deviation of n seeds; failed runs are counted, not averaged.",
        corner="Clean images" if table.name == DILUTION else table.rows.varies.capitalize(),
        heads=tuple(table.columns.heads.values()),
        parts=("published", "measured") if table.values else ("measured",),
        rows=tuple(rows),
    )


def caption(table: Table, measure: str = "final") -> str:
    """Give a table's caption; what papers published stays what it was."""
    if measure != ROBUST or table.values:
        return table.caption
    return table.caption.replace("Clean test", "Robust test").replace("clean test", "robust test")


def conditions(table: Table, measured: Measured, measure: str = "final") -> str:
    """Say in one sentence how the measured numbers of a table came about."""
    # An evaluation has no epochs to choose from.
    parts = [] if "evaluation" in (table.rows.varies, table.columns.varies) else [MEASURES[measure][1]]
    parts += [f"protocol {measured.protocol}", f"images: {measured.source}"]
    parts += [f"{what} {table.fixed[what]}" for what in ("network", "strategy") if what in table.fixed]
    parts += [f"pixels of {name}: {digest}" for name, digest in measured.pixels.items()]
    found = cells(table, measured, measure).values()
    machines = sorted({machine for cell in found for machine in cell.machines})
    return f"Measured: {', '.join(parts)}{''.join(f'; {machine}' for machine in machines)}."


def _published(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.2f}"


def _measured(cell: Cell) -> str:
    """Write a measured cell: mean ± deviation (n, failed)."""
    notes = [f"n={len(cell.values)}"] if cell.values else []
    notes += [f"{cell.failed} failed"] if cell.failed else []
    spread = "" if cell.deviation is None else f" ± {cell.deviation:.2f}"
    value = f"{cell.mean:.2f}{spread}" if cell.values else EMPTY
    return f"{value} ({', '.join(notes)})" if notes else value
