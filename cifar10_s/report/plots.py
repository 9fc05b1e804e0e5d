"""Plots of records, 900 pixels wide."""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cifar10_s.benchmark.record import Record, RunResults
from cifar10_s.errors import SourceError, UsageError
from cifar10_s.report.filled_table import FilledTable
from cifar10_s.report.plot_style import COLORS, STROKES, escape, finish, panels, png, styled
from cifar10_s.report.record_set import RecordSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "comparison", "dilution", "parameter_distance", "png", "runs_with_curves", "runs_with_distance", "title",
    "training_curves",
]  # fmt: skip

# The fields of `RunResults` that are drawn as curves, each with its label in the legend.
CURVES = {"test_accuracy": "clean test images", "train_accuracy": "training images"}
# The training accuracy, in percent, at which the paper's Figure 4 compares how far the weights have moved.
MARKED_PERCENT = 90


@styled()
def training_curves(
    record_set: RecordSet, *, network: str, strategy: str | None = None, configuration: str | None = None
) -> "Figure":
    """Draw test and training accuracy by epoch: a line at the mean over seeds, a band from least to largest.

    Parameters
    ----------
    record_set
        The records; failed runs, and those without curves, are left out.
    network
        The network to draw.
    strategy, configuration
        Exactly one of the two: the figure of a strategy has a panel per configuration, and vice versa.

    Raises
    ------
    UsageError
        If not exactly one of the two is given, no such run has finished, or matplotlib is not installed.
    SourceError
        If the runs of a panel were not recorded for the same number of epochs.
    """
    from matplotlib.ticker import MaxNLocator

    if (strategy is None) == (configuration is None):
        got = "neither" if strategy is None else "both"
        raise UsageError(f"training curves: expected a strategy or a configuration, got {got}: pass one of them")
    varies = "configuration" if configuration is None else "strategy"
    axes_names = {"network": network, "strategy": strategy, "configuration": configuration}
    fixed = {axis: name for axis, name in axes_names.items() if name is not None}
    runs = runs_with_curves(record_set, fixed, varies)
    if not runs:
        raise UsageError(f"training curves: no run of {', '.join(fixed.values())} is done: choose what was measured")
    figure, axes = panels(len(runs), columns=3, height=230)
    for axis, (name, records) in zip(axes, runs.items(), strict=True):
        for (curve, label), color, stroke in zip(CURVES.items(), COLORS, STROKES, strict=False):
            _band(axis, _by_epoch(records, curve), label, color, stroke)
        axis.set(title=escape(f"{name} (n={len(records)})"), xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    finish(
        figure,
        f"Training on {record_set.source}: {', '.join(fixed.values())}, protocol {record_set.protocol}. "
        "Line: mean of n seeds; band: from the least to the largest",
    )
    return figure


def title(figure: "Figure") -> str:
    """Return a figure's title on one line, without matplotlib's escapes."""
    return " ".join(figure.get_suptitle().replace(r"\$", "$").split())


def _by_epoch(records: Sequence[Record], curve: str) -> NDArray[np.float64]:
    """Return a curve of several runs, (runs, epochs)."""
    curves = [getattr(record.results, curve) for record in records]
    if len(set(map(len, curves))) > 1:
        ids = ", ".join(record.id for record in records)
        raise SourceError(f"runs {ids}: expected {curve!r} of the same epochs in each: correct or remove their lines")
    return np.array(curves, float)


def _band(axis: "Axes", values: NDArray[np.float64], label: str, color: str, stroke: str) -> None:
    """Draw the mean and the range of several runs by epoch, (runs, epochs)."""
    epochs = np.arange(1, values.shape[1] + 1)
    marker = "." if len(epochs) == 1 else ""
    if len(values) > 1:
        axis.fill_between(epochs, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)
    axis.plot(epochs, values.mean(0), color=color, linestyle=stroke, marker=marker, label=label)


@styled()
def comparison(table: FilledTable) -> "Figure":
    """Draw a table: a panel per column, a line per row, the published and the measured accuracy with its deviation.

    Raises
    ------
    UsageError
        As for `RecordSet.cell`, and if matplotlib is not installed.
    """
    headings = table.layout.rows.headings
    rows = {row: headings[row] for row in table.rows}
    columns = {column: table.layout.columns.headings[column] for column in table.columns}
    figure, axes = panels(len(columns), columns=4, height=70 + 26 * len(rows), share_rows=True)
    for axis, (column, heading) in zip(axes, columns.items(), strict=True):
        for place, row in enumerate(rows):
            published, cell = table.layout.published(row, column), table.stats[row, column]
            if published is not None:
                axis.plot(published, place - 0.15, "D", color=COLORS[1], fillstyle="none", label="published")
            if cell.values:
                axis.errorbar(
                    cell.mean, place + 0.15, xerr=cell.deviation, fmt="o", color=COLORS[0], capsize=3,
                    label="measured, ± sample standard deviation",
                )  # fmt: skip
        axis.set(title=escape(heading), xlabel="accuracy, %", xlim=(-2, 102), ylim=(len(rows) - 0.5, -0.5))
        axis.set_xticks(range(0, 101, 25))
        axis.set_yticks(range(len(rows)), list(map(escape, rows.values())))
    finish(figure, f"{table.caption}. {table.conditions}")
    return figure


@styled()
def dilution(table: FilledTable) -> "Figure":
    """Draw the table of dilution: accuracy against the number of clean images, a line per configuration.

    Errors are those of `comparison`.
    """
    stats = table.stats
    figure, (axis,) = panels(1, columns=1, height=400)
    headings = table.layout.columns.headings
    for (column, heading), color, stroke in zip(headings.items(), cycle(COLORS), cycle(STROKES), strict=False):
        points = {
            int(count): stats[row, column]
            for row, count in table.layout.rows.headings.items()
            if stats[row, column].values
        }
        axis.errorbar(
            list(points), [cell.mean for cell in points.values()],
            yerr=[cell.deviation or 0 for cell in points.values()],
            color=color, linestyle=stroke, marker="o", capsize=3, label=escape(heading),
        )  # fmt: skip
    axis.set(xlabel="training images that are clean", ylabel="accuracy, %", xlim=(0, None), ylim=(0, 102))
    finish(figure, f"{table.caption}. {table.conditions} Bars: sample standard deviation")
    return figure


@styled()
def parameter_distance(record_set: RecordSet, *, network: str, strategy: str = "standard") -> "Figure":
    """Draw how far the weights have moved, ‖θ − θ₀‖, against training accuracy: a line per run (the paper's Figure 4).

    Parameters
    ----------
    record_set
        The records; runs that are not done, or did not record the distance per epoch, are left out.
    network, strategy
        The network and the strategy to draw.

    Raises
    ------
    UsageError
        If there is no such record, or matplotlib is not installed.
    """
    runs = runs_with_distance(record_set, network=network, strategy=strategy)
    if not runs:
        raise UsageError(f"no run of {network}, {strategy} has recorded parameter_distance: choose another figure")
    figure, (axis,) = panels(1, columns=1, height=400 + 6 * len(runs))
    for (name, records), color, stroke in zip(runs.items(), cycle(COLORS), cycle(STROKES), strict=False):
        for record in records:
            results, label = record.results, escape(f"{name} (n={len(records)})")
            axis.plot(
                results.train_accuracy, results.parameter_distance,
                color=color, linestyle=stroke, marker=".", label=label,
            )  # fmt: skip
    axis.axvline(MARKED_PERCENT, color="grey", linewidth=1)
    axis.set(xlabel="training accuracy, %", ylabel="‖θ − θ₀‖", xlim=(0, 102), ylim=(0, None))
    finish(
        figure,
        "Distance of the weights from their first values after each epoch, against training accuracy "
        f"({MARKED_PERCENT} % marked). Images: {record_set.source}; {network}, {strategy}, "
        f"protocol {record_set.protocol}; a line per seed",
    )
    return figure


def runs_with_distance(record_set: RecordSet, *, network: str, strategy: str) -> dict[str, list[Record]]:
    """Return, by configuration, the runs that recorded how far the weights moved."""
    return _done_runs(
        record_set,
        {"network": network, "strategy": strategy},
        "configuration",
        lambda results: bool(results.parameter_distance and results.train_accuracy),
    )


def runs_with_curves(record_set: RecordSet, fixed: Mapping[str, str], varies: str) -> dict[str, list[Record]]:
    """Return, by the names of the axis that varies, the runs that recorded both accuracies per epoch."""
    return _done_runs(record_set, fixed, varies, lambda results: bool(results.test_accuracy and results.train_accuracy))


def _done_runs(
    record_set: RecordSet, fixed: Mapping[str, str], varies: str, has_values: Callable[[RunResults], bool]
) -> dict[str, list[Record]]:
    """Return the runs that are done and have the values, by names of the axis that varies, in the order of tables."""
    runs = {
        name: [run for run in record_set.runs({**fixed, varies: name}) if run.is_done and has_values(run.results)]
        for name in record_set.names(varies)
    }
    return {name: records for name, records in runs.items() if records}
