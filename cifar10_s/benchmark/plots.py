"""Plots: figures of what records hold, 900 pixels wide."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from cifar10_s.benchmark.drawing import COLORS, STROKES, finish, panels, png, styled, text
from cifar10_s.benchmark.measured import Measured, Record
from cifar10_s.benchmark.published import Table
from cifar10_s.benchmark.tables import caption, cells, conditions
from cifar10_s.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison", "dilution", "done", "parameter_distance", "png", "title", "training_curves", "with_distance"]

# The curves, as records and legends call them.
CURVES = {"test_accuracy": "clean test images", "train_accuracy": "training images"}
# Where the paper's Figure 4 reads off how far the weights have moved, in percent of training accuracy.
READ_OFF = 90


@styled()
def training_curves(
    measured: Measured, *, network: str, strategy: str | None = None, configuration: str | None = None
) -> "Figure":
    """Draw test and training accuracy by epoch: the mean of the seeds as a line, from least to largest as a band.

    Parameters
    ----------
    measured
        The records; failed runs are left out.
    network
        Of this network alone.
    strategy, configuration
        One of the two: a strategy's figure has a panel a configuration, a configuration's a panel a strategy.

    Raises
    ------
    UsageError
        Where not one of the two is given, no run is done, or matplotlib is not installed.
    """
    from matplotlib.ticker import MaxNLocator

    if (strategy is None) == (configuration is None):
        raise UsageError("training curves: expected a strategy or a configuration, got both or none: give one of them")
    varies = "configuration" if configuration is None else "strategy"
    given = {"network": network, "strategy": strategy, "configuration": configuration}
    where = {key: name for key, name in given.items() if name is not None}
    runs = done(measured, where, varies)
    if not runs:
        raise UsageError(f"training curves: no run is done of {', '.join(where.values())}: choose what was measured")
    figure, axes = panels(len(runs), columns=3, height=230)
    for axis, (name, found) in zip(axes, runs.items(), strict=True):
        for (key, label), color, stroke in zip(CURVES.items(), COLORS, STROKES, strict=False):
            _band(axis, [record["results"][key] for record in found], label, color, stroke)
        axis.set(title=text(f"{name} (n={len(found)})"), xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(
        figure,
        f"Training on {measured.source}: {', '.join(where.values())}, protocol {measured.protocol}. "
        "Line: mean of n seeds; band: from the least to the largest",
    )
    return figure


def title(figure: "Figure") -> str:
    """Give a figure's title as it is read, on one line."""
    return " ".join(figure.get_suptitle().replace(r"\$", "$").split())


def _band(axis: "Axes", accuracies: Sequence[Sequence[float]], label: str, color: str, stroke: str) -> None:
    """Draw the mean of several runs by epoch, and within what bounds they lie."""
    values = np.array(accuracies, float)
    epochs = np.arange(1, values.shape[1] + 1)
    marker = "." if len(epochs) == 1 else ""
    axis.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
    axis.plot(epochs, values.mean(0), color=color, linestyle=stroke, marker=marker, label=label)


@styled()
def comparison(table: Table, measured: Measured, measure: str = "final") -> "Figure":
    """Draw a table: a panel a column, a line a row, the published number and the measured one with its deviation.

    Parameters
    ----------
    table
        From `tables.layouts`.
    measured, measure
        As for `tables.render`.

    Raises
    ------
    UsageError
        As `tables.render`, and where matplotlib is not installed.
    """
    found = cells(table, measured, measure)
    rows, columns = table.rows.heads, table.columns.heads
    figure, axes = panels(len(columns), columns=4, height=70 + 26 * len(rows), share_rows=True)
    for axis, (column, head) in zip(axes, columns.items(), strict=True):
        for place, row in enumerate(rows):
            published, cell = table.published(row, column) if table.values else None, found[row, column]
            if published is not None:
                axis.plot(published, place - 0.15, "D", color=COLORS[1], fillstyle="none", label="published")
            if cell.values:
                axis.errorbar(
                    cell.mean, place + 0.15, xerr=cell.deviation, fmt="o", color=COLORS[0], capsize=3,
                    label="measured, ± sample standard deviation",
                )  # fmt: skip
        axis.set(title=text(head), xlabel="accuracy, %", xlim=(-2, 102), ylim=(len(rows) - 0.5, -0.5))
        axis.set_xticks(range(0, 101, 25))
        axis.set_yticks(range(len(rows)), list(map(text, rows.values())))
    finish(figure, f"{caption(table, measure)}. {conditions(table, measured, measure)}")
    return figure


@styled()
def dilution(table: Table, measured: Measured, measure: str = "final") -> "Figure":
    """Draw a table of dilution: accuracy against the number of clean images, a line a configuration.

    Parameters and errors are those of `comparison`.
    """
    found = cells(table, measured, measure)
    figure, (axis,) = panels(1, columns=1, height=400)
    for (column, head), color, stroke in zip(table.columns.heads.items(), cycle(COLORS), cycle(STROKES), strict=False):
        points = {
            int(count): found[row, column] for row, count in table.rows.heads.items() if found[row, column].values
        }
        axis.errorbar(
            list(points), [cell.mean for cell in points.values()],
            yerr=[cell.deviation or 0 for cell in points.values()],
            color=color, linestyle=stroke, marker="o", capsize=3, label=text(head),
        )  # fmt: skip
    axis.set(xlabel="training images that are clean", ylabel="accuracy, %", xlim=(0, None), ylim=(0, 102))
    finish(figure, f"{caption(table, measure)}. {conditions(table, measured, measure)} Bars: sample standard deviation")
    return figure


@styled()
def parameter_distance(measured: Measured, *, network: str, strategy: str = "standard") -> "Figure":
    """Draw how far the weights have moved, ‖θ − θ₀‖, against training accuracy: a line a run (the paper's Figure 4).

    Parameters
    ----------
    measured
        The records; those count that are done and have ``results["parameter_distance"]``, a number an epoch.
    network, strategy
        Of these alone.

    Raises
    ------
    UsageError
        Where there is no such record, or matplotlib is not installed.
    """
    runs = with_distance(measured, network=network, strategy=strategy)
    if not runs:
        raise UsageError(f"no run of {network}, {strategy} has recorded parameter_distance: choose another figure")
    figure, (axis,) = panels(1, columns=1, height=400 + 6 * len(runs))
    for (name, found), color, stroke in zip(runs.items(), cycle(COLORS), cycle(STROKES), strict=False):
        for record in found:
            accuracy, distance = record["results"]["train_accuracy"], record["results"]["parameter_distance"]
            label = text(f"{name} (n={len(found)})")
            axis.plot(accuracy, distance, color=color, linestyle=stroke, marker=".", label=label)
    axis.axvline(READ_OFF, color="grey", linewidth=1)
    axis.set(xlabel="training accuracy, %", ylabel="‖θ − θ₀‖", xlim=(0, 102), ylim=(0, None))
    finish(
        figure,
        f"Distance of the weights from their first values after each epoch, against training accuracy ({READ_OFF} % "
        f"marked). Images: {measured.source}; {network}, {strategy}, protocol {measured.protocol}; a line a seed",
    )
    return figure


def with_distance(measured: Measured, *, network: str, strategy: str) -> dict[str, list[Record]]:
    """Give, by configuration, the runs that recorded how far the weights moved."""
    runs = done(measured, {"network": network, "strategy": strategy}, "configuration")
    kept = {name: [run for run in found if "parameter_distance" in run["results"]] for name, found in runs.items()}
    return {name: found for name, found in kept.items() if found}


def done(measured: Measured, where: Mapping[str, str], varies: str) -> dict[str, list[Record]]:
    """Give the runs that ended well by what varies, in the order of our own tables."""
    runs = {name: measured.runs({**where, varies: name}) for name in measured.names(varies)}
    done = {name: [run for run in found if run["status"] == "done"] for name, found in runs.items()}
    return {name: found for name, found in done.items() if found}
