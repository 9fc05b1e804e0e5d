"""Draw how the search's time grows with the number of images, beside reading their bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cifar10_s.report.plot_style import COLORS, DPI, WIDTH_PIXELS, png, styled


def draw(growth: Mapping[str, Any], path: Path) -> None:
    """Draw the growth that `scale.measure_scale` gives, as PNG."""
    with styled():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH_PIXELS / DPI, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.loglog(growth["images"], growth["search"], "o-", color=COLORS[0], label="search, all cores")
        axes.loglog(growth["images"], growth["read"], "s--", color=COLORS[1], label="reading the bytes, one thread")
        axes.set(xlabel="images of 32×32×3 in raw shards", ylabel="seconds")
        axes.legend()
    path.write_bytes(png(figure))
