"""Tables: what papers published and what records hold, side by side, in the papers' own layout."""

from collections.abc import Iterable, Mapping

from cifar10_s.benchmark.cell import Cell
from cifar10_s.benchmark.measured import MEASURES, Measured, Record
from cifar10_s.benchmark.published import TABLES, Axis, Table
from cifar10_s.benchmark.sheet import EMPTY, FORMATS, Sheet
from cifar10_s.errors import UsageError, unknown
from cifar10_s.nets import NETWORKS

# Configurations × strategies, whatever the records hold.
GRID = "grid"
NAMES = (*TABLES, GRID)


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
    """Write a table: published beside measured; for ``grid``, all that was measured.

    A measured cell is the mean of its seeds ± their sample standard deviation (n - 1), n, and how many runs failed.

    Parameters
    ----------
    table
        A name of `NAMES`.
    records, protocol, source, pixels
        What stands in it; see `Measured`.
    network
        The network of the measured cells, where the table's cells are of one network; see `network_of`.
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
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    measured = Measured(records, protocol=protocol, source=source, pixels=pixels)
    return FORMATS[format](sheet(layout(table, measured), measured, network=network, measure=measure))


def layout(name: str, measured: Measured) -> Table:
    """Look up a table, or make the grid of what was measured.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    if name not in NAMES:
        raise unknown("table", name, NAMES)
    if name != GRID:
        return TABLES[name]
    return Table(
        name=GRID,
        caption="Clean test accuracy (%) by configuration and training strategy",
        rows=_axis("configuration", measured),
        columns=_axis("strategy", measured),
    )


def _axis(varies: str, measured: Measured) -> Axis:
    return Axis(varies=varies, heads={name: name for name in measured.names(varies)})


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


def network_of(table: Table, measured: Measured, asked: str | None = None) -> str | None:
    """Choose the network of a table's measured cells; None where networks are its rows.

    The one asked for; else, of the table's own and the protocol's own, the first that was measured; else the only one.

    Raises
    ------
    UsageError
        For an unknown name, and where several are left.
    """
    if "network" in (table.rows.varies, table.columns.varies):
        return None
    found, own = measured.names("network"), table.fixed.get("network")
    if asked is not None:
        check_network(asked, found)
        return asked
    for name in (own, measured.network):
        if name in found:
            return name
    if len(found) > 1:
        raise UsageError(f"the records are of several networks, {', '.join(found)}: expected one: name it as network")
    return found[0] if found else own


def cells(
    table: Table, measured: Measured, *, network: str | None = None, measure: str = "final"
) -> dict[tuple[str, str], Cell]:
    """Sum up the records of each cell, by the names of its row and column."""
    chosen = network_of(table, measured, network)
    fixed = {} if chosen is None else {"network": chosen}
    return {
        (row, column): measured.cell({**table.coordinates(row, column), **fixed}, measure)
        for row in table.rows.heads
        for column in table.columns.heads
    }


def sheet(table: Table, measured: Measured, *, network: str | None = None, measure: str = "final") -> Sheet:
    """Lay a table out as text; see `render`."""
    found = cells(table, measured, network=network, measure=measure)
    rows = []
    for row, head in table.rows.heads.items():
        texts = [head]
        for column in table.columns.heads:
            texts += [_published(table.published(row, column))] if table.values else []
            texts.append(_measured(found[row, column]))
        rows.append(tuple(texts))
    return Sheet(
        caption=f"{table.caption}. {conditions(table, measured, network=network, measure=measure)} "
        "Mean ± sample standard deviation of n seeds; failed runs are counted, not averaged.",
        corner=table.rows.varies.capitalize(),
        heads=tuple(table.columns.heads.values()),
        parts=("published", "measured") if table.values else ("measured",),
        rows=tuple(rows),
    )


def conditions(table: Table, measured: Measured, *, network: str | None = None, measure: str = "final") -> str:
    """Say in one sentence how the measured numbers of a table came about."""
    chosen = network_of(table, measured, network)
    # An evaluation has no epochs to choose from.
    parts = [] if "evaluation" in (table.rows.varies, table.columns.varies) else [MEASURES[measure][1]]
    parts += [f"protocol {measured.protocol}", f"images: {measured.source}"]
    parts += [] if chosen is None else [f"network {chosen}"]
    parts += [f"strategy {table.fixed['strategy']}"] if "strategy" in table.fixed else []
    parts += [f"pixels of {name}: {digest}" for name, digest in measured.pixels.items()]
    found = cells(table, measured, network=network, measure=measure).values()
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
