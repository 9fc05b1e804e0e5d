"""What augmentation leaves of a shortcut, in closed form, against what a network learned under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from cifar10_s.release.reader import Release
from cifar10_s.report.leaderboard import Leaderboard
from cifar10_s.report.plot_style import COLORS, escape, finish, panels, styled
from cifar10_s.shortcut.survival import measure_survival

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The strategy that trains with an augmentation of `survival.AUGMENTATIONS`.
STRATEGIES = {"crop and flip": "standard", "Cutout": "cutout", "RandAugment": "randaugment"}
MARKERS = "os^Dv"
# For an eighth configuration, after the seven colours.
GREY = "#8c8c8c"


@dataclass(frozen=True)
class Point:
    """A configuration under an augmentation.

    Attributes
    ----------
    configuration, augmentation
        Names.
    told
        How often the class can be told from what is left of its pixels, in percent.
    accuracy
        The measured accuracy on clean test images, in percent.
    """

    configuration: str
    augmentation: str
    told: float
    accuracy: float


def survival_points(release: Release, board: Leaderboard) -> list[Point]:
    """Return the points of the configurations that are searched pixels alone, on the release's own images."""
    digests = {record.settings.pixels_sha256 for record in board.record_set.records}
    points = []
    for row in board.rows:
        name = row.configuration
        if row.submitter is not None or name not in release.configurations or release.digest(name) not in digests:
            continue
        record = release.recipe(name)
        if record.shortcut is None or record.recipe.method is not None:
            continue
        for augmentation, left in measure_survival(record.shortcut, release.size).items():
            cell = row.cells.get(STRATEGIES[augmentation])
            if left is not None and cell is not None and cell.stats.values:
                points.append(Point(name, augmentation, 100 * left.accuracy, cell.stats.mean))
    return points


@styled()
def survival(points: Sequence[Point], board: Leaderboard) -> "Figure":
    """Draw points, a colour per configuration and a marker per augmentation.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    figure, (axis,) = panels(1, columns=1, height=420)
    colors = dict(zip(dict.fromkeys(one.configuration for one in points), cycle((*COLORS, GREY)), strict=False))
    for point in points:
        marker = MARKERS[list(STRATEGIES).index(point.augmentation)]
        axis.plot(point.told, point.accuracy, marker, color=colors[point.configuration], markersize=8)
    for name, color in colors.items():
        axis.plot([], [], "s", color=color, label=escape(name))
    for augmentation, marker in zip(STRATEGIES, MARKERS, strict=False):
        axis.plot([], [], marker, markeredgecolor="#000000", color="none", label=augmentation)
    axis.set(
        xlabel="classes told from the pixels that are left, % (closed form)",
        ylabel="clean test accuracy, %",
        xlim=(0, 102),
        ylim=(0, 102),
    )
    finish(
        figure,
        "What augmentation leaves of the shortcut, in closed form, against what was learned of the images: "
        f"{board.network}, protocol {board.record_set.protocol}",
        legend_columns=6,
    )
    return figure
